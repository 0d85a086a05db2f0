"""The WSGI door (PEP 3333). CGI and FastCGI stand on it.

A sync plan is driven in place, without any event loop; an async one runs on the portal's loop. A body is read by the
view itself, as WSGI has it, except where the view is async: its loop must not wait for a client.
"""

from __future__ import annotations

import contextvars
import io
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, BinaryIO

from werkzeug.exceptions import HTTPException

from ..pipeline import portal
from ..pipeline.drive import drive, run
from ..pipeline.plan import Plan
from ..wire.body import BodyBuffer, BodyMeter, BodyTooLarge, declared_length
from ..wire.response import BODILESS, STATUS_LINES, Answer, final_headers
from .arriving import Incoming, Unread
from .bridge import detour_wsgi
from .emit import is_empty, is_whole, joined, makes_own_output
from .flow import pull
from .served import Served, Visit

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_CHUNK = 64 * 1024


def application(app: Served, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request; `Carboy.wsgi_app` is this function."""
    if app.has_detours:
        elsewhere = detour_wsgi(app, environ, start_response)
        if elsewhere is not None:
            return elsewhere
        if app.is_replaced("wsgi_app") or app.is_replaced("__call__"):
            return _observed(app, environ, start_response)
    request = app.request_class(environ)
    ctx = app.find(request)
    plan: Plan = ctx.plan
    if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
        plan = ctx.plan = _with_body(app, plan, request)
    preserve = environ.get("werkzeug.debug.preserve_context")
    if preserve is not None or plan.is_async:
        response = _run_elsewhere(plan, ctx, preserve)
    else:
        try:
            run(plan, ctx).send(None)
        except StopIteration as stop:
            response = stop.value
        else:
            raise RuntimeError("a plan compiled as sync has suspended; one of its steps awaits")
    if type(response) is Answer:
        status, headers, body = response
        start_response(STATUS_LINES.get(status) or f"{status} UNKNOWN", headers)
        return () if environ["REQUEST_METHOD"] == "HEAD" or status in BODILESS else (body,)
    if is_whole(response) and not makes_own_output(response):
        # PERF: what Werkzeug's own __call__ does for such a response, 2 µs for 6.4.
        start_response(response.status, final_headers(response, environ))
        return () if is_empty(response, environ["REQUEST_METHOD"]) else (joined(response.response),)
    if hasattr(response.response, "__aiter__"):
        response.response = _Pulled(response.response)
    return response(environ, start_response)  # type: ignore[no-any-return]  # a WSGI response's iterable


def _observed(app: Served, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request that came through middleware: `start_response` is the middleware's, and is called in the context.

    FLASK: what wraps `wsgi_app` may ask for the current request there; teardown functions run after it.
    """
    request = app.request_class(environ)
    ctx = app.find(request)
    plan: Plan = ctx.plan
    if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
        plan = ctx.plan = _with_body(app, plan, request)
    answers: list[Iterable[bytes]] = []

    def starting(response: Any) -> None:
        if type(response) is Answer:
            response = response.to_response(app.response_class)
        if hasattr(response.response, "__aiter__"):
            response.response = _Pulled(response.response)
        answers.append(response(environ, start_response))

    ctx.starting = starting
    preserve = environ.get("werkzeug.debug.preserve_context")
    if preserve is not None or plan.is_async:
        _run_elsewhere(plan, ctx, preserve)
    else:
        drive(run(plan, ctx))
    return answers[0]


def _run_elsewhere(plan: Plan, ctx: Visit, preserve: Callable[[Any], Any] | None) -> Any:
    """Run a plan on the portal's loop, or keep its context for who asked for it."""
    if preserve is None:
        return _on_portal(run(plan, ctx))
    ctx.hold()
    try:
        if plan.is_async:
            return _on_portal(run(plan, ctx))
        try:
            run(plan, ctx).send(None)
        except StopIteration as stop:
            return stop.value
        raise RuntimeError("a plan compiled as sync has suspended; one of its steps awaits")
    finally:
        if ctx.scope is not ctx:
            preserve(ctx.scope)
        preserve(ctx)
        ctx.holds -= 1


def _on_portal(journey: Coroutine[Any, Any, Any]) -> Any:
    # In a copy of the context variables: nothing that a request sets is left to the next one in this thread.
    return contextvars.copy_context().run(portal.run, journey)


def _with_body(app: Served, plan: Plan, request: Any) -> Plan:
    """See that the body is within the limit; read it where the view is async. Errors become the plan's own."""
    environ: Environ = request.environ
    limit = app.body_limit(plan)
    try:
        length = declared_length([environ["CONTENT_LENGTH"]]) if environ.get("CONTENT_LENGTH") else None
        if limit is not None and length is not None and length > limit:
            raise BodyTooLarge
        if plan.body_limit is not None:
            # Werkzeug checks too, when the view reads, and would hold the route to the config's limit.
            request.max_content_length = plan.body_limit
        if plan.is_async and plan.view_awaits and not plan.reads_body:
            request.incoming = Incoming(_Pieces(environ, length).next, BodyMeter(limit, length))
            request.stream = Unread()
        elif plan.is_async:
            # The request closes it: it may be a file.
            request.stream = request.buffered = _read(environ, limit, length)
        elif length is None and limit is not None and environ.get("wsgi.input_terminated"):
            # In chunks: how much there is shows when it is read. Werkzeug's own limit would cut the body off there.
            request.stream = io.BufferedReader(_Metered(environ["wsgi.input"], BodyMeter(limit)), _CHUNK)
    except HTTPException as error:
        return plan.failing(error)
    return plan


class _Metered(io.RawIOBase):
    """A body whose length nobody has told; reading more than the limit raises `BodyTooLarge`."""

    def __init__(self, source: Any, meter: BodyMeter) -> None:
        self.source = source
        self.meter = meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.source.read(len(buffer))
        self.meter.count(len(chunk))
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Pieces:
    """A body that an `async def` view awaits: read from the server's stream, in a thread."""

    def __init__(self, environ: Environ, length: int | None) -> None:
        self.source = environ["wsgi.input"]
        self.left = length
        #: Without a length or the server's word that the stream ends, nothing may be read (PEP 3333).
        self.is_over = length is None and not environ.get("wsgi.input_terminated")

    async def next(self) -> tuple[bytes, bool]:
        if self.is_over or self.left == 0:
            return b"", False
        piece: bytes = await pull(self.source.read, _CHUNK if self.left is None else min(_CHUNK, self.left))
        if self.left is not None:
            self.left -= len(piece)
        return piece, bool(piece) and self.left != 0


def _read(environ: Environ, limit: int | None, length: int | None) -> BinaryIO:
    """Read the body into memory or a file, and put it in the environ's place."""
    source = environ["wsgi.input"]
    buffer = BodyBuffer(limit, length)
    left = length
    while left is None or left > 0:
        chunk = source.read(_CHUNK if left is None else min(_CHUNK, left))
        if not chunk:
            break
        buffer.feed(chunk)
        if left is not None:
            left -= len(chunk)
    body = environ["wsgi.input"] = buffer.finish()
    environ["wsgi.input_terminated"] = True
    environ["CONTENT_LENGTH"] = str(buffer.size)
    return body


class _Pulled:
    """An async stream as a sync door reads it, an item at a time: the reader's pace is the stream's."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.stream = stream
        self.flow = aiter(stream)

    def __iter__(self) -> _Pulled:
        return self

    def __next__(self) -> bytes:
        try:
            return portal.call(self.following)
        except StopAsyncIteration:
            raise StopIteration from None

    async def following(self) -> bytes:
        return await anext(self.flow)

    def close(self) -> None:
        """Close the stream, also one that nobody has begun to read."""
        close = getattr(self.stream, "aclose", None)
        if close is not None:
            portal.call(close)
