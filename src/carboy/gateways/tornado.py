"""A Tornado application as an ASGI application, so that its handlers can be mounted beside Carboy's views.

It is driven through Tornado's own documented seam, `tornado.httputil`: a message delegate takes the request, an
`HTTPConnection` gives the answer. Tornado is not imported here: who mounts an application of it has done so.
WebSocket handlers are refused: they take the connection's byte stream over, which no ASGI server gives away.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ..wire.asgi import Scope
from ..wire.close_codes import NORMAL
from .heads import path_in_app

#: Most bytes of a body, unless a handler says otherwise (`set_max_body_size`); the default of Tornado's own server.
MAX_BODY = 100 * 1024 * 1024
#: What the server says by itself.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


def adapted(target: Any) -> TornadoApplication | None:
    """The application as ASGI, if it is one of Tornado's."""
    web = sys.modules.get("tornado.web")
    return TornadoApplication(target) if web is not None and isinstance(target, web.Application) else None


class TornadoApplication:
    """Callable as ASGI; sees paths below its mount.

    A Tornado handler runs on the event loop, `async def` or not, as it does under Tornado itself.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "http":
            await Exchange(scope, receive, send).follow(self.application)
        elif kind == "websocket":
            if (await receive())["type"] == "websocket.connect":
                await send({"type": "websocket.close", "code": NORMAL})

    def __repr__(self) -> str:
        return f"<Tornado's {self.application!r}>"


class Context:
    """What Tornado asks of a connection about its peer: `request.remote_ip`, `request.protocol`."""

    def __init__(self, scope: Scope) -> None:
        client = scope.get("client") or ("", 0)
        self.remote_ip: str = client[0]
        self.address = tuple(client)
        self.protocol: str = scope.get("scheme", "http")


class Exchange:
    """One request: an `HTTPConnection` to Tornado, an ASGI application to the server."""

    def __init__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.context = Context(scope)
        self.loop = asyncio.get_running_loop()
        #: What is to be sent, with the future that says when it is; None after the last.
        self.sending: asyncio.Queue[tuple[dict[str, Any], asyncio.Future[None]] | None] = asyncio.Queue()
        self.max_body = MAX_BODY
        self.has_begun = False
        self.is_closed = False
        self.close_callback: Callable[[], Any] | None = None

    # -- Tornado's side -------------------------------------------------------------------------------

    def write_headers(self, start_line: Any, headers: Any, chunk: bytes | None = None) -> asyncio.Future[None]:
        self.has_begun = True
        pairs = [
            (name.lower().encode("latin1"), value.encode("latin1")) for name, value in headers.get_all() if name.lower() not in _HOP_BY_HOP
        ]
        done = self.put({"type": "http.response.start", "status": start_line.code, "headers": pairs})
        return self.write(chunk) if chunk else done

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self.put({"type": "http.response.body", "body": bytes(chunk), "more_body": True})

    def finish(self) -> None:
        self.put({"type": "http.response.body", "body": b"", "more_body": False})
        self.sending.put_nowait(None)

    def set_close_callback(self, callback: Callable[[], Any] | None) -> None:
        self.close_callback = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        self.max_body = max_body_size

    def put(self, message: dict[str, Any]) -> asyncio.Future[None]:
        """Queue a message; the future is done when the server has taken it."""
        done = self.loop.create_future()
        if self.is_closed:
            done.set_exception(self.closed_error())
            done.exception()  # a handler need not ask
        else:
            self.sending.put_nowait((message, done))
        return done

    @staticmethod
    def closed_error() -> Exception:
        error: Exception = sys.modules["tornado.iostream"].StreamClosedError()
        return error

    # -- ASGI's side ----------------------------------------------------------------------------------

    async def follow(self, application: Any) -> None:
        """Serve the request: give it to Tornado piece by piece, and send what comes."""
        httputil: Any = sys.modules["tornado.httputil"]
        headers = httputil.HTTPHeaders()
        cookies = []
        for name, value in self.scope["headers"]:
            if name == b"cookie":
                cookies.append(value.decode("latin1"))
            else:
                headers.add(name.decode("latin1"), value.decode("latin1"))
        if cookies:
            # RFC 9113 §8.2.3: HTTP/2 may split the field; Tornado would join it with commas.
            headers["Cookie"] = "; ".join(cookies)
        delegate = application.start_request(self, self)
        feeding = self.loop.create_task(self.feed(delegate, httputil.RequestStartLine(self.scope["method"], uri_of(self.scope), "HTTP/1.1"), headers))
        feeding.add_done_callback(self.fed)
        try:
            while (item := await self.sending.get()) is not None:
                message, done = item
                await self.send(message)
                if not done.done():
                    done.set_result(None)
        finally:
            self.close()
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding

    async def feed(self, delegate: Any, start_line: Any, headers: Any) -> None:
        """Give Tornado the head and the body, then wait for the client to go."""
        httputil: Any = sys.modules["tornado.httputil"]
        try:
            await _maybe(delegate.headers_received(start_line, headers))
            size = 0
            while True:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    break
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > self.max_body:
                    self.refuse(413, b"The request body is too large.\n")
                    break
                if chunk:
                    await _maybe(delegate.data_received(chunk))
                if not message.get("more_body", False):
                    delegate.finish()
                    while (await self.receive())["type"] != "http.disconnect":  # noqa: ASYNC110
                        await asyncio.sleep(0)  # a server may hand out empty pieces after the last
                    break
        except httputil.HTTPInputError:
            self.refuse(400, b"The request is malformed.\n")
            return
        self.is_closed = True
        delegate.on_connection_close()
        callback, self.close_callback = self.close_callback, None
        if callback is not None:
            callback()
        self.sending.put_nowait(None)

    def fed(self, feeding: asyncio.Task[None]) -> None:
        """An error of the application's router or body reader leaves nobody waiting for an answer."""
        if not feeding.cancelled() and feeding.exception() is not None:
            self.sending.put_nowait(None)

    def refuse(self, status: int, text: bytes) -> None:
        """Answer in Tornado's place, unless it has begun to."""
        if not self.has_begun:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
            self.put({"type": "http.response.start", "status": status, "headers": headers})
            self.put({"type": "http.response.body", "body": text, "more_body": False})
        self.sending.put_nowait(None)

    def close(self) -> None:
        """Nothing is sent any more: who waits for it is told."""
        self.is_closed = True
        while not self.sending.empty():
            item = self.sending.get_nowait()
            if item is not None and not item[1].done():
                item[1].set_exception(self.closed_error())
                item[1].exception()  # a handler need not ask


async def _maybe(result: Any) -> None:
    if result is not None:
        await result


def uri_of(scope: Scope) -> str:
    """Path below the mount, as it was sent, and query: what Tornado routes by."""
    raw = scope.get("raw_path")
    root = quote(scope.get("root_path") or "")
    path = raw.decode("latin1").partition("?")[0] if raw else ""
    path = path[len(root) :] if path.startswith(root) and path else quote(path_in_app(scope))
    query = scope.get("query_string", b"").decode("latin1")
    return (path or "/") + (f"?{query}" if query else "")
