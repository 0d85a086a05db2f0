"""Streams that keep the request: a body's generator sees `request` and `session` although the view has returned."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from ..pipeline.offload import offload
from .ctx import Context, app_var, request_var


class _Kept:
    """A context that is current during each step of a generator, and ends with it.

    Each step may run in another thread with other context variables, so the variables are set for the step alone.
    """

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.is_open = True
        ctx.hold()

    def step(self, function: Callable[..., Any], *args: Any) -> Any:
        ctx = self.ctx
        app_token = app_var.set(ctx.scope)
        request_token = request_var.set(ctx)
        try:
            return function(*args)
        finally:
            request_var.reset(request_token)
            app_var.reset(app_token)

    def end(self, error: BaseException | None = None) -> None:
        if self.is_open:
            self.is_open = False
            self.ctx.release(error)


class _ContextIterator:
    """A sync generator with a context kept for it."""

    def __init__(self, flow: Iterator[Any], ctx: Context) -> None:
        self.flow = flow
        self.kept = _Kept(ctx)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self.kept.step(next, self.flow)
        except StopIteration:
            self.close()
            raise
        except BaseException as error:
            self.kept.end(error)
            raise

    def close(self) -> None:
        """Close the generator, then end the context."""
        close = getattr(self.flow, "close", None)
        try:
            if close is not None and self.kept.is_open:
                self.kept.step(close)
        finally:
            self.kept.end()

    def __del__(self) -> None:
        # Never iterated and never closed: the context must not wait for ever.
        if self.kept.is_open:
            self.close()


class _AsyncContextIterator:
    """An async generator with a context kept for it."""

    def __init__(self, flow: AsyncIterator[Any], ctx: Context) -> None:
        self.flow = flow
        self.kept = _Kept(ctx)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def step(self, function: Callable[[], Awaitable[Any]]) -> Any:
        ctx = self.kept.ctx
        app_token = app_var.set(ctx.scope)
        request_token = request_var.set(ctx)
        try:
            return await function()
        finally:
            request_var.reset(request_token)
            app_var.reset(app_token)

    async def __anext__(self) -> Any:
        try:
            return await self.step(self.flow.__anext__)
        except BaseException as error:
            await self.end(None if isinstance(error, StopAsyncIteration) else error)
            raise

    async def aclose(self) -> None:
        """Close the generator, then end the context."""
        close = getattr(self.flow, "aclose", None)
        try:
            if close is not None and self.kept.is_open:
                await self.step(close)
        finally:
            await self.end()

    async def end(self, error: BaseException | None = None) -> None:
        """End the context in a thread: teardown functions may block."""
        if self.kept.is_open:
            await offload(self.kept.end, error)

    def __del__(self) -> None:
        # Never iterated and never closed: the context must not wait for ever.
        self.kept.end()


def stream_with_context(generator_or_function: Any) -> Any:
    """Keep the request's context for a generator, or for what a generator function makes.

    Args:
        generator_or_function: an iterator of either colour, or a function that returns one (then this is a decorator).

    Example:
        >>> @app.get("/stream")
        ... def stream():
        ...     @stream_with_context
        ...     def lines():
        ...         yield f"hello {request.args['name']}"
        ...     return lines()

    Raises:
        RuntimeError: there is no request.
    """
    if not (hasattr(generator_or_function, "__anext__") or hasattr(generator_or_function, "__iter__")):
        function: Callable[..., Any] = generator_or_function

        @functools.wraps(function)
        def decorator(*args: Any, **kwargs: Any) -> Any:
            return stream_with_context(function(*args, **kwargs))

        return decorator
    ctx = request_var.get(None)
    if ctx is None:
        raise RuntimeError(
            "'stream_with_context' can only be used when a request context is active, such as in a view function."
        )
    if hasattr(generator_or_function, "__anext__"):
        return _AsyncContextIterator(generator_or_function, ctx)
    return _ContextIterator(iter(generator_or_function), ctx)
