"""What one worker counts of itself: requests, and how long ago its loop and its threads last moved.

Written by the door (a few nanoseconds a request), read by the pulse, shown by `carboy ctl status`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

#: Seconds between two beats of the loop.
BEAT = 0.5
#: Seconds between two probes of the thread pool.
PROBE = 2.0


class Tally:
    """Counters and beats of a worker. One writer a field, so no lock."""

    __slots__ = (
        "answered", "beat_at", "closing", "draining", "lag", "loop_thread", "probe", "probe_answered_at", "probe_sent_at", "started", "surplus",
    )  # fmt: skip

    def __init__(self) -> None:
        #: Requests begun and ended since the worker started.
        self.started = 0
        self.answered = 0
        #: True once the worker is on its way out: answers then close their connections.
        self.draining = False
        #: Connections that other workers are to have: so many more answers close theirs.
        self.surplus = 0
        #: Some answers close their connections; PERF: the one thing that a request looks at.
        self.closing = False
        #: When the loop last turned; None while there is no loop (WSGI).
        self.beat_at: float | None = None
        #: The longest that the loop was late since it was last asked, seconds.
        self.lag = 0.0
        #: Ident of the thread the loop runs in, for saying where it hangs.
        self.loop_thread: int | None = None
        #: How to ask the thread pool for a sign of life; set by the worker, called on the loop.
        self.probe: Callable[[], asyncio.Future[Any] | None] | None = None
        self.probe_sent_at: float | None = None
        self.probe_answered_at = 0.0

    @property
    def in_flight(self) -> int:
        return self.started - self.answered

    def drain(self) -> None:
        """From now on every answer closes its connection."""
        self.draining = self.closing = True

    def give(self, connections: int) -> None:
        """Have the next answers close their connections, whose clients then come to another worker."""
        self.surplus = connections
        self.closing = True

    def closes(self) -> bool:
        """Whether one more answer closes its connection; asked while `closing`."""
        if self.draining:
            return True
        self.surplus -= 1
        self.closing = self.surplus > 0
        return self.surplus >= 0  # another thread may have had the last one meanwhile

    def loop_age(self, now: float) -> float:
        """Seconds since the loop should have turned; 0 if it did in time or there is none."""
        return 0.0 if self.beat_at is None else max(0.0, now - self.beat_at - BEAT)

    def thread_age(self, now: float) -> float:
        """Seconds that a call has been waiting for a free thread; 0 if none waits."""
        sent = self.probe_sent_at
        return 0.0 if sent is None else max(0.0, now - sent)

    def take_lag(self) -> float:
        lag, self.lag = self.lag, 0.0
        return lag

    def beat_on(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        """Begin to beat on a loop that is about to run."""
        self.loop_thread = ident
        self.beat_at = time.monotonic()
        loop.call_later(BEAT, self._beat, loop)

    def turned(self) -> None:
        """Note a turn of a loop that the pulse prods; called on that loop."""
        self.beat_at = time.monotonic()
        self.loop_thread = threading.get_ident()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        last = self.beat_at
        if last is not None:
            self.lag = max(self.lag, now - last - BEAT)
        self.beat_at = now
        if self.probe is not None and self.probe_sent_at is None and now - self.probe_answered_at >= PROBE:
            waited = self.probe()
            if waited is not None:
                self.probe_sent_at = now
                waited.add_done_callback(self._probed)
        loop.call_later(BEAT, self._beat, loop)

    def _probed(self, _: asyncio.Future[Any]) -> None:
        self.probe_sent_at = None
        self.probe_answered_at = time.monotonic()
