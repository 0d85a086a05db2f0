"""Where two protocols meet: middleware of one door behind another, mounts, and the lifespan.

`app.wsgi_app = Middleware(app.wsgi_app)` is honoured behind ASGI, `app.asgi_app = …` behind WSGI. A request that has
passed such a wrapper is marked, so that it is not sent through it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

from ..pipeline import portal
from ..pipeline.offload import offload
from ..wire.asgi import Scope
from ..wire.body import BodyBuffer, BodyTooLarge
from ..wire.errors import MalformedPath
from ..wire.response import STATUS_LINES
from .emit import MOST_EVENTS, MOST_SPOOLED, is_event_stream
from .flow import ThreadedFlow
from .gone import ClientGone, disconnect, until_gone
from .heads import AsgiHead, RsgiHead, encoded, has_body, lowered, path_in_app
from .notice import Notice

_PASSED = "carboy.passed"

Environ = dict[str, Any]


# -- what goes elsewhere --------------------------------------------------------------------------


def detour_wsgi(app: Any, environ: Environ, start_response: Any) -> Iterable[bytes] | None:
    """Serve through a mount, or through ASGI middleware; None where the request stays here."""
    path = environ.get("PATH_INFO", "").encode("latin1", "replace").decode("utf-8", "replace")
    mount = app.mounts.find(environ.get("HTTP_HOST", ""), path) if app.mounts else None
    if mount is not None:
        inner = dict(environ)
        inner.pop(_PASSED, None)
        inner["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "").rstrip("/") + mount.prefix
        inner["PATH_INFO"] = environ.get("PATH_INFO", "")[len(mount.prefix.encode().decode("latin1")) :] or "/"
        if mount.is_wsgi:
            return mount.target(inner, start_response)  # type: ignore[no-any-return]  # a stranger's WSGI application
        return asgi_as_wsgi(mount.target, inner, start_response)
    if app.is_replaced("asgi_app") and _PASSED not in environ:
        return asgi_as_wsgi(app.asgi_app, environ, start_response, passed=True)
    return None


async def detour_asgi(app: Any, scope: Scope, receive: Any, send: Any) -> bool:
    """Serve through a mount, or through WSGI middleware; False where the request stays here."""
    if app.mounts:
        host = next((value.decode("latin1") for name, value in scope["headers"] if name == b"host"), "")
        try:
            path = path_in_app(scope)
        except MalformedPath:
            return False  # the app itself says so
        mount = app.mounts.find(host, path)
        if mount is not None:
            inner = dict(scope)
            inner.pop(_PASSED, None)
            root = scope.get("root_path", "") or ""
            inner["root_path"] = root + mount.prefix
            full = scope["path"]
            if not (root and full.startswith(root)):
                # ASGI: `path` holds the root path too.
                inner["path"] = root + full
            if mount.is_asgi:
                await mount.target(inner, receive, send)
            else:
                await wsgi_as_asgi(mount.target, inner, receive, send, app.body_limit_unplanned())
            return True
    entrance = _wsgi_entrance(app)
    if entrance is not None and _PASSED not in scope:
        await wsgi_as_asgi(entrance, scope, receive, send, app.body_limit_unplanned(), passed=True)
        return True
    return False


def _wsgi_entrance(app: Any) -> Any:
    """Where WSGI requests come in, if a guest has put something there: around the app's call, or around `wsgi_app`."""
    if app.is_replaced("__call__") and not is_called_as_asgi(type(app)):
        return app
    return app.wsgi_app if app.is_replaced("wsgi_app") else None


def is_called_as_asgi(kind: type[Any]) -> bool:
    """Whether an app of this class may be called with `(scope, receive, send)`.

    A tracer may put a plain WSGI callable in the place of `__call__`; then `asgi_app` is the way in.
    """
    return _takes_three(kind.__call__)


@functools.lru_cache(64)
def _takes_three(call: Any) -> bool:
    try:
        inspect.signature(call).bind(None, None, None, None)
    except TypeError:
        return False
    return True


async def detour_rsgi(app: Any, scope: Any, protocol: Any) -> bool:
    """Serve through a mount or through middleware of another door; False where the request stays here."""
    takes_it = app.mounts.find(scope.headers.get("host") or scope.authority or "", scope.path) if app.mounts else None
    if takes_it is None and _wsgi_entrance(app) is None and not app.is_replaced("asgi_app"):
        return False
    await asgi_as_rsgi(app.asgi_app, scope, protocol)
    return True


# -- WSGI behind ASGI -----------------------------------------------------------------------------


async def wsgi_as_asgi(target: Any, scope: Scope, receive: Any, send: Any, limit: int | None, *, passed: bool = False) -> None:
    """Run a WSGI application for an ASGI request: in a thread; a stream's steps in the threads of streams, until its client goes."""
    try:
        head = AsgiHead(scope, path_in_app(scope))
    except MalformedPath:
        await _plain(send, 400, b"The path of the URL is malformed.\n")
        return
    buffer = BodyBuffer(limit)
    if has_body(scope):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            try:
                buffer.feed(message.get("body", b""))
            except BodyTooLarge:
                await _plain(send, 413, b"The request body is larger than the server allows.\n")
                return
            if not message.get("more_body", False):
                break
    head.body = buffer.finish()
    environ = head.environ()
    environ["CONTENT_LENGTH"] = str(buffer.size)
    if passed:
        environ[_PASSED] = True
    loop = asyncio.get_running_loop()
    start: dict[str, Any] = {}

    async def begin() -> None:
        if not start.get("sent"):
            start["sent"] = True
            await send({"type": "http.response.start", "status": start["status"], "headers": start["headers"]})

    async def push(chunk: bytes) -> None:
        await begin()
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info and start.get("sent"):
            raise exc_info[1].with_traceback(exc_info[2])
        start.update(status=int(status.split(" ", 1)[0]), headers=encoded(headers))
        return lambda chunk: asyncio.run_coroutine_threadsafe(push(chunk), loop).result()

    def follow() -> Any:
        body = target(environ, start_response)
        # Made here: its steps see the context variables as the application has left them.
        return body if type(body) in (list, tuple) else ThreadedFlow(body)

    async def deliver(flow: ThreadedFlow) -> None:
        async for chunk in flow:
            if chunk:
                await push(chunk)
        await begin()
        await send({"type": "http.response.body", "body": b""})

    try:
        body = await offload(follow)
        if type(body) is ThreadedFlow:
            try:
                await until_gone(deliver(body), disconnect, receive)
            except ClientGone:
                pass  # closing the application's iterable is all that is left to do
            finally:
                await body.aclose()
        else:
            await begin()
            await send({"type": "http.response.body", "body": b"".join(body)})
    finally:
        head.body.close()


async def _plain(send: Any, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def emit_wsgi_response(response: Any, request: Any, send: Any) -> None:
    """Send a response whose class writes itself in WSGI's way."""
    status, headers, whole = await whole_wsgi_response(response, request)
    await send({"type": "http.response.start", "status": status, "headers": encoded(headers)})
    await send({"type": "http.response.body", "body": whole})


async def whole_wsgi_response(response: Any, request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """Run a response as the WSGI application it is, in a thread, and collect what it gives."""

    def collect() -> tuple[int, list[tuple[str, str]], bytes]:
        got: list[Any] = []
        written: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            got[:] = [int(status.split(" ", 1)[0]), headers]
            return written.append

        body = response(request.environ, start_response)
        try:
            written.extend(body)
        finally:
            closer = getattr(body, "close", None)
            if closer is not None:
                closer()
        return got[0], got[1], b"".join(written)

    return await offload(collect)


# -- ASGI behind WSGI -----------------------------------------------------------------------------


def asgi_as_wsgi(target: Any, environ: Environ, start_response: Any, *, passed: bool = False) -> Iterator[bytes]:
    """Run an ASGI application for a WSGI request: on the portal's loop, its answer given as it comes."""
    scope = scope_of(environ)
    if passed:
        scope[_PASSED] = True
    exchange = portal.call(_Exchange.begin, target, scope, environ["wsgi.input"], environ)
    message = portal.call(exchange.next)
    if message is None:
        raise RuntimeError(f"the ASGI application {target!r} ended without an answer")
    headers = [(name.decode("latin1"), value.decode("latin1")) for name, value in message.get("headers", ())]
    start_response(f"{message['status']} {_phrase(message['status'])}", headers)

    def chunks() -> Iterator[bytes]:
        try:
            while (message := portal.call(exchange.next)) is not None:
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body", False):
                    return
        finally:
            portal.call(exchange.end)

    return chunks()


class _Exchange:
    """One request to an ASGI application from sync code."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue(4)
        self.gone = asyncio.Event()
        self.task: asyncio.Task[Any] | None = None
        self.error: BaseException | None = None

    @classmethod
    async def begin(cls, target: Any, scope: Scope, source: Any, environ: Environ) -> _Exchange:
        exchange = cls()
        length = environ.get("CONTENT_LENGTH")
        left = int(length) if length and length.isdecimal() else None
        ended = left is None and not environ.get("wsgi.input_terminated")

        async def receive() -> dict[str, Any]:
            nonlocal left, ended
            if ended or left == 0:
                if ended:
                    await exchange.gone.wait()
                    return {"type": "http.disconnect"}
                ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            chunk = await offload(source.read, 64 * 1024 if left is None else min(left, 64 * 1024))
            if left is not None:
                left -= len(chunk)
            ended = not chunk or left == 0
            return {"type": "http.request", "body": chunk, "more_body": not ended}

        first = True

        async def receive_first() -> dict[str, Any]:
            nonlocal first
            if first and ended:
                first = False
                return {"type": "http.request", "body": b"", "more_body": False}
            first = False
            return await receive()

        async def follow() -> None:
            try:
                await target(scope, receive_first, exchange.sent.put)
            except Exception as error:
                exchange.error = error
            finally:
                await exchange.sent.put(None)

        exchange.task = asyncio.get_running_loop().create_task(follow())
        return exchange

    async def next(self) -> dict[str, Any] | None:
        message: dict[str, Any] | None = await self.sent.get()
        if message is None and self.error is not None:
            raise self.error
        return message

    async def end(self) -> None:
        self.gone.set()
        if self.task is not None and not self.task.done():
            while not self.sent.empty():
                self.sent.get_nowait()
            done, _ = await asyncio.wait({self.task}, timeout=1)
            if not done:
                self.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self.task


def scope_of(environ: Environ) -> Scope:
    """An ASGI scope of a WSGI environ."""
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin1"), str(value).encode("latin1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers.append((name.replace("_", "-").lower().encode(), str(environ[name]).encode("latin1")))
    root = environ.get("SCRIPT_NAME", "").encode("latin1").decode("utf-8", "replace")
    path = environ.get("PATH_INFO", "").encode("latin1").decode("utf-8", "replace")
    port = environ.get("SERVER_PORT") or "80"
    client = environ.get("REMOTE_ADDR")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": root + path,
        "raw_path": None,
        "query_string": environ.get("QUERY_STRING", "").encode("latin1"),
        "root_path": root,
        "headers": headers,
        "server": (environ.get("SERVER_NAME", ""), int(port) if port.isdecimal() else None),
        "client": (client, int(environ.get("REMOTE_PORT") or 0)) if client else None,
        "extensions": {},
        "wsgi.environ": environ,
    }


def _phrase(status: int) -> str:
    return (STATUS_LINES.get(status) or "0 Unknown").partition(" ")[2]


# -- ASGI behind RSGI -----------------------------------------------------------------------------


async def asgi_as_rsgi(target: Any, scope: Any, protocol: Any) -> None:
    """Run an ASGI application for an RSGI request; its answer is collected, then sent whole; events are sent as they come."""
    head = RsgiHead(scope, scope.path)
    inner: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": scope.http_version,
        "method": scope.method,
        "scheme": scope.scheme,
        "path": scope.path,
        "raw_path": None,
        "query_string": head.query_string(),
        "root_path": "",
        "headers": [(name.encode("latin1"), value.encode("latin1")) for name, value in head.header_pairs()],
        "server": head.server(),
        "client": (head.remote_addr() or "", 0),
        "extensions": {},
    }
    chunks = protocol.__aiter__()
    ended = False

    #: The application has sent as much as it may: it is told that its client has gone.
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal ended
        if ended:
            await _first(_awaited(protocol.client_disconnect), over.wait())
            return {"type": "http.disconnect"}
        try:
            return {"type": "http.request", "body": await chunks.__anext__(), "more_body": True}
        except StopAsyncIteration:
            ended = True
            return {"type": "http.request", "body": b"", "more_body": False}

    start: dict[str, Any] = {}
    headers: list[tuple[str, str]] = []
    parts: list[bytes] = []
    transport: Any = None  # granian's, of a stream of events
    size = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal transport, size
        if message["type"] == "http.response.start":
            start.update(message)
            headers[:] = lowered([(name.decode("latin1"), value.decode("latin1")) for name, value in message["headers"]])
            if is_event_stream(headers):
                transport = protocol.response_stream(message["status"], headers)
            return
        piece = message.get("body", b"")
        if over.is_set():
            return
        size += len(piece)
        if transport is not None:
            if piece:
                await transport.send_bytes(piece)
            if size >= MOST_EVENTS and piece.endswith(b"\n\n"):
                over.set()
            return
        parts.append(piece)
        if size > MOST_SPOOLED:
            parts.clear()
            over.set()

    await target(inner, receive, send)
    if transport is not None:
        return
    if over.is_set():
        logging.getLogger(__name__).error(
            "%s %s: a stream of more than %d bytes cannot be collected; serve it with --interface asgi", scope.method, scope.path, MOST_SPOOLED
        )
        protocol.response_empty(500, [])
        return
    protocol.response_bytes(start["status"], headers, b"".join(parts))


async def _awaited(function: Callable[[], Awaitable[Any]]) -> None:
    # A server may give any awaitable; a task is made of a coroutine only.
    await function()


async def _first(*journeys: Coroutine[Any, Any, Any]) -> None:
    """Wait for one of several; the others are cancelled."""
    tasks = {asyncio.get_running_loop().create_task(journey) for journey in journeys}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


# -- lifespan -------------------------------------------------------------------------------------


async def serve_lifespan(app: Any, scope: Scope, receive: Any, send: Any) -> None:
    """Start the app and its mounts when the server starts, stop them when it stops."""
    await receive()
    app.lifespan_state.told = scope.get("state") or {}
    try:
        await app.startup()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
        return
    notice = Notice(app.lifespan_state.leaving.set)
    if not app.lifespan_state.has_notice:
        notice.begin()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    notice.end()
    try:
        await app.shutdown()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        await send({"type": "lifespan.shutdown.failed", "message": f"{type(error).__name__}: {error}"})
        return
    await send({"type": "lifespan.shutdown.complete"})


class MountedLifespan:
    """The lifespan of a mounted ASGI application, run by ours.

    Args:
        target: the application.
        told: what the server has put into our own lifespan's state; the mounted application is told the same.
    """

    def __init__(self, target: Callable[..., Awaitable[None]], told: Mapping[str, Any]) -> None:
        self.target = target
        self.told = told
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_app: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
        self.is_supported = True

    async def __aenter__(self) -> MountedLifespan:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": dict(self.told)}

        async def follow() -> None:
            try:
                await self.target(scope, self.to_app.get, self.from_app.put)
            except Exception:  # ASGI: an application without a lifespan raises, and is served all the same
                self.is_supported = False
            finally:
                await self.from_app.put(None)

        self.task = asyncio.get_running_loop().create_task(follow())
        await self.to_app.put({"type": "lifespan.startup"})
        answer = await self.from_app.get()
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the mounted application {self.target!r} failed to start: {answer.get('message', '')}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.task is None or self.task.done():
            return
        await self.to_app.put({"type": "lifespan.shutdown"})
        answer = await self.from_app.get()
        await self.task
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(f"the mounted application {self.target!r} failed to stop: {answer.get('message', '')}")


