"""When the server wants to leave: what would go on for ever ends politely, so that its client comes to another worker.

`carboy run` puts an `asyncio.Event` into the state of each ASGI scope; elsewhere there is the lifespan's own, which is
set when the app is told to stop.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

from ..core.lifespan import LEAVING
from ..wire.close_codes import RESTART


def leaving_of(app: Any, request: Any) -> asyncio.Event | None:
    """The event that is set when the process of a request begins to leave; None where nobody would set one.

    Asked on the loop that will wait for it.
    """
    scope = getattr(getattr(request, "_head", None), "scope", None)
    state = scope.get("state") if isinstance(scope, dict) else None
    event = state.get(LEAVING) if state else None
    if isinstance(event, asyncio.Event):
        return event
    lifespan = app.lifespan_state
    return lifespan.leaving if lifespan.is_started and lifespan.loop is asyncio.get_running_loop() else None


def close_code_of(event: asyncio.Event) -> int:
    """With what a WebSocket is closed when the event is set: 1001 if the server stops, 1012 if a client may come again at once.

    `carboy run`'s event knows. Other servers do not say whether they come back; 1012 is what Uvicorn closes with at its stop.
    """
    tell: Callable[[], int] | None = getattr(event, "close_code", None)
    return RESTART if tell is None else tell()


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
    """Call *listener* on this loop when the event is set, or soon if it is; `forget` it when it is of no use any more."""
    if event.is_set():
        # Those who listen have been told; who comes now would wait for a task that is done.
        asyncio.get_running_loop().call_soon(listener)
        return
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
