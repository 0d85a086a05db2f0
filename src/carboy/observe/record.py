"""What is noted of one request while it is served, and how its route gets there.

A door's watcher makes the record before anything else sees the request; the first step of the application's plan
notes the rule. A context variable joins the two, so it holds behind every door and on both sides of a thread hop.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any


class Record:
    """One request, as far as it is known."""

    # Not slots: what most requests leave as it is stands on the class, and costs nothing.

    #: The matched rule's text; None for a miss, and before the plan begins.
    rule: str | None = None
    #: The answer's headers, as the door has them.
    headers: Any = ()
    status = 0
    #: Bytes of the answer's body.
    size = 0
    #: The answer broke off.
    is_aborted = False
    #: The tracer's.
    span: Any = None

    def __init__(self, began: int) -> None:
        #: Nanoseconds on the performance counter.
        self.began = began


current: ContextVar[Record] = ContextVar("carboy.observe.record")


def note(ctx: Any) -> None:
    """Note the rule of a request; the first step of every plan."""
    record = current.get(None)
    if record is not None:
        rule = ctx._request.url_rule
        if rule is not None:
            record.rule = rule.rule
