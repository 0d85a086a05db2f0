"""When the server wants to leave: what would go on for ever ends politely, so that its client comes to another worker.

`carboy run` puts an `asyncio.Event` into the state of each ASGI scope, under the key `carboy.leaving`.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

KEY = "carboy.leaving"


def leaving_of(request: Any) -> asyncio.Event | None:
    """The event that is set when the worker of a request begins to leave; None where the server has none."""
    scope = getattr(getattr(request, "_head", None), "scope", None)
    state = scope.get("state") if isinstance(scope, dict) else None
    event = state.get(KEY) if state else None
    return event if isinstance(event, asyncio.Event) else None


class _Farewell:
    """Who is to be told of one event: one task waits for it, however many streams there are."""

    def __init__(self, event: asyncio.Event) -> None:
        self.event = event
        self.listeners: set[Callable[[], None]] = set()
        self.task: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        await self.event.wait()
        for listener in tuple(self.listeners):
            listener()


_farewells: weakref.WeakKeyDictionary[asyncio.Event, _Farewell] = weakref.WeakKeyDictionary()


def listen(event: asyncio.Event, listener: Callable[[], None]) -> None:
    """Call *listener* on this loop when the event is set; `forget` it when it is of no use any more."""
    farewell = _farewells.get(event)
    if farewell is None:
        farewell = _farewells[event] = _Farewell(event)
    farewell.listeners.add(listener)
    if farewell.task is None:
        farewell.task = asyncio.get_running_loop().create_task(farewell.wait())


def forget(event: asyncio.Event, listener: Callable[[], None]) -> None:
    """Undo `listen`."""
    farewell = _farewells.get(event)
    if farewell is None:
        return
    farewell.listeners.discard(listener)
    if not farewell.listeners and farewell.task is not None:
        farewell.task.cancel()
        del _farewells[event]
