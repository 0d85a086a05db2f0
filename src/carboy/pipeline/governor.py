"""How many threads work at once: as many as there is something to wait for.

One thread runs Python at a time. Threads that wait, for a database or a service elsewhere, are worth having; threads that
compute take the interpreter from each other, and each change of hands costs: a page with SQLite queries, 64 clients, one
worker on two cores, was answered 757 times a second by 32 threads and 1,478 times by two. So a pool begins with all its
threads, and while they are busy somebody looks on: whether they compute or wait, the system knows.
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .threads import FEW, Hand, ThreadPool

if TYPE_CHECKING:
    import ctypes

#: Seconds between two looks: while the limit is sought, and once it is found.
SHORT, LONG = 0.01, 0.05
#: The interpreter is free, or taken, where threads and loop use so much of the time, waits for a processor included.
FREE, TAKEN = 0.85, 0.95
#: The loop, not the threads, has the interpreter where they use less of the time than this.
IDLE = 0.4
#: So many times as many threads as were seen to be needed, and for how many seconds that is not questioned.
SPARE, TRUE_FOR = 1.25, 5.0
#: Threads that compute more than this together do so without the interpreter's lock; and have processors left for others of
#: their kind where each computes so much.
UNLOCKED, UNHINDERED = 1.3, 0.65
#: The loop is so late, seconds, where threads hold the interpreter for long at a time; and so little where they do not.
LATE, PROMPT = 0.003, 0.001
#: Without an end of a job for so long, one more may begin: what takes long must not hold up what does not.
STUCK = 0.05
#: Seconds after that in which the limit is not lowered.
CAUTION = 1.0
#: Seconds with little to do, after which all threads may work again.
QUIET = 1.0
#: A job that has used less than this share of so many seconds waits for something; it is not counted.
WAITS, AFTER = 0.015, 0.25
#: A job that has used so many seconds keeps nobody else from working; nor is it counted, unless there are more than a few.
HOG = 0.1


@dataclass(slots=True)
class Seen:
    """What was last seen of a thread."""

    steps: int
    #: Seconds that it has computed, and that it has wanted to.
    computed: float
    wanted: float
    #: When its present job was first seen, and what it had wanted by then.
    since: float
    wanted_then: float


@dataclass(slots=True)
class Look:
    """What the threads did since the last look, as shares of the time: 1.0 is one processor."""

    computed: float = 0.0
    wanted: float = 0.0
    #: The same with the loop's.
    taken: float = 0.0
    #: Threads at work; and those that are not counted in any of this, for they wait or compute for long.
    active: int = 0
    apart: int = 0
    #: A job has begun or ended.
    moved: bool = False


class Governor:
    """Looks on while more than a few threads of a pool work, and sets its limit. All of it runs on one loop."""

    def __init__(self, pool: ThreadPool) -> None:
        self.pool = pool
        #: Most threads, without those that take long; None until there was a reason to lower it.
        self.most: int | None = None
        self.seen: dict[Hand, Seen] = {}
        self.seen_of_loop = 0.0
        self.looked_at = 0.0
        self.moved_at = 0.0
        self.cautious_until = 0.0
        #: How many are needed, and until when that is taken for true.
        self.need = 0
        self.need_until = 0.0
        self.busy_at = 0.0
        #: How late the loop comes to its looks, seconds, on the average; and the pause until the next.
        self.late = 0.0
        self.pause = SHORT

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look on from a loop, if none does; called on it."""
        watching = self.pool.watched_by
        if self.pool.size <= FEW or (watching is not None and watching.is_running()):
            return
        if time_of(threading.get_native_id()) is None:
            self.pool.watch = None  # the system does not tell: all threads may always work
            return
        self.pool.watched_by = loop
        now = time.monotonic()
        self.seen.clear()
        self.look(now, 1.0)
        self.looked_at = self.moved_at = self.busy_at = now
        self.late = 0.0
        self.pause = SHORT
        loop.call_later(self.pause, self.review, loop)

    def review(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look, and set the limit; look again later, unless there has been little to do for a while."""
        pool = self.pool
        if loop is not pool.watched_by:
            return  # another one has taken over while this one stood still
        now = time.monotonic()
        self.late += 0.25 * (max(0.0, now - self.looked_at - self.pause) - self.late)
        look = self.look(now, now - self.looked_at)
        self.looked_at = now
        if look.moved:
            self.moved_at = now
        if pool.waiting or pool.busy > FEW or look.wanted >= IDLE:
            self.busy_at = now
        elif now - self.busy_at >= QUIET:
            pool.hold(pool.size)
            self.most = pool.watched_by = None
            return
        before = pool.size if self.most is None else min(self.most, pool.size)
        most = self.decide(look, now, before)
        if most != before or self.most is not None:
            self.most = most
            pool.hold(min(pool.size, most + look.apart))
        self.pause = SHORT if pool.waiting and most != before else min(LONG, self.pause * 2)
        loop.call_later(self.pause, self.review, loop)

    def decide(self, look: Look, now: float, most: int) -> int:
        """How many threads are to work at most, without those that take long."""
        size = self.pool.size
        # Not where they compute twice as much as those would have who were seen then: other work has come since.
        is_known = now < self.need_until and self.need * look.computed <= 2 * SPARE * look.active
        needed = self.need if is_known else 0
        if self.pool.waiting:
            if look.taken < FREE:
                # They hardly hinder each other, so what they wait for is not the interpreter: so many would use all of it.
                self.need, self.need_until = math.ceil(SPARE * look.active / max(look.computed, 0.01)), now + TRUE_FOR
                return min(size, max(most + 1, min(most * 2, self.need)))
            if most < needed:
                return min(size, most * 2, needed)
            if look.wanted < IDLE or look.computed > max(UNLOCKED, UNHINDERED * look.active) or (most < FEW and self.late < PROMPT):
                return min(size, most * 2)
            if now - self.moved_at >= STUCK:
                self.moved_at, self.cautious_until = now, now + CAUTION
                return min(size, most + 1)
        if look.taken >= TAKEN and look.wanted >= IDLE and look.computed < UNLOCKED and now >= self.cautious_until:
            least = max(1 if self.late > LATE else FEW, needed)
            return min(most, max(least, min(most, look.active) * 3 // 4))
        return most

    def look(self, now: float, window: float) -> Look:
        """See what the threads have done since the last look.

        Args:
            window: seconds since then.
        """
        found, hogs = Look(), 0
        for hand in tuple(self.pool.threads):
            steps, before = hand.steps, self.seen.get(hand)
            if before is not None and before.steps == steps and steps % 2 == 0:
                continue  # it has nothing to do
            spent = time_of(hand.native_id)
            if spent is None:
                continue  # it is only just starting
            computed, wanted = spent
            if before is None or before.steps != steps:
                found.moved = True
                self.seen[hand] = Seen(steps, computed, wanted, now, wanted)
            else:
                self.seen[hand] = Seen(steps, computed, wanted, before.since, before.wanted_then)
                lasts, used = now - before.since, wanted - before.wanted_then
                is_hog = used >= HOG and hogs < FEW
                if is_hog or (lasts >= AFTER and used < WAITS * lasts):
                    hogs += is_hog
                    found.apart += 1
                    continue
            found.active += 1
            if before is not None:
                found.computed += computed - before.computed
                found.wanted += wanted - before.wanted
        _, of_loop = time_of(threading.get_native_id()) or (0.0, 0.0)
        found.computed /= window
        found.wanted /= window
        found.taken = found.wanted + (of_loop - self.seen_of_loop) / window
        self.seen_of_loop = of_loop
        return found


@functools.cache
def _libc() -> tuple[ctypes.PyDLL, ctypes.Array[ctypes.c_char]] | None:
    """The C library, called without letting go of the interpreter, and a buffer; None where it is not known."""
    if sys.platform != "linux":
        return None
    import ctypes  # 3 ms that only who needs it pays

    try:
        return ctypes.PyDLL(None), ctypes.create_string_buffer(96)
    except OSError:
        return None


def time_of(thread: int | None) -> tuple[float, float] | None:
    """Seconds that a thread of this process has computed, and the same with those that it waited for a processor.

    Source: Linux, Documentation/scheduler/sched-stats.rst. None where the system does not tell. Holds the interpreter's
    lock all the time: with four threads that compute, letting go of it for each file stopped the loop for a second.
    """
    known = _libc()
    if known is None:
        return None
    libc, buffer = known
    number = libc.open(b"/proc/self/task/%d/schedstat" % (thread or 0), os.O_RDONLY | os.O_CLOEXEC)
    if number < 0:
        return None
    length = libc.read(number, buffer, 95)
    libc.close(number)
    computed, _, rest = buffer.raw[: max(0, length)].partition(b" ")
    waited = rest.partition(b" ")[0]
    if not waited:
        return None
    return int(computed) / 1e9, (int(computed) + int(waited)) / 1e9
