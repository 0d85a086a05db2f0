"""The watchers: callables around an application, one for each door, that see each request first and last.

What they add to a request that is neither logged nor traced is a record, two calls and five counters. Pages of our own
are answered here, before limits and before the application, and are neither counted nor logged: probes are no traffic.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from ..wire.asgi import ASGIApp, Receive, Scope, Send
from .log import AccessLog, Noted
from .memory import SHED
from .observer import CLIENT_LEFT, Observer
from .record import Record, current
from .sockets import watch_socket
from .trace import carrier_of, trace_id_of

# WSGI and RSGI values are a stranger's.
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
RSGIApp = Callable[[Any, Any], Awaitable[None]]

_now = time.perf_counter_ns


# -- ASGI -----------------------------------------------------------------------------------------


def watch_asgi(app: ASGIApp, observer: Observer) -> ASGIApp:
    """Put an observer around an ASGI application."""
    pages = observer.pages

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http":
            if kind == "lifespan":
                await _lifespan(app, observer, scope, receive, send)
            elif kind == "websocket":
                if not observer.is_started:
                    observer.ready(asyncio.get_running_loop())
                record = Record(_now())
                current.set(record)
                await watch_socket(app, observer, record, False, scope, receive, send)
            else:
                await app(scope, receive, send)
            return
        method: str = scope["method"]
        if pages and scope["path"] in pages and method in ("GET", "HEAD"):
            await _page_asgi(pages[scope["path"]], method, send)
            return
        if not observer.is_started:
            # A server without a lifespan, or one that forks: the first request begins.
            observer.ready(asyncio.get_running_loop())
        record = Record(_now())
        current.set(record)
        slot = observer.slot
        if slot is not None:
            slot.words[slot.begun] += 1
        tracer = observer.tracer
        token = None
        if tracer is not None:
            token = tracer.begin(record, method, scope["path"], scope.get("scheme", "http"), carrier_of(scope["headers"]))

        def sending(event: Any) -> Awaitable[None]:
            what = event["type"]
            if what == "http.response.body":
                record.size += len(event.get("body", b""))
                record.is_aborted = event.get("more_body", False)
            elif what == "http.response.start":
                record.status = event["status"]
                record.headers = event.get("headers", ())
                record.is_aborted = True
            elif what == "http.response.pathsend":
                record.size += _length(record.headers)
                record.is_aborted = False
            return send(event)

        error: BaseException | None = None
        try:
            await app(scope, receive, sending)
        except BaseException as exc:
            error = exc
            raise
        finally:
            if not record.status:
                record.status = 500 if isinstance(error, Exception) else CLIENT_LEFT
            now = _now()
            if slot is not None:
                slot.count(method, record.rule, record.status, now - record.began, record.size)
                if record.status == 503 and record.rule is None and any(name == b"retry-after" for name, _ in record.headers):
                    # No application has seen it: refused at the door.
                    slot.add(SHED)
            lines = observer.log
            if tracer is not None:
                tracer.end(record, token, method, _client(scope), error)
            if lines is not None and lines.wants(record.status):
                _note_asgi(lines, record, method, scope, now)

    return watched


def watch_sockets(app: ASGIApp, observer: Observer) -> ASGIApp:
    """Put an observer around an application where the server has made a WebSocket of a request that is watched already."""

    # PERF: not a coroutine of its own; it would stand, with 0.4 KB, for as long as the socket is open.
    def watched(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # The handshake's: this runs in a task that was made while it is served.
        record = current.get(None)
        return watch_socket(app, observer, record or Record(_now()), record is not None, scope, receive, send)

    return watched


#: Headers that a line of the log has. The server has given the request an id, and taken away what a client calls one.
_LOGGED = frozenset({b"user-agent", b"x-request-id", b"traceparent"})


def _note_asgi(lines: AccessLog, record: Record, method: str, scope: Scope, now: int) -> None:
    agent = traceparent = request_id = None
    for name, value in scope["headers"]:
        if name in _LOGGED:
            if name == b"user-agent":
                agent = value
            elif name == b"x-request-id":
                request_id = value
            else:
                traceparent = value
    # As it stood on the wire, so percent signs still hide what could break a line.
    path = scope.get("raw_path") or scope["path"]
    if isinstance(path, bytes) and b"?" in path:
        path = path.partition(b"?")[0]
    # PERF: a bare tuple; `Noted(...)` costs 0.2 µs more.
    lines.pending.append(
        (  # type: ignore[arg-type]  # a Noted by its fields
            record.began,
            now - record.began,
            method,
            path,
            record.rule,
            record.status,
            record.size,
            _client(scope),
            agent,
            request_id,
            trace_id_of(record, traceparent) if traceparent is not None or record.span is not None else None,
            record.is_aborted,
        )
    )


def _client(scope: Scope) -> str | None:
    # Behind a trusted proxy the server has put the client's own address here.
    client = scope.get("client")
    return client[0] if client else None


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _page_asgi(page: Any, method: str, send: Send) -> None:
    # Not in a thread for views: those may all be busy, which is when one wants to know.
    status, headers, body = await asyncio.get_running_loop().run_in_executor(None, page)
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": [*pairs, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


async def _lifespan(app: ASGIApp, observer: Observer, scope: Scope, receive: Receive, send: Send) -> None:
    async def sending(event: Any) -> None:
        if event["type"] == "lifespan.startup.complete":
            observer.ready(asyncio.get_running_loop())
        elif event["type"] == "lifespan.shutdown.complete":
            observer.stop()
        await send(event)

    await app(scope, receive, sending)


def _noted(
    record: Record, method: str, path: str, client: str | None, agent: str | None, request_id: str | None, traceparent: str | None
) -> Noted:
    return Noted(
        record.began,
        _now() - record.began,
        method,
        path,
        record.rule,
        record.status,
        record.size,
        client,
        agent,
        request_id,
        trace_id_of(record, traceparent),
        record.is_aborted,
    )


# -- WSGI -----------------------------------------------------------------------------------------


def watch_wsgi(app: WSGIApp, observer: Observer) -> WSGIApp:
    """Put an observer around a WSGI application."""
    pages = observer.pages

    def watched(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method: str = environ["REQUEST_METHOD"]
        if pages and environ.get("PATH_INFO", "") in pages and method in ("GET", "HEAD"):
            return _page_wsgi(pages[environ["PATH_INFO"]], method, start_response)
        if not observer.is_started:
            observer.ready(None)
        return WSGIVisit(observer, method, environ).serve(app, start_response)

    return watched


class WSGIVisit:
    """One request behind a WSGI door: begins with the call, ends when its body is closed."""

    def __init__(self, observer: Observer, method: str, environ: dict[str, Any]) -> None:
        self.observer = observer
        self.method = method
        self.environ = environ
        self.record = Record(_now())
        self.body: Iterable[bytes] = ()
        self.token: object = None
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.is_over = False

    def serve(self, app: WSGIApp, start_response: Callable[..., Any]) -> Iterable[bytes]:
        observer, record = self.observer, self.record
        current.set(record)
        if observer.slot is not None:
            # Many threads write here.
            with observer.slot.counting:
                observer.slot.begin()
        if observer.tracer is not None:
            carrier = {key[5:].replace("_", "-").lower(): value for key, value in self.environ.items() if key.startswith("HTTP_")}
            self.token = observer.tracer.begin(
                record, self.method, self.environ.get("PATH_INFO", ""), self.environ.get("wsgi.url_scheme", "http"), carrier
            )

        def starting(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            record.status = int(status[:3])
            record.headers = headers
            return start_response(status, headers, *rest)

        try:
            body = app(self.environ, starting)
        except BaseException as error:
            record.status = 500
            self.error = error
            self.end()
            raise
        if type(body) in (list, tuple):
            record.size = sum(len(each) for each in body)
            self.end()
            return body
        record.is_aborted = True
        self.body = body
        return self

    def __iter__(self) -> Iterator[bytes]:
        record = self.record
        for chunk in self.body:
            record.size += len(chunk)
            yield chunk
        record.is_aborted = False

    def close(self) -> None:
        try:
            close = getattr(self.body, "close", None)
            if close is not None:
                close()
        finally:
            self.end()

    def end(self) -> None:
        with self.lock:
            if self.is_over:
                return
            self.is_over = True
        observer, record, environ, method = self.observer, self.record, self.environ, self.method
        if not record.status:
            record.status = 500
        slot = observer.slot
        if slot is not None:
            if (method, record.rule) not in slot.known:
                slot.place(method, record.rule)
            with slot.counting:
                slot.count(method, record.rule, record.status, _now() - record.began, record.size)
        client = environ.get("REMOTE_ADDR") or None
        if observer.tracer is not None:
            observer.tracer.end(record, self.token, method, client, self.error)
        lines = observer.log
        if lines is not None and lines.wants(record.status):
            request_id = environ.get("HTTP_X_REQUEST_ID")
            path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            lines.pending.append(
                _noted(record, method, path, client, environ.get("HTTP_USER_AGENT"), request_id, environ.get("HTTP_TRACEPARENT"))
            )


def _page_wsgi(page: Any, method: str, start_response: Callable[..., Any]) -> list[bytes]:
    status, headers, body = page()
    start_response(f"{status} {'OK' if status == 200 else 'Service Unavailable'}", [*headers, ("content-length", str(len(body)))])
    return [] if method == "HEAD" else [body]


# -- RSGI -----------------------------------------------------------------------------------------


def watch_rsgi(app: RSGIApp, observer: Observer) -> RSGIApp:
    """Put an observer around an RSGI application (its `__rsgi__`)."""
    pages = observer.pages

    async def watched(scope: Any, protocol: Any) -> None:
        if scope.proto != "http":
            await app(scope, protocol)
            return
        method: str = scope.method
        if pages and scope.path in pages and method in ("GET", "HEAD"):
            page = pages[scope.path]
            status, headers, body = await asyncio.get_running_loop().run_in_executor(None, page)
            protocol.response_bytes(status, [*headers, ("content-length", str(len(body)))], b"" if method == "HEAD" else body)
            return
        if not observer.is_started:
            observer.ready(asyncio.get_running_loop())
        record = Record(_now())
        current.set(record)
        slot = observer.slot
        if slot is not None:
            slot.begin()
        tracer = observer.tracer
        token = None
        if tracer is not None:
            token = tracer.begin(record, method, scope.path, scope.scheme, dict(scope.headers.items()))
        error: BaseException | None = None
        try:
            await app(scope, WatchedProtocol(protocol, record))
        except BaseException as exc:
            error = exc
            raise
        finally:
            if not record.status:
                record.status = 500 if isinstance(error, Exception) else CLIENT_LEFT
            if slot is not None:
                slot.count(method, record.rule, record.status, _now() - record.began, record.size)
            client = scope.client.rpartition(":")[0].strip("[]")
            if tracer is not None:
                tracer.end(record, token, method, client, error)
            lines = observer.log
            if lines is not None and lines.wants(record.status):
                header = scope.headers.get
                lines.pending.append(
                    _noted(record, method, scope.path, client, header("user-agent"), header("x-request-id"), header("traceparent"))
                )

    return watched


class WatchedProtocol:
    """An RSGI protocol that notes what is answered; granian writes, so sizes are those handed over."""

    def __init__(self, inner: Any, record: Record) -> None:
        self.inner = inner
        self.record = record

    def __call__(self) -> Any:
        return self.inner()

    def __aiter__(self) -> Any:
        return self.inner.__aiter__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _note(self, status: int, headers: Any, size: int) -> None:
        record = self.record
        record.status, record.headers, record.size = status, headers, size

    def response_empty(self, status: int, headers: Any) -> Any:
        self._note(status, headers, 0)
        return self.inner.response_empty(status, headers)

    def response_str(self, status: int, headers: Any, body: str) -> Any:
        self._note(status, headers, len(body.encode()))
        return self.inner.response_str(status, headers, body)

    def response_bytes(self, status: int, headers: Any, body: bytes) -> Any:
        self._note(status, headers, len(body))
        return self.inner.response_bytes(status, headers, body)

    def response_file(self, status: int, headers: Any, file: str) -> Any:
        self._note(status, headers, next((int(value) for name, value in headers if name.lower() == "content-length" and value.isdigit()), 0))
        return self.inner.response_file(status, headers, file)

    def response_file_range(self, status: int, headers: Any, file: str, start: int, end: int) -> Any:
        self._note(status, headers, max(0, end - start))
        return self.inner.response_file_range(status, headers, file, start, end)

    def response_stream(self, status: int, headers: Any) -> Any:
        self._note(status, headers, 0)
        self.record.is_aborted = True
        return WatchedTransport(self.inner.response_stream(status, headers), self.record)


class WatchedTransport:
    """An RSGI stream that counts its bytes. What has been handed over counts as sent: the door tells no more."""

    def __init__(self, inner: Any, record: Record) -> None:
        self.inner = inner
        self.record = record

    def send_bytes(self, data: bytes) -> Any:
        self.record.size += len(data)
        self.record.is_aborted = False
        return self.inner.send_bytes(data)

    def send_str(self, data: str) -> Any:
        self.record.size += len(data.encode())
        self.record.is_aborted = False
        return self.inner.send_str(data)
