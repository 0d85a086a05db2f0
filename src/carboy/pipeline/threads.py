"""Warm threads that work is handed to from event loops, and the way its result takes back.

`run_in_executor` costs 17 µs a call (a lock, a semaphore, a concurrent future and a callback chain); this hand-off is
a `SimpleQueue` and one `call_soon_threadsafe`, and finished jobs of a burst share a wake-up of the loop.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Most threads a process uses for `def` views; set by `carboy run --threads`.
DEFAULT_THREADS = min(64, (os.cpu_count() or 1) * 16)
#: More than so many at work: somebody is to look whether they take the interpreter from each other.
FEW = 2

_home = threading.local()
#: In a thread that runs a loop: its `returns`. PERF: a weak dictionary of loops takes twice the time, and kept them all the same.
_here = threading.local()


class QueuedTooLong(Exception):
    """A request waited so long for a thread that it was not begun."""


def home_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that sent work to this thread, if it is one of ours."""
    return getattr(_home, "loop", None)


class Job:
    """A call on its way to a thread and back."""

    __slots__ = ("args", "context", "done", "error", "function", "is_over", "result", "returns", "since", "task")

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        done: asyncio.Future[Any],
        returns: Returns,
        since: float = 0.0,
    ) -> None:
        self.function = function
        self.args = args
        self.context = contextvars.copy_context()
        self.done = done
        self.returns = returns
        self.result: Any = None
        self.error: BaseException | None = None
        #: When a request began to wait for a thread; 0 for what must be done however long it waits.
        self.since = since
        self.is_over = False
        #: Who waited for it, once nobody does any more.
        self.task: asyncio.Task[Any] | None = None

    def drop(self) -> None:
        """Give up what was not begun: a coroutine that nobody will drive is closed."""
        self.is_over = True
        for each in self.args:
            if asyncio.iscoroutine(each):
                each.close()


class Returns:
    """Finished jobs of one loop. Threads append; the loop is woken once for all that wait."""

    __slots__ = ("awake", "finished", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.finished: collections.deque[Job] = collections.deque()
        self.awake = False

    def deliver(self, job: Job) -> None:
        """Called in a worker thread."""
        self.finished.append(job)
        if not self.awake:
            self.awake = True
            try:
                self.loop.call_soon_threadsafe(self.collect)
            except RuntimeError:
                # The loop was closed while the thread worked: nobody is left to tell.
                self.finished.clear()

    def collect(self) -> None:
        """Called on the loop: hand out what has finished."""
        # Cleared first: a job that ends from here on wakes the loop again, so none is left behind.
        self.awake = False
        finished = self.finished
        while finished:
            job = finished.popleft()
            done = job.done
            if done.cancelled():
                continue
            if job.error is None:
                done.set_result(job.result)
            else:
                done.set_exception(job.error)


class Hand(threading.Thread):
    """A warm thread of a pool."""

    def __init__(self, pool: ThreadPool, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.pool = pool
        #: What it is to do; it waits here.
        self.box: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        #: Jobs begun and ended: odd while it is at one. Only this thread writes it.
        self.steps = 0

    def run(self) -> None:
        pool, take = self.pool, self.box.get
        job = take()
        while job is not None:
            self.steps += 1
            if job.done.cancelled():
                job.drop()
            elif job.since and pool.is_too_late(job.since):
                job.drop()
                job.error = QueuedTooLong()
            else:
                _home.loop = job.returns.loop
                try:
                    job.result = job.context.run(job.function, *job.args)
                except StopIteration as stop:
                    # A future cannot carry StopIteration (PEP 479's reason).
                    job.error = RuntimeError(f"StopIteration left {job.function!r}: {stop!r}")
                except BaseException as error:  # handed to the awaiting side, which raises it
                    job.error = error
                job.is_over = True
            self.steps += 1
            # Told when it is known whether this thread is free: who gets the answer may come back at once.
            following = pool.following(self)
            job.returns.deliver(job)
            job = following  # a thread that waits holds nothing of what it did
            if job is None:
                job = take()


class ThreadPool:
    """Warm threads, grown one by one up to a bound as work waits for them."""

    def __init__(self, size: int = DEFAULT_THREADS, name: str = "carboy") -> None:
        self.size = size
        self.name = name
        #: Jobs for which none of `size` threads is free.
        self.backlog: collections.deque[Job] = collections.deque()
        #: Jobs whose thread is held back: whoever ends one begins with the next of these.
        self.ready: collections.deque[Job] = collections.deque()
        # Threads that wait for work; who takes one gives it a job. The last one to come is the first to go: its stack is
        # still in the processor's cache. A deque's append and pop are atomic; `+=` on a number is not.
        self.idle: collections.deque[Hand] = collections.deque()
        #: Threads that get no work at present, and how many of those at work are to join them: see `hold`.
        self.held: collections.deque[Hand] = collections.deque()
        self.surplus = 0
        self.threads: list[Hand] = []
        self.lock = threading.Lock()
        #: Most threads that work at once, where that is less than `size`.
        self.limit: int | None = None
        #: Called where more than a few threads work and nobody looks on yet; who does, sets `limit` by `hold`.
        self.watch: Callable[[asyncio.AbstractEventLoop], None] | None = None
        self.watched_by: asyncio.AbstractEventLoop | None = None
        #: Longest that a request waits for a thread, seconds; None for as long as it takes.
        self.patience: float | None = None
        #: When a request last found the queue empty.
        self.emptied = 0.0
        #: Requests given up while their thread works on; see `abandoned`.
        self.given_up: list[Job] = []

    @property
    def abandoned(self) -> list[Job]:
        """Jobs for which nobody waits any more and which a thread has, or will come to. Asked on the loop."""
        self.given_up = [job for job in self.given_up if not job.is_over]
        return self.given_up

    @property
    def waiting(self) -> int:
        """Jobs that no thread has begun yet."""
        return len(self.backlog) + len(self.ready)

    @property
    def busy(self) -> int:
        """Threads that are at work, or on their way to it."""
        return len(self.threads) - len(self.idle) - len(self.held)

    def submit(self, loop: asyncio.AbstractEventLoop, function: Callable[..., T], args: tuple[Any, ...]) -> asyncio.Future[T]:
        return self.enqueue(loop, function, args).done

    def enqueue(self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], args: tuple[Any, ...], since: float = 0.0) -> Job:
        returns: Returns | None = getattr(_here, "returns", None)
        if returns is None or returns.loop is not loop:
            returns = _here.returns = Returns(loop)
        if since and not self.backlog:
            self.emptied = since
        job = Job(function, args, loop.create_future(), returns, since)
        hand = self.free()
        if hand is not None:
            hand.box.put(job)
        else:
            self.backlog.append(job)
            self.pump()  # the threads may all have gone idle just before
        # PERF: what `busy` says, without its frame.
        if self.watch is not None and self.watched_by is not loop and (
            self.ready or self.backlog or len(self.threads) - len(self.idle) - len(self.held) > FEW
        ):
            self.watch(loop)
        return job

    def free(self) -> Hand | None:
        """A thread for one more job, which it then waits for; a new one if need be. None if there is none."""
        try:
            return self.idle.pop()
        except IndexError:
            return self.grow()

    def promote(self, ending: int = 0) -> None:
        """Make those ready for whom there would be a thread if none were held back; what they wait from now on is not counted.

        Args:
            ending: threads that count as busy and are not.
        """
        while self.backlog and self.busy - ending + len(self.ready) < self.size:
            try:
                job = self.backlog.popleft()
            except IndexError:
                return  # another thread was quicker
            if job.since and not self.is_too_late(job.since):
                job.since = 0.0
            self.ready.append(job)

    def pump(self) -> None:
        """Begin what has waited, as far as there are threads now."""
        self.promote()
        while self.ready and (hand := self.free()) is not None:
            try:
                hand.box.put(self.ready.popleft())
            except IndexError:
                self.idle.append(hand)  # another thread was quicker

    def following(self, hand: Hand) -> Job | None:
        """Called in a thread that has ended a job: what it does next; None if it is to wait for that.

        No job is left behind: the loop appends to the backlog and then looks whether threads are idle, a thread says that
        it is idle and then looks into the backlog. One of them sees the other.
        """
        if self.surplus and self.retire(hand):
            self.pump()
            return None
        if self.backlog:
            self.promote(ending=1)
        if self.ready:
            try:
                return self.ready.popleft()
            except IndexError:
                pass  # another thread was quicker
        self.idle.append(hand)
        self.pump()
        return None

    def retire(self, hand: Hand) -> bool:
        """Called in a thread that has ended a job: whether it is one of those that are too many."""
        with self.lock:
            if not self.surplus:
                return False
            self.surplus -= 1
            self.held.append(hand)
            return True

    def hold(self, limit: int) -> None:
        """Let no more than so many threads work at once; those above it end what they do. Work that waits begins if it may."""
        with self.lock:
            self.limit = limit
            more = limit - (len(self.threads) - len(self.held) - self.surplus)
            for _ in range(-more):
                try:
                    self.held.append(self.idle.popleft())
                except IndexError:
                    self.surplus += 1
            for _ in range(more):
                if self.surplus:
                    self.surplus -= 1
                elif self.held:
                    self.idle.append(self.held.pop())
        self.pump()

    def is_too_late(self, since: float) -> bool:
        """Whether a request has waited too long.

        A burst may take all of `patience`; a queue that has not been empty for as long stands, and is kept to a fifth
        of it, so that those who are served are served while they still want it.
        Source: Nichols and Jacobson, Controlling Queue Delay (ACM Queue 10, 5): the standing queue is the bad one.
        """
        patience = self.patience
        if patience is None:
            return False
        now = time.monotonic()
        return now - since > (patience if now - self.emptied <= patience else patience / 5)

    def grow(self) -> Hand | None:
        """Start one more thread; None if there are as many as there may be."""
        with self.lock:
            if len(self.threads) - len(self.held) - self.surplus >= (self.size if self.limit is None else self.limit):
                return None
            if self.held:
                return self.held.pop()
            hand = Hand(self, f"{self.name}-{len(self.threads)}")
            self.threads.append(hand)
        try:
            hand.start()
        except RuntimeError:
            # The system refuses one more. Those that there are do the work.
            with self.lock:
                self.threads.remove(hand)
                if not self.threads:
                    raise
            return None
        return hand


def forget_loops() -> None:
    """A forked child runs none of the parent's loops."""
    global _here
    _here = threading.local()
