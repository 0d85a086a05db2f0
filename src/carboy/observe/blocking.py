"""What blocks the event loop: a thread that sees the loop late, and looks where it is while it hangs.

The loop is asked to call back, some times a second; that is all it has to do with this. Where it is late, two looks
decide: the same step of the loop in both, at work or asleep in a call, is blocking. Many short steps are not (the
loop is busy), nor is a thread that the machine did not let run (the kernel counts that), nor a process that was
stopped, and a loop that waits for something to do has no step at all.

Where C code holds the interpreter (a regular expression gone wild), this thread sleeps too; then what the kernel has
noted of the loop's thread tells it from a stopped process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from .culprit import Culprit, Place, Territory, culprit_of, frame_of, frames_above

log = logging.getLogger("carboy.observe")

#: Seconds in which the same line is reported once, the others being counted; and most lines remembered.
AGAIN, MOST = 60.0, 256
#: A call that goes on for so many seconds is reported before it ends.
LONG = 2.0

#: What stands between a loop's runner and a step of it, where the loop is written in Python.
_LOOP_FILES = frozenset({asyncio.base_events.__file__, asyncio.events.__file__})
_WAITING_FILES = frozenset({selectors.__file__})

#: Called with the culprit, the seconds so far, and whether it is over.
Seen = Callable[[Culprit, float, bool], None]


class Account:
    """What the kernel has noted of a thread of this process.

    Args:
        native: its number in the kernel.
        ident: its number in Python, for platforms whose kernel does not tell.
    """

    def __init__(self, native: int, ident: int) -> None:
        self.ident = ident
        self.file: int | None
        try:
            self.file = os.open(f"/proc/self/task/{native}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.file = None

    def read(self) -> tuple[float, float]:
        """Seconds of CPU, and seconds in which it was ready and the machine ran others; 0 for what is not known."""
        try:
            if self.file is not None:
                used, starved = os.pread(self.file, 96, 0).split()[:2]
                return int(used) / 1e9, int(starved) / 1e9
            return time.clock_gettime(time.pthread_getcpuclockid(self.ident)), 0.0
        except (OSError, AttributeError, ValueError):  # the thread has ended; the platform has no such clock
            return 0.0, 0.0

    def close(self) -> None:
        if self.file is not None:
            os.close(self.file)
            self.file = None


@dataclass(slots=True)
class Suspicion:
    """The first look at a late loop."""

    #: The outermost frame of the step. Held, so that no other frame can have its identity.
    root: FrameType
    when: float
    starved: float


class BlockingWatch:
    """Watches one event loop from a thread of its own.

    Args:
        loop: the loop; need not run yet.
        threshold: seconds that a step may take. What takes `1.25 * threshold + rest` is always seen.
        rest: seconds between an answer of the loop and the next question.
        territory: which files are the application's.
        seen: called on the watching thread, once while a long blocking goes on and once after each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float, rest: float, territory: Territory, seen: Seen) -> None:
        self.loop = loop
        self.threshold = threshold
        self.step = threshold / 4
        self.rest = rest
        self.territory = territory
        self.seen = seen
        self.over = threading.Event()
        self.thread: threading.Thread | None = None
        # Written on the loop's thread, in `_turned`.
        self.base: FrameType | None = None
        self.ident = 0
        self.native = 0
        self.answered = 0.0
        #: Whether the loop owes an answer, and since when.
        self.is_asked = False
        self.asked = 0.0
        # What is thought of the answer that is owed.
        self.suspicion: Suspicion | None = None
        self.culprit: Culprit | None = None
        self.is_told = False
        #: The loop's thread, and this one.
        self.theirs: Account | None = None
        self.mine: Account | None = None
        #: Seconds that the loop's thread was at work or ready for it, and that this one was kept from running.
        self.busy = self.kept = 0.0

    def start(self) -> None:
        # The loop's thread and runner are to be known before the first request, which may be waiting already.
        with contextlib.suppress(RuntimeError):  # closed: there will be none
            self.loop.call_soon_threadsafe(self._turned)
        self.thread = threading.Thread(target=self._watch, name="carboy-blocking", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(2)
        self.base = self.suspicion = None
        for account in (self.theirs, self.mine):
            if account is not None:
                account.close()

    def _turned(self) -> None:
        """The loop's answer. PERF: 12 µs on a loop that slept; all of the watch that runs there."""
        frame = sys._getframe().f_back
        while frame is not None and frame.f_code.co_filename in _LOOP_FILES and frame.f_code.co_name != "run_forever":
            frame = frame.f_back
        self.base = frame
        if not self.ident:
            self.native, self.ident = threading.get_native_id(), threading.get_ident()
        self.answered = time.perf_counter()
        self.is_asked = False

    # -- the watching thread ------------------------------------------------------------------------

    def _watch(self) -> None:
        self.mine = Account(threading.get_native_id(), threading.get_ident())
        while self._sleep(self.rest):
            if not self._ask():
                continue
            while self._sleep(self.step) and self.is_asked:
                self._look(self._judge)
            if not self.is_asked:
                self._look(self._settle)

    def _sleep(self, seconds: float) -> bool:
        """Wait; False if this is the end. One who oversleeps was not let run, and finds out who did."""
        began = time.perf_counter()
        if self.over.wait(seconds):
            return False
        now = time.perf_counter()
        overslept = now - began - seconds
        busy, kept = self.busy, self.kept
        self._read_accounts()
        if overslept > self.threshold:
            held = overslept - (self.kept - kept)
            if self.culprit is None:
                # What the loop owes is counted from here: nobody knows what it did meanwhile.
                self.asked, self.suspicion = now, None
                if held > self.threshold and self.busy - busy > held / 2:
                    self._look(lambda: self._held(now - held))
        return True

    def _read_accounts(self) -> None:
        if self.theirs is None and self.ident:
            self.theirs = Account(self.native, self.ident)
        if self.theirs is not None:
            self.busy = sum(self.theirs.read())
        if self.mine is not None:
            self.kept = self.mine.read()[1]

    def _starved(self) -> float:
        return self.theirs.read()[1] if self.theirs is not None else 0.0

    def _look(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception:
            # Whatever went wrong, the next look is in a moment.
            log.exception("a look at the event loop failed")

    def _ask(self) -> bool:
        if not self.loop.is_running():
            return False
        if self.culprit is None:
            self.asked = time.perf_counter()
        self.is_asked = True
        try:
            self.loop.call_soon_threadsafe(self._turned)
        except RuntimeError:
            self.is_asked = False  # closed meanwhile: nobody to be late
        return self.is_asked

    def _judge(self) -> None:
        """Look at a loop that is late."""
        now = time.perf_counter()
        late = now - self.asked
        if self.culprit is not None:
            if late > LONG and not self.is_told:
                self.is_told = True
                self.seen(self.culprit, late, False)
            return
        if late < self.threshold / 2:
            return
        frames = self._step()
        if not frames:
            self.suspicion = None
            return
        suspicion = self.suspicion
        if suspicion is None or suspicion.root is not frames[-1]:
            self.suspicion = Suspicion(frames[-1], now, self._starved())
            return
        # What the machine has kept from it is not its doing.
        starved = self._starved() - suspicion.starved
        if late - starved < self.threshold or now - suspicion.when - starved < self.threshold * 0.4:
            return
        self.suspicion = None
        self.culprit = culprit_of(frames, self.territory)

    def _settle(self) -> None:
        """The loop has answered."""
        culprit, self.culprit, self.suspicion = self.culprit, None, None
        self.is_told = False
        if culprit is not None:
            self.seen(culprit, self.answered - self.asked, True)

    def _held(self, since: float) -> None:
        """The loop's thread has kept the interpreter: it gives it up right after the call that did so, where it is now."""
        frames = self._step()
        if frames:
            self.culprit, self.asked = culprit_of(frames, self.territory), since

    def _step(self) -> list[FrameType]:
        """The frames of the loop's present step, innermost first; empty where it is between two, or waits."""
        base = self.base
        if base is None:
            return []
        frames = frames_above(frame_of(self.ident), base)
        while frames and frames[-1].f_code.co_filename in _LOOP_FILES:
            frames.pop()
        return [] if frames and frames[-1].f_code.co_filename in _WAITING_FILES else frames


@dataclass(slots=True)
class Told:
    """What was said of one line."""

    when: float
    #: Since then.
    count: int = 0
    seconds: float = 0.0


class Reports:
    """Says what blocks, each line once in a while.

    Args:
        count: called with the seconds of each blocking that is over.
    """

    def __init__(self, count: Callable[[float], None], *, now: Callable[[], float] = time.monotonic) -> None:
        self.count = count
        self.now = now
        self.told: OrderedDict[Place, Told] = OrderedDict()

    def __call__(self, culprit: Culprit, seconds: float, is_over: bool) -> None:
        if is_over:
            self.count(seconds)
        now, known = self.now(), self.told.get(culprit.place)
        if known is not None and now - known.when < AGAIN:
            if is_over:
                known.count += 1
                known.seconds += seconds
            return
        log.warning("%s", report_of(culprit, seconds, is_over, known))
        self.told[culprit.place] = Told(now)
        self.told.move_to_end(culprit.place)
        if len(self.told) > MOST:
            self.told.popitem(last=False)


def report_of(culprit: Culprit, seconds: float, is_over: bool, before: Told | None = None) -> str:
    """The lines of the log for one blocking."""
    place = culprit.place
    for_whom = f" ({culprit.request})" if culprit.request else ""
    what = f": {place.text}" if place.text else ""
    verb = "was blocked for" if is_over else "is blocked, so far for"
    lines = [f"the event loop {verb} {seconds:.2f} s by {place}{for_whom}{what}"]
    if before is not None and before.count:
        lines.append(f"  (and {before.count} times since it was last said, for {before.seconds:.2f} s in all)")
    lines.append("  nothing else on that loop ran meanwhile; await what waits, or do it in a 'def', which runs in a thread")
    lines.extend(f"    {each}" for each in culprit.stack)
    return "\n".join(lines)
