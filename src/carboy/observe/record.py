"""What is noted of one request while it is served, and how its route gets there.

A door's watcher makes the record before anything else sees the request; the first step of the application's plan
notes the rule. A context variable joins the two, so it holds behind every door and on both sides of a thread hop.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any


class Record:
    """One request, as far as it is known."""

    __slots__ = ("began", "head", "headers", "is_aborted", "rule", "size", "span", "status")

    def __init__(self, began: int) -> None:
        #: Nanoseconds on the performance counter.
        self.began = began
        #: The matched rule's text; None for a miss, and before the plan begins.
        self.rule: str | None = None
        #: The application's view of the request, with what stands before it changed: the client behind a proxy.
        self.head: Any = None
        #: The answer's headers, as the door has them.
        self.headers: Any = ()
        self.status = 0
        self.size = 0
        #: The answer broke off.
        self.is_aborted = False
        #: The tracer's.
        self.span: Any = None


current: ContextVar[Record] = ContextVar("carboy.observe.record")


def note(ctx: Any) -> None:
    """Note the rule of a request; the first step of every plan."""
    record = current.get(None)
    if record is not None:
        request = ctx.request
        rule = request.url_rule
        if rule is not None:
            record.rule = rule.rule
        record.head = request._head
