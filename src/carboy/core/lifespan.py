"""Start and stop of an app: each a generator with one `yield`, sync or async, entered in order and left in reverse."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from ..pipeline.offload import offload

Span = Callable[[Any], Any]


class Lifespan:
    """What was started and is to be stopped.

    A span is `def f(app)` or `async def f(app)`: a generator that yields once, or a plain function that is only called
    at the start.
    """

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.is_started = False

    async def start(self, app: Any) -> None:
        """Enter every span of the app, in order; what was entered is left again if one fails."""
        if self.is_started:
            return
        self.is_started = True
        try:
            for span in tuple(app.lifespan_functions):
                await self.enter(span, app)
        except BaseException:
            await self.stop()
            raise

    async def enter(self, span: Span, app: Any) -> None:
        begun: Any = span(app) if _takes_app(span) else span()  # type: ignore[call-arg]  # spans may leave the app out
        if inspect.isasyncgen(begun):
            await begun.__anext__()
            self.opened.append(begun)
        elif inspect.isgenerator(begun):
            await offload(next, begun)
            self.opened.append(begun)
        elif hasattr(begun, "__aenter__"):
            await begun.__aenter__()
            self.opened.append(begun)
        elif inspect.isawaitable(begun):
            await begun

    async def stop(self) -> None:
        """Leave every span that was entered, in reverse; all of them, then raise what they raised."""
        errors: list[BaseException] = []
        while self.opened:
            flow = self.opened.pop()
            try:
                await _leave(flow)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                errors.append(error)
        self.is_started = False
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("several parts of the app failed to stop", errors)


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
