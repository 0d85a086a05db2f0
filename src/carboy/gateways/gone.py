"""A client that has gone: the work for it is cancelled, quietly.

Nothing is watched for work that never waits: the first step of the coroutine is taken before a watcher is made, so a
view that answers at once pays nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from ..wire.asgi import Receive

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection before it had its answer."""


class UntilGone(Generic[T]):
    """Awaits a coroutine that has begun to wait, and cancels it when the client goes away.

    Args:
        journey: the work.
        waits_for: what its first step gave.
        gone: waits, given *source*, until the client has gone; awaited in a task of its own.
        source: where the door's protocol tells it.

    Raises:
        ClientGone: it has; the work was cancelled.
    """

    __slots__ = ("gone", "journey", "source", "waits_for")

    def __init__(
        self, journey: Coroutine[Any, Any, T], waits_for: Any, gone: Callable[[Any], Awaitable[Any]], source: Any
    ) -> None:
        self.journey = journey
        self.waits_for = waits_for
        self.gone = gone
        self.source = source

    def __await__(self) -> Generator[Any, Any, T]:
        journey = self.journey
        waits_for = self.waits_for
        task = asyncio.current_task()
        has_gone = False

        async def watch() -> None:
            nonlocal has_gone
            await self.gone(self.source)
            has_gone = True
            if task is not None:
                task.cancel()

        watcher = asyncio.get_running_loop().create_task(watch())
        try:
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    journey.close()
                    raise
                except BaseException as error:  # whatever is thrown into the task is the coroutine's
                    waits_for = journey.throw(error)
                else:
                    waits_for = journey.send(sent)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the coroutine's return type is T
        except asyncio.CancelledError:
            if has_gone and task is not None:
                task.uncancel()
                raise ClientGone from None
            raise
        finally:
            watcher.cancel()


async def until_gone(journey: Coroutine[Any, Any, T], gone: Callable[[Any], Awaitable[Any]], source: Any) -> T:
    """Take the first step of a coroutine, and the others as `UntilGone`.

    Raises:
        ClientGone: the client has gone; the work was cancelled.
    """
    try:
        waits_for = journey.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the coroutine's return type is T
    return await UntilGone(journey, waits_for, gone, source)


async def disconnect(receive: Receive) -> None:
    """Wait for ASGI's `http.disconnect`; the body has been read."""
    # A server may still hand out the last, empty piece of a body; whatever else comes again and again is not ASGI, and
    # must not keep the loop busy.
    for _ in range(2):
        if (await receive())["type"] == "http.disconnect":
            return
    await asyncio.get_running_loop().create_future()
