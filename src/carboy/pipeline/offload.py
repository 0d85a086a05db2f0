"""One hop from the event loop to a warm thread, with the context variables carried along."""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .governor import Governor
from .threads import DEFAULT_THREADS, ThreadPool, forget_loops

T = TypeVar("T")


def governed(size: int = DEFAULT_THREADS) -> ThreadPool:
    """The pool of the process's `def` views."""
    made = ThreadPool(size)
    made.watch = Governor(made).watch
    return made


pool = governed()


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
    global pool
    forget_loops()
    pool = governed(pool.size)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
