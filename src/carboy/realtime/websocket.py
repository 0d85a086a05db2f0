"""WebSocket: what the view of a socket speaks with. Text, bytes, JSON and typed messages; the protocol is below.

`WebSocket` is for `async def` views. `BlockingWebSocket` has the same verbs without `await`, for `def` views: each is
made of the other's by `blocking`, and driven without a loop; what really waits is the wire below.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

import msgspec

from ..core.ctx import Context
from ..core.request import Request
from ..gateways.socket import InvalidMessage as InvalidMessage
from ..gateways.socket import Socket, State
from ..gateways.socket import WebSocketDisconnect as WebSocketDisconnect
from ..pipeline.drive import drive
from ..wire.close_codes import NORMAL, WRONG_KIND
from .leaving import close_code_of, forget, leaving_of, listen

if TYPE_CHECKING:
    from .channels import Message
    from .room import Rooms

T = TypeVar("T")
P = ParamSpec("P")

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class WebSocket:
    """One WebSocket, for an `async def` view.

    Example:
        >>> @app.websocket("/chat/<room>")
        ... async def chat(ws, room):
        ...     async for message in ws:
        ...         await ws.send(f"{room}: {message}")

    Attributes:
        socket: the protocol's state.
    """

    #: What a `def` view is given.
    blocking_class: ClassVar[type[BlockingWebSocket]]

    def __init__(self, socket: Socket, ctx: Context) -> None:
        self.socket = socket
        self._ctx = ctx
        self._rooms: Rooms | None = None
        self._leaving = leaving_of(ctx.app, ctx.request)
        if self._leaving is not None:
            # PERF: bound methods; with two partials an idle socket had 16.1 KB instead of 15.8 (bench/rooms.py --idle 5000).
            listen(self._leaving, self._say_goodbye)
            socket.at_end.append(self._forget_leaving)

    def _say_goodbye(self) -> None:
        if self._leaving is not None:
            self.socket.wire.leave(close_code_of(self._leaving))

    def _forget_leaving(self) -> None:
        if self._leaving is not None:
            forget(self._leaving, self._say_goodbye)

    # -- the handshake and the end ------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The request of the handshake."""
        return self._ctx.request  # type: ignore[return-value]  # the core's

    @property
    def requested_subprotocols(self) -> tuple[str, ...]:
        """What the client offers, in its order of preference."""
        return self.socket.offered

    @property
    def subprotocol(self) -> str | None:
        """What was chosen at the accept."""
        return self.socket.subprotocol

    @property
    def closed(self) -> bool:
        """Whether it is over; a peer that has just gone is noticed by the next send or receive."""
        return self.socket.state in (State.CLOSED, State.REFUSED)

    @property
    def close_code(self) -> int | None:
        """The code that it was closed with, by whichever side; None while it is not."""
        return self.socket.close_code

    @property
    def close_reason(self) -> str:
        """The text that came with the code; empty where there was none."""
        return self.socket.close_reason

    async def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> None:
        """Accept the handshake. The first send or receive does it too.

        Args:
            subprotocol: one that the client offers; the first of the route's `subprotocols` that it offers unless told.
            headers: to send with it.

        Raises:
            ValueError: the client has not offered the subprotocol, or a header belongs to the handshake.
            WebSocketDisconnect: the peer has gone.
        """
        await self.socket.accept(subprotocol, headers)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it; closing again does nothing. Before the accept it is a refusal (403).

        Args:
            code: 1000 for a normal end; 3000 to 4999 are the application's own.
            reason: at most 123 bytes.
        """
        await self.socket.close(code, reason)

    # -- receiving ----------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Wait for the next message: text as str, a binary one as bytes.

        Raises:
            WebSocketDisconnect: there will be none.
        """
        return await self.socket.receive()

    async def receive_text(self) -> str:
        """Wait for the next message, which must be text.

        Raises:
            InvalidMessage: it is binary.
            WebSocketDisconnect: there will be none.
        """
        message = await self.socket.receive()
        if isinstance(message, str):
            return message
        raise InvalidMessage("a binary message came where text is expected", WRONG_KIND)

    async def receive_bytes(self) -> bytes:
        """Wait for the next message, which must be binary.

        Raises:
            InvalidMessage: it is text.
            WebSocketDisconnect: there will be none.
        """
        message = await self.socket.receive()
        if isinstance(message, bytes):
            return message
        raise InvalidMessage("text came where a binary message is expected", WRONG_KIND)

    async def receive_json(self) -> Any:
        """Wait for the next message and read it as JSON, by `app.json`.

        Raises:
            InvalidMessage: it is no JSON.
            WebSocketDisconnect: there will be none.
        """
        message = await self.socket.receive()
        app: Any = self._ctx.app
        try:
            return app.json.loads(message)
        except ValueError as error:
            raise InvalidMessage(f"the message is no JSON: {error}") from error

    async def receive_as(self, kind: type[T]) -> T:
        """Wait for the next message and read it as JSON of a type.

        Args:
            kind: what msgspec knows: a Struct, dataclass, TypedDict, a union of tagged Structs …

        Raises:
            InvalidMessage: it is no JSON, or not of this type; the text says where.
            WebSocketDisconnect: there will be none.
        """
        message = await self.socket.receive()
        try:
            value: T = _decoder_of(kind).decode(message)  # type: ignore[arg-type]  # types have a hash
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidMessage(str(error)) from error
        return value

    def __aiter__(self) -> Messages[str | bytes]:
        """Give each message; the end of the socket is the end."""
        return Messages(self.receive)

    def messages(self, kind: type[T]) -> Messages[T]:
        """Give each message as a value of a type; the end of the socket is the end.

        Raises:
            InvalidMessage: as `receive_as`; the iteration may go on.
        """
        return Messages(functools.partial(self.receive_as, kind))

    # -- sending ------------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Send text (str), a binary message (bytes), or anything else as JSON. Waits while the peer is slow to read.

        Raises:
            TypeError: JSON has no word for it.
            WebSocketDisconnect: the peer has gone.
        """
        await self.socket.send(outgoing(self._ctx.app, message))

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON text: a Struct of msgspec by msgspec, everything else by `app.json`.

        Raises:
            TypeError: JSON has no word for it.
            WebSocketDisconnect: the peer has gone.
        """
        await self.socket.send(json_of(self._ctx.app, value))

    # -- channels -----------------------------------------------------------------------------------

    async def join(
        self, *topics: str, history: int = 0, after: str | None = None, convert: Callable[[Message], Any] | None = None
    ) -> None:
        """Send the messages of channels to this peer, until the socket is over or it leaves them. It accepts first.

        Args:
            topics: of `app.channels`.
            history: how many of the latest messages to send first.
            after: send those after this message first.
            convert: what to send of a message; its `data` unless told.

        Raises:
            ValueError: it has joined one of them already.
            WebSocketDisconnect: the peer has gone.
        """
        if self.socket.state is State.CONNECTING:
            await self.accept()
        self.socket.move("send")
        if self._rooms is None:
            from .room import Rooms

            self._rooms = Rooms(self._ctx.app, self.socket, outgoing)
        await self.socket.wire.perform(self._rooms.join(topics, history, after, convert))

    async def leave(self, *topics: str) -> None:
        """Send no more of these channels; of none of them, unless told.

        Raises:
            ValueError: it has not joined one of them.
        """
        if self._rooms is not None:
            await self.socket.wire.perform(self._rooms.leave(topics))
        elif topics:
            raise ValueError(f"this socket has not joined {', '.join(topics)}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.request.path} {self.socket.state.value}>"


def outgoing(app: Any, message: Any) -> str | bytes:
    """What goes on the wire for a message: text, bytes, and anything else as JSON."""
    if isinstance(message, str | bytes):
        return message
    if isinstance(message, bytearray | memoryview):
        return bytes(message)
    return json_of(app, message)


def json_of(app: Any, value: Any) -> str:
    """A Struct of msgspec by msgspec, everything else by the app's provider."""
    if isinstance(value, msgspec.Struct):
        return msgspec.json.encode(value, enc_hook=getattr(app.json, "default", None)).decode()
    return str(app.json.dumps(value))


class Messages(Generic[T]):
    """The messages of a socket, one after the other, to its end."""

    __slots__ = ("receive",)

    def __init__(self, receive: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.receive = receive

    def __aiter__(self) -> Messages[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except WebSocketDisconnect:
            raise StopAsyncIteration from None


@functools.lru_cache(maxsize=512)
def _decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    """The reader of JSON of a type, made once."""
    return msgspec.json.Decoder(kind)


# -- the same for threads ---------------------------------------------------------------------------


def blocking(method: Callable[Concatenate[WebSocket, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[BlockingWebSocket, P], T]:
    """Make the verb of a `def` view of that of an `async def` view."""

    def call(self: BlockingWebSocket, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return drive(method(self._ws, *args, **kwargs))

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


def iterating(method: Callable[Concatenate[WebSocket, P], Messages[T]]) -> Callable[Concatenate[BlockingWebSocket, P], Iterator[T]]:
    """The same for what is iterated."""

    def call(self: BlockingWebSocket, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        flow = method(self._ws, *args, **kwargs)
        while True:
            try:
                item = drive(flow.__anext__())
            except StopAsyncIteration:
                return
            yield item

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


def told(name: str) -> Any:
    """A property that asks the other."""
    other: property = getattr(WebSocket, name)
    return property(lambda self: getattr(self._ws, name), doc=other.__doc__)


class BlockingWebSocket:
    """One WebSocket, for a `def` view: `WebSocket` without `await`. It may be used by several threads.

    Example:
        >>> @app.websocket("/chat/<room>")
        ... def chat(ws, room):
        ...     for message in ws:
        ...         ws.send(f"{room}: {message}")
    """

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws
        self.socket = ws.socket

    request: Request = told("request")
    requested_subprotocols: tuple[str, ...] = told("requested_subprotocols")
    subprotocol: str | None = told("subprotocol")
    closed: bool = told("closed")
    close_code: int | None = told("close_code")
    close_reason: str = told("close_reason")

    accept = blocking(WebSocket.accept)
    close = blocking(WebSocket.close)
    receive = blocking(WebSocket.receive)
    receive_text = blocking(WebSocket.receive_text)
    receive_bytes = blocking(WebSocket.receive_bytes)
    receive_json = blocking(WebSocket.receive_json)
    receive_as = blocking(WebSocket.receive_as)
    send = blocking(WebSocket.send)
    send_json = blocking(WebSocket.send_json)
    join = blocking(WebSocket.join)
    leave = blocking(WebSocket.leave)
    messages = iterating(WebSocket.messages)
    __iter__ = iterating(WebSocket.__aiter__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.request.path} {self.socket.state.value}>"


WebSocket.blocking_class = BlockingWebSocket
