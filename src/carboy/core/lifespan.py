"""Start and stop of an app: each a generator with one `yield`, sync or async, entered in order and left in reverse."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, Protocol

from ..pipeline.offload import offload

Span = Callable[[Any], Any]

#: Key of an `asyncio.Event` in the lifespan's state, and in that of every ASGI scope: set when the worker begins to
#: leave, so that what would go on for ever (event streams, WebSockets) can say goodbye instead of being cut off.
LEAVING = "carboy.leaving"

_NO_YIELD: Any = object()


class Part(Protocol):
    """What works for an app beside its requests: started after every span, stopped before the first span is left."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Lifespan:
    """What was started and is to be stopped.

    A span is `def f(app)` or `async def f(app)`: a generator that yields once, or a plain function that is only called
    at the start.

    Attributes:
        parts: what works beside the requests, and stands on what the spans have made.
        loop: the loop it was started on; None while it is not started.
        leaving: set when the app begins to stop: by the server, which may give notice, or by `stop`.
        told: what the server has put into the lifespan's state.
    """

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.is_started = False
        self.parts: list[Part] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.leaving = asyncio.Event()
        self.told: Mapping[str, Any] = {}

    @property
    def has_notice(self) -> bool:
        """Whether the server itself tells when it begins to leave."""
        return LEAVING in self.told

    async def start(self, app: Any) -> None:
        """Enter every span of the app, in order; what was entered is left again if one fails."""
        if self.is_started:
            return
        self.is_started = True
        self.loop = asyncio.get_running_loop()
        self.leaving = self.told.get(LEAVING) or asyncio.Event()
        try:
            for span in tuple(app.lifespan_functions):
                await self.enter(span, app)
            for part in tuple(self.parts):
                await part.start()
        except BaseException as error:
            try:
                await self.stop()
            except Exception as later:
                # The reason of the failed start is what its reader needs.
                error.add_note(f"What had started before it could not be stopped either: {later!r}")
            raise

    async def enter(self, span: Span, app: Any) -> None:
        begun: Any = span(app) if _takes_app(span) else span()  # type: ignore[call-arg]  # spans may leave the app out
        if inspect.isasyncgen(begun):
            if await anext(begun, _NO_YIELD) is _NO_YIELD:
                raise _not_entered(begun)
            self.opened.append(begun)
        elif inspect.isgenerator(begun):
            if await offload(next, begun, _NO_YIELD) is _NO_YIELD:
                raise _not_entered(begun)
            self.opened.append(begun)
        elif hasattr(begun, "__aenter__"):
            await begun.__aenter__()
            self.opened.append(begun)
        elif inspect.isawaitable(begun):
            await begun

    async def stop(self) -> None:
        """Leave every span that was entered, in reverse; all of them, then raise what they raised."""
        errors: list[BaseException] = []
        self.leaving.set()
        for part in reversed(tuple(self.parts)):
            try:
                await part.stop()
            except Exception as error:
                errors.append(error)
        while self.opened:
            flow = self.opened.pop()
            try:
                await _leave(flow)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                errors.append(error)
        self.is_started = False
        self.loop = None
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("several parts of the app failed to stop", errors)


def _not_entered(flow: Any) -> RuntimeError:
    return RuntimeError(f"the lifespan function {getattr(flow, '__qualname__', flow)} does not yield: it returned before its `yield`")


async def _leave(flow: Any) -> None:
    is_async: bool = hasattr(flow, "__anext__")
    if hasattr(flow, "__aexit__"):
        await flow.__aexit__(None, None, None)
    elif is_async:
        await _leave_async(flow)
    else:
        await offload(_leave_sync, flow)


async def _leave_async(flow: AsyncGenerator[None, None]) -> None:
    try:
        await flow.__anext__()
    except StopAsyncIteration:
        return
    await flow.aclose()
    raise RuntimeError(f"the lifespan function {getattr(flow, '__qualname__', flow)} yields more than once")


def _leave_sync(flow: Generator[None, None, None]) -> None:
    try:
        next(flow)
    except StopIteration:
        return
    flow.close()
    raise RuntimeError(f"the lifespan function {getattr(flow, '__qualname__', flow)} yields more than once")


def _takes_app(span: Span) -> bool:
    try:
        return bool(inspect.signature(span).parameters)
    except (TypeError, ValueError):
        return True
