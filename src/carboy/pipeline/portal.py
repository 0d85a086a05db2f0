"""From a thread to an event loop: how a sync door, or a sync plan, runs an `async def`.

Work goes to the loop that sent this thread its request; behind a sync door there is none, and a process gets one loop
on one thread, started at first use, so that connections and tasks of async code outlive a request.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from .offload import adopt
from .threads import home_loop

T = TypeVar("T")


class Portal:
    """One event loop on one daemon thread.

    Attributes:
        inner: serves sync code that this portal's own thread runs and that wants async work done: the loop here waits
            for it, so it cannot do it itself.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: asyncio.AbstractEventLoop | None = None
        self._inner: Portal | None = None

    @property
    def inner(self) -> Portal:
        with self.lock:
            if self._inner is None:
                self._inner = Portal()
            return self._inner

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop, starting its thread at the first call."""
        running = self.running
        if running is None:
            with self.lock:
                running = self.running
                if running is None:
                    running = asyncio.new_event_loop()
                    threading.Thread(target=self.serve, args=(running,), name="carboy-portal", daemon=True).start()
                    self.running = running
        return running

    def serve(self, loop: asyncio.AbstractEventLoop) -> None:
        _of_thread.portal = self
        asyncio.set_event_loop(loop)
        loop.run_forever()


_of_thread = threading.local()
portal = Portal()


def call(function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
    """Call an async function from sync code and wait for its result.

    The function sees the caller's context variables, and what it sets in them is seen by the caller afterwards.
    Called on a running loop's own thread, the work goes to another loop: that blocks the caller, and never deadlocks.
    """
    loop = home_loop()
    if loop is None or not loop.is_running() or loop is _loop_of_this_thread():
        own: Portal | None = getattr(_of_thread, "portal", None)
        loop = (portal if own is None else own.inner).loop()
    context = contextvars.copy_context()
    result: concurrent.futures.Future[T] = concurrent.futures.Future()

    def start() -> None:
        loop.create_task(settle(), context=context)

    async def settle() -> None:
        try:
            result.set_result(await function(*args, **kwargs))
        except asyncio.CancelledError as error:
            result.set_exception(RuntimeError(f"the task running {function!r} was cancelled").with_traceback(error.__traceback__))
        except BaseException as error:  # raised again in the waiting thread
            result.set_exception(error)

    loop.call_soon_threadsafe(start)
    value = result.result()
    adopt(context)
    return value


def run(journey: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the portal's loop and wait for it."""

    async def await_it() -> T:
        return await journey

    return call(await_it)


def _loop_of_this_thread() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _forget_loop() -> None:
    """A forked child has not the parent's portal thread."""
    global portal
    portal = Portal()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_loop)
