"""One hop from the event loop to a warm thread, with the context variables carried along.

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
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class QueuedTooLong(Exception):
    """A request waited so long for a thread that it was not begun."""


#: Most threads a process uses for `def` views; set by `carboy run --threads`.
DEFAULT_THREADS = min(64, (os.cpu_count() or 1) * 16)

_home = threading.local()
#: In a thread that runs a loop: its `returns`. PERF: a weak dictionary of loops takes twice the time, and kept them all the same.
_here = threading.local()


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


class ThreadPool:
    """Warm threads, grown one by one up to a bound as work waits for them."""

    def __init__(self, size: int = DEFAULT_THREADS, name: str = "carboy") -> None:
        self.size = size
        self.name = name
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        #: Jobs for which no thread is free; a thread that ends one takes its next from here.
        self.backlog: collections.deque[Job] = collections.deque()
        # One token for each thread that waits for work: who takes it gives that thread a job. A deque's append and pop are
        # atomic; `+=` on a number is not.
        self.idle: collections.deque[None] = collections.deque()
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()
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
        """Jobs for which no thread was free yet."""
        return len(self.backlog)

    @property
    def busy(self) -> int:
        """Threads that are at work, or on their way to it."""
        return len(self.threads) - len(self.idle)

    def submit(self, loop: asyncio.AbstractEventLoop, function: Callable[..., T], args: tuple[Any, ...]) -> asyncio.Future[T]:
        return self.enqueue(loop, function, args).done

    def enqueue(self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], args: tuple[Any, ...], since: float = 0.0) -> Job:
        returns: Returns | None = getattr(_here, "returns", None)
        if returns is None or returns.loop is not loop:
            returns = _here.returns = Returns(loop)
        if since and not self.backlog:
            self.emptied = since
        job = Job(function, args, loop.create_future(), returns, since)
        if self.has_thread():
            self.jobs.put(job)
        else:
            self.backlog.append(job)
            self.pump()  # the threads may all have gone idle just before
        return job

    def has_thread(self) -> bool:
        """Whether there is a thread for one more job, which it then waits for; a new one if need be."""
        try:
            self.idle.pop()
        except IndexError:
            return len(self.threads) < self.size and self.grow()
        return True

    def pump(self) -> None:
        """Begin what has waited, as far as there are threads now."""
        while self.backlog and self.has_thread():
            try:
                self.jobs.put(self.backlog.popleft())
            except IndexError:
                self.idle.append(None)  # another thread was quicker

    def following(self) -> Job | None:
        """Called in a thread that has ended a job: what it does next; None if it is to wait for that.

        No job is left behind: the loop appends to the backlog and then looks whether threads are idle, a thread says that
        it is idle and then looks into the backlog. One of them sees the other.
        """
        if self.backlog:
            try:
                return self.backlog.popleft()
            except IndexError:
                pass  # another thread was quicker
        self.idle.append(None)
        self.pump()
        return None

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

    def grow(self) -> bool:
        """Start one more thread; False if there are as many as there may be."""
        with self.lock:
            number = len(self.threads)
            if number >= self.size:
                return False
            thread = threading.Thread(target=self.work, name=f"{self.name}-{number}", daemon=True)
            self.threads.append(thread)
        thread.start()
        return True

    def work(self) -> None:
        take = self.jobs.get
        job = take()  # the first one is the job that made this thread grow: it has no token
        while job is not None:
            if job.done.cancelled():
                job.drop()
            elif job.since and self.is_too_late(job.since):
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
            # Told when it is known whether this thread is free: who gets the answer may come back at once.
            following = self.following()
            job.returns.deliver(job)
            job = following  # a thread that waits holds nothing of what it did
            if job is None:
                job = take()


pool = ThreadPool()


async def offload(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking call in a warm thread and wait for it.

    The thread sees the caller's context variables, the current request among them. Cancelling the wait does not
    stop the thread: Python cannot. The call then ends on its own and its result is dropped.
    """
    return await pool.submit(asyncio.get_running_loop(), function, args)


class Traveller(Protocol):
    """Work whose steps are done by turns on the loop and in threads."""

    #: The context variables as its hops see them; None before the first.
    hops: contextvars.Context | None


async def hop(traveller: Traveller, function: Callable[..., T], *args: Any) -> T:
    """Run a step of a journey in a warm thread: like `offload`, and what it sets in context variables comes back.

    So a `def` hook that binds a log's or a tracer's variables does so for an `async def` view, too. All hops of a
    traveller run in one `contextvars.Context`: the token that a `before_request` has got, a teardown may use.
    """
    context = contextvars.copy_context()
    if traveller.hops is None:
        traveller.hops = context
    else:
        traveller.hops.run(adopt, context)
        context = traveller.hops
    try:
        result: T = await pool.submit(asyncio.get_running_loop(), context.run, (function, *args))
    except asyncio.CancelledError:
        # The thread works on in it; a later hop, of the teardown, must not wait for that.
        traveller.hops = None
        raise
    except Exception:
        adopt(context)
        raise
    adopt(context)
    return result


def adopt(context: contextvars.Context) -> None:
    """Set the variables of this place to what they are in another, as if what ran there had run here."""
    for variable, value in context.items():
        try:
            if variable.get() is value:
                continue
        except LookupError:
            pass
        variable.set(value)


async def admit(function: Callable[..., T], *args: Any) -> T:
    """Like `offload`, for the hop that begins a request: one that has waited too long for a thread is not begun.

    Raises:
        QueuedTooLong: longer than the pool's patience.
    """
    job = pool.enqueue(asyncio.get_running_loop(), function, args, time.monotonic())
    try:
        return await job.done  # type: ignore[no-any-return]  # what the function returns
    except asyncio.CancelledError:
        job.task = asyncio.current_task()
        pool.given_up.append(job)
        raise


def _forget_threads() -> None:
    """A forked child has none of the parent's threads."""
    global pool, _here
    _here = threading.local()
    pool = ThreadPool(pool.size, pool.name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
