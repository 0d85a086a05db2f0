"""A client that has gone: the work for it is cancelled, quietly.

Nothing is watched for work that never waits: the first step of the coroutine is taken before a watcher is made, so a
view that answers at once pays nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection before it had its answer."""


class UntilGone(Generic[T]):
    """Awaits a coroutine, and cancels it when the client goes away.

    Args:
        journey: the work.
        gone: waits until the client has gone.

    Raises:
        ClientGone: it has; the work was cancelled.
    """

    __slots__ = ("gone", "journey")

    def __init__(self, journey: Coroutine[Any, Any, T], gone: Callable[[], Awaitable[Any]]) -> None:
        self.journey = journey
        self.gone = gone

    def __await__(self) -> Generator[Any, Any, T]:
        journey = self.journey
        try:
            waits_for = journey.send(None)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the coroutine's return type is T
        task = asyncio.current_task()
        has_gone = False

        async def watch() -> None:
            nonlocal has_gone
            await self.gone()
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
            return stop.value  # type: ignore[no-any-return]  # as above
        except asyncio.CancelledError:
            if has_gone and task is not None:
                task.uncancel()
                raise ClientGone from None
            raise
        finally:
            watcher.cancel()
