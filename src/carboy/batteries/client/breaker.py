"""Circuit breakers: who fails again and again is left alone for a while, then asked by one request. No I/O here.

The protocol is `TRANSITIONS`. Only origins in trouble are remembered, so healthy ones cost one look into a dict.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .errors import CircuitOpen

State = Literal["closed", "open", "half-open"]
#: "limit": a failure, and the last that is borne; "due": asked after the pause; "abandoned": nobody waits for the end.
Event = Literal["success", "failure", "limit", "due", "abandoned"]

TRANSITIONS: dict[State, dict[Event, State]] = {
    "closed": {"success": "closed", "failure": "closed", "limit": "open", "abandoned": "closed"},
    # What was sent before the circuit opened may still end now; it says nothing new.
    "open": {"success": "open", "failure": "open", "limit": "open", "abandoned": "open", "due": "half-open"},
    "half-open": {"success": "closed", "failure": "open", "limit": "open", "abandoned": "open"},
}
#: Most origins in trouble that are remembered; the one longest in trouble is forgotten first.
MOST = 1024

Outcome = Literal["success", "failure", "abandoned"]


@dataclass(slots=True)
class Trouble:
    """An origin that has failed at least once since it last answered."""

    state: State = "closed"
    failures: int = 0
    #: When it failed last, and when it may be asked again once open; of the monotonic clock.
    failed: float = 0.0
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one request."""

    origin: str
    is_probe: bool


class Breakers:
    """The breakers of all origins, for every thread and loop of a process.

    Args:
        failures: in a row, that open a circuit; 0 for never.
        pause: seconds that it stays open.
        now: seconds, never going back; replaced in tests.
    """

    def __init__(self, failures: int, pause: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self.failures = failures
        self.pause = pause
        self.now = now
        self.troubles: dict[str, Trouble] = {}
        self.lock = threading.Lock()

    def enter(self, origin: str) -> Ticket:
        """Ask to send a request.

        Raises:
            CircuitOpen: the origin is to be left alone.
        """
        if origin not in self.troubles:
            return Ticket(origin, False)
        with self.lock:
            trouble = self.troubles.get(origin)
            if trouble is None or trouble.state == "closed":
                return Ticket(origin, False)
            now = self.now()
            if trouble.state == "open" and now >= trouble.due:
                trouble.state = TRANSITIONS["open"]["due"]
                return Ticket(origin, True)
            remaining = trouble.due - now if trouble.state == "open" else 0.0
            raise CircuitOpen(origin, trouble.failures, now - trouble.failed, remaining)

    def lets(self, origin: str) -> bool:
        """Whether a request would be let through now."""
        with self.lock:
            trouble = self.troubles.get(origin)
            return trouble is None or trouble.state == "closed" or (trouble.state == "open" and self.now() >= trouble.due)

    def leave(self, ticket: Ticket, outcome: Outcome) -> None:
        """Tell how it ended."""
        if outcome != "failure" and ticket.origin not in self.troubles:
            return
        if not self.failures:
            return
        with self.lock:
            trouble = self.troubles.get(ticket.origin)
            if trouble is None:
                if outcome != "failure":
                    return
                if len(self.troubles) >= MOST:
                    del self.troubles[next(iter(self.troubles))]
                trouble = self.troubles[ticket.origin] = Trouble()
            if trouble.state == "half-open" and not ticket.is_probe:
                return  # sent before the circuit opened
            now, event = self.now(), outcome_event(outcome, trouble.failures + 1 >= self.failures)
            if event in ("failure", "limit"):
                trouble.failures += 1
                trouble.failed = now
            before, trouble.state = trouble.state, TRANSITIONS[trouble.state][event]
            if trouble.state == "closed" and event == "success":
                del self.troubles[ticket.origin]
            elif trouble.state == "open" and before != "open":
                # An abandoned probe has told nothing: the next one who asks may try.
                trouble.due = now if event == "abandoned" else now + self.pause


def outcome_event(outcome: Outcome, is_last_straw: bool) -> Event:
    """The event of the table that an outcome is."""
    return "limit" if outcome == "failure" and is_last_straw else outcome
