"""A body that is made while it is sent, of either colour, as one kind of thing: an async iterator with `aclose`.

A plain generator is pulled in threads of their own, not in those of `def` views: it may sleep between two items for as
long as its client stays, and must not keep other requests from being answered.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ..pipeline.threads import ThreadPool

#: Most plain generators of a process that are in the middle of a step, asleep or at work; the others wait for their turn.
STREAM_THREADS = 512

_END: Any = object()


class Flow(Protocol):
    """What a door pulls an answer's pieces from. The consumer's pace is the producer's: nothing is read ahead."""

    def __aiter__(self) -> Flow: ...
    async def __anext__(self) -> Any: ...
    async def aclose(self) -> None:
        """End it; the `finally` blocks of its generator run."""


class AsyncFlow:
    """The pieces of an async iterable."""

    def __init__(self, body: Any) -> None:
        self.body = body
        self.flow = aiter(body)

    def __aiter__(self) -> AsyncFlow:
        return self

    async def __anext__(self) -> Any:
        return await anext(self.flow)

    async def aclose(self) -> None:
        close = getattr(self.body, "aclose", None)
        if close is not None:
            await close()


class ThreadedFlow:
    """The items of a plain iterable, each made in a thread; all in one copy of the context variables.

    A step cannot be interrupted, and a generator that runs cannot be closed. Who closes while a step is going on leaves
    the closing to the step's own thread, when it has ended, and does not wait.
    """

    def __init__(self, body: Iterable[Any]) -> None:
        self.body = body
        self.flow: Iterator[Any] | None = None
        self.context = contextvars.copy_context()
        self.lock = threading.Lock()
        self.wants_close = False
        self.is_closed = False

    def __aiter__(self) -> ThreadedFlow:
        return self

    async def __anext__(self) -> Any:
        item = await pull(self.context.run, self.step)
        if item is _END:
            raise StopAsyncIteration
        return item

    def step(self) -> Any:
        """Make the next item; called in a thread."""
        try:
            with self.lock:
                if self.is_closed:
                    return _END
                if self.flow is None:
                    self.flow = iter(self.body)
                return next(self.flow, _END)
        finally:
            if self.wants_close:
                self.finish_unheard()

    def finish(self) -> None:
        """Close the iterable, unless a step is going on: then its thread comes here when it has ended."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if not self.is_closed:
                self.is_closed = True
                close = getattr(self.body, "close", None)
                if close is not None:
                    close()
        finally:
            self.lock.release()

    def finish_unheard(self) -> None:
        """The same where nobody waits for it any more, and who has closed has gone."""
        try:
            self.finish()
        except Exception:
            logging.getLogger(__name__).exception("closing %r failed after its client had gone", self.body)

    async def aclose(self) -> None:
        if self.is_closed:
            return
        self.wants_close = True
        if not self.lock.locked():
            await pull(self.context.copy().run, self.finish)


def flow_of(body: Any) -> Flow:
    """The items of a body of either colour, as they are."""
    if hasattr(body, "__aiter__"):
        return AsyncFlow(body)
    return ThreadedFlow(body)


def as_bytes(item: Any) -> bytes:
    """A piece of a body: text is UTF-8."""
    return item.encode() if isinstance(item, str) else item


class _StreamThreads(ThreadPool):
    """A pool that says once when all its threads are taken."""

    is_told = False

    def enqueue(self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], args: tuple[Any, ...], since: float = 0.0) -> Any:
        if not self.is_told and not self.idle and len(self.threads) >= self.size:
            self.is_told = True
            logging.getLogger(__name__).warning(
                "all %d threads for plain generators are taken; further streams wait for one. An async generator needs none", self.size
            )
        return super().enqueue(loop, function, args, since)


_pool = _StreamThreads(STREAM_THREADS, "carboy-stream")


async def pull(function: Callable[..., Any], *args: Any) -> Any:
    """Make a step of a plain generator in a thread, and wait for it; cancelling the wait does not stop the step."""
    return await _pool.submit(asyncio.get_running_loop(), function, args)


def _forget_threads() -> None:
    """A forked child has none of the parent's threads."""
    global _pool
    _pool = _StreamThreads(STREAM_THREADS, "carboy-stream")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
