"""WebSockets without a server: the client's end of one, for tests of either colour.

`AsyncSocketSession` plays the server of ASGI's `websocket` scopes around an application and speaks as the client. The
one for sync tests has the same verbs, made of these, run on the loop thread of the other doors.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from ..gateways.bridge import is_called_as_asgi
from ..gateways.socket import WebSocketDisconnect
from ..wire.close_codes import NO_CODE, NORMAL
from . import crossing
from .crossing import DoorViolation, Environ, status_line, taken_apart
from .exchange import GRACE
from .subject import Subject

T = TypeVar("T")
P = ParamSpec("P")

#: Messages that a test has not received; an application that sends more has to wait, as with a peer that does not read.
MESSAGES_IN_FLIGHT = 32
#: Seconds that a test waits for a message, or for the answer to its handshake.
PATIENCE = 5.0


class WebSocketRefused(Exception):
    """The application refused the handshake.

    Attributes:
        response: its answer: status, headers, body.
    """

    def __init__(self, response: TestResponse) -> None:
        super().__init__(f"the WebSocket handshake was refused: {response.status}")
        self.response = response


class AsyncSocketSession:
    """The client's end of one WebSocket, in an async test.

    Example::

        async with client.websocket("/chat/7") as ws:
            await ws.send("hello")
            assert await ws.receive() == "7: hello"

    Attributes:
        headers: that came with the accept.
        subprotocol: that the application chose.
        close_code: of the application's close, or of ours; None while it is open.
        close_reason: the text with it.
    """

    def __init__(
        self,
        app: Subject,
        environ: Environ,
        subprotocols: Iterable[str],
        keep: Callable[[Headers], None],
        answer: Callable[[list[bytes], str, Headers], TestResponse],
        state: dict[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.environ = environ
        self.offered = list(subprotocols)
        self.keep = keep
        self.answer = answer
        self.state = dict(state or {})
        self.headers = Headers()
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self._status = 0
        self._body: list[bytes] = []
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: deque[str | bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._is_open = False
        self._error_was_told = False
        self._task: asyncio.Task[None] | None = None

    # -- as the server ------------------------------------------------------------------------------

    def scope(self) -> dict[str, Any]:
        """Give the scope of the handshake."""
        request = taken_apart(self.environ)
        headers = [pair for pair in request.headers if pair[0] not in (b"content-length", b"content-type")]
        headers += [
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        if self.offered:
            headers.append((b"sec-websocket-protocol", ", ".join(self.offered).encode("latin1")))
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version,
            "scheme": "wss" if request.scheme == "https" else "ws",
            "path": request.path,
            "raw_path": request.target,
            "query_string": request.query,
            "root_path": request.root_path,
            "headers": headers,
            "server": request.server,
            "client": request.client,
            "subprotocols": self.offered,
            "state": self.state,
            "extensions": {"websocket.http.response": {}},
        }

    async def _journey(self) -> None:
        called: Any = self.app if is_called_as_asgi(type(self.app)) else self.app.asgi_app  # type: ignore[attr-defined]  # a guest's call is in its place
        try:
            await called(self.scope(), self._to_app.get, self._take)
        finally:
            self._is_open = False
            # After this task: who waits asks whether it is done.
            asyncio.get_running_loop().call_soon(self._news.set)

    async def _take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "websocket.send":
            await self._take_message(event)
        elif kind == "websocket.accept":
            self._take_accept(event)
        elif kind == "websocket.close":
            self._take_close(event)
        elif kind == "websocket.http.response.start":
            self._status = event["status"]
            self.headers = Headers([(name.decode("latin1"), value.decode("latin1")) for name, value in event["headers"]])
        elif kind == "websocket.http.response.body":
            self._body.append(event.get("body", b""))
        else:
            raise DoorViolation(f"no such message on a WebSocket: {kind!r}")
        self._news.set()

    async def _take_message(self, event: dict[str, Any]) -> None:
        text, data = event.get("text"), event.get("bytes")
        if (text is None) == (data is None):
            raise DoorViolation("a message is either text or bytes")
        while self._is_open and len(self._from_app) >= MESSAGES_IN_FLIGHT:
            self._room.clear()
            await self._room.wait()
        if not self._is_open:
            raise OSError("the WebSocket is closed")
        self._from_app.append(text if text is not None else data)  # type: ignore[arg-type]  # one of them is there

    def _take_accept(self, event: dict[str, Any]) -> None:
        if self._status:
            raise DoorViolation("the handshake is answered twice")
        chosen = event.get("subprotocol")
        if chosen is not None and chosen not in self.offered:
            raise DoorViolation(f"the subprotocol {chosen!r} was not offered; a client would hang up")
        self._status = 101
        self._is_open = True
        self.subprotocol = chosen
        self.headers = Headers([(name.decode("latin1"), value.decode("latin1")) for name, value in event.get("headers", ())])

    def _take_close(self, event: dict[str, Any]) -> None:
        if not self._status:
            self._status = 403
            return
        if not self._is_open:
            raise OSError("the WebSocket is closed")
        self._end(event.get("code", NORMAL), event.get("reason") or "")

    def _end(self, code: int, reason: str) -> None:
        self._is_open = False
        self.close_code, self.close_reason = code, reason
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._room.set()

    # -- as the client ------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Make the handshake; `with` does it.

        Raises:
            WebSocketRefused: the application does not want it.
        """
        self._to_app.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._journey())
        async with asyncio.timeout(PATIENCE):
            while not self._status and not self._task.done():
                await self._next_news()
            if self._status != 101:
                await asyncio.wait({self._task})
        if self._task.done() and self._task.exception() is not None:
            await self._task
        if not self._status:
            raise DoorViolation("the application returned without an answer to the handshake")
        self.keep(self.headers)
        if self._status != 101:
            raise WebSocketRefused(self.answer(self._body, status_line(self._status), self.headers))
        return self

    async def send(self, message: Any) -> None:
        """Send text, bytes, or anything else as JSON.

        Raises:
            WebSocketDisconnect: the application has closed.
        """
        if not self._is_open:
            raise self._farewell()
        if not isinstance(message, str | bytes):
            message = self.app.json.dumps(message)
        self._to_app.put_nowait({"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message})

    async def receive(self, timeout: float = PATIENCE) -> str | bytes:
        """Wait for a message.

        Args:
            timeout: seconds.

        Raises:
            WebSocketDisconnect: the application has closed; `code` and `reason` say how.
            TimeoutError: nothing came.
            Exception: what the application let out, where errors propagate.
        """
        try:
            async with asyncio.timeout(timeout):
                while not self._from_app:
                    if not self._is_open:
                        await self._settle()
                        raise self._farewell()
                    await self._next_news()
        except TimeoutError:
            raise TimeoutError(f"no message came within {timeout:g} s") from None
        self._room.set()
        return self._from_app.popleft()

    async def receive_json(self, timeout: float = PATIENCE) -> Any:
        """Wait for a message and read it as JSON; as `receive`."""
        return self.app.json.loads(await self.receive(timeout))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close, and see the application end.

        Raises:
            DoorViolation: it goes on, for a peer that is gone.
            Exception: what it let out, where errors propagate.
        """
        if self._is_open:
            self._end(code or NO_CODE, reason)
        await self._settle()

    async def _settle(self) -> None:
        """See the application end, and raise what it let out, once."""
        task = self._task
        assert task is not None, "open() comes first"
        if not (await asyncio.wait({task}, timeout=GRACE))[0]:
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE)
            raise DoorViolation(f"the view went on for {GRACE:g} s after its peer had left; a receive or a send would have told it")
        if not task.cancelled() and task.exception() is not None and not self._error_was_told:
            self._error_was_told = True
            await task

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _farewell(self) -> WebSocketDisconnect:
        return WebSocketDisconnect(NORMAL if self.close_code is None else self.close_code, self.close_reason)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketDisconnect:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        try:
            await self.close()
        except Exception:
            if kind is None:
                raise


def running(method: Callable[Concatenate[AsyncSocketSession, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[SocketSession, P], T]:
    """Make the verb of a sync test of that of an async one."""

    def call(self: SocketSession, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return crossing.background.run(method(self.session, *args, **kwargs))

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


class SocketSession:
    """The client's end of one WebSocket, in a sync test.

    Example::

        with client.websocket("/chat/7") as ws:
            ws.send("hello")
            assert ws.receive() == "7: hello"
    """

    def __init__(self, make: Callable[[], AsyncSocketSession]) -> None:
        # Its events belong to a loop.
        self.session = crossing.background.run(_made(make))

    open = running(AsyncSocketSession.open)
    send = running(AsyncSocketSession.send)
    receive = running(AsyncSocketSession.receive)
    receive_json = running(AsyncSocketSession.receive_json)
    close = running(AsyncSocketSession.close)

    @property
    def headers(self) -> Headers:
        return self.session.headers

    @property
    def subprotocol(self) -> str | None:
        return self.session.subprotocol

    @property
    def close_code(self) -> int | None:
        return self.session.close_code

    @property
    def close_reason(self) -> str:
        return self.session.close_reason

    def __iter__(self) -> Iterator[str | bytes]:
        while True:
            try:
                message = self.receive()
            except WebSocketDisconnect:
                return
            yield message

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        crossing.background.run(self.session.__aexit__(*exc_info))


async def _made(make: Callable[[], AsyncSocketSession]) -> AsyncSocketSession:
    return make()
