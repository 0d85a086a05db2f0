"""One WebSocket: frames on one side, ASGI events on the other. RFC 6455; permessage-deflate as in RFC 7692.

The protocol itself (framing, masks, close handshakes, extensions) is websockets' sans-IO `Protocol`. Here is what it
leaves to its user: UTF-8, messages of several fragments, flow control in both directions, the end of the TCP
connection, and the words of ASGI. All sockets of a worker, their pings and their goodbye: `sockets.py`.

*Towards the application* at most one message is ahead; then the kernel is not read any more, so the peer waits.
*Towards the peer* `send` waits while more than `HIGH_WATER` bytes are not yet taken by the kernel.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from ..wire.asgi import Event
from ..wire.close_codes import ABNORMAL, INVALID_DATA, NORMAL

#: Bytes that wait for the peer before `send` waits too.
HIGH_WATER = 64 * 1024
#: Bytes given to the parser at once: what a peer can have turned into messages ahead of the application.
SLICE = 16 * 1024
#: Seconds for the rest of a closing handshake: the peer's close frame, and its end of the connection.
CLOSE_LIMIT = 5.0
#: Smaller messages are sent as they are: without a context kept between messages they hardly get smaller.
LEAST_DEFLATED = 256
PING = b"\x89\x00"

# The library tells of each connection; only its errors are news.
_log = logging.getLogger("carboy.server.websocket")
_log.setLevel(logging.WARNING)
_CONTROLLED = frozenset({b"connection", b"upgrade", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol"})
_OF_HANDSHAKE = frozenset({
    b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol",
})  # fmt: skip
# Nothing is kept between messages in either direction: an idle socket has no zlib state (some 300 KB with the usual
# windows). 12 bits for what we send: 16 KB of work space while a message is made.
_DEFLATE = [
    ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=12,
        client_max_window_bits=12,
        compress_settings={"level": 3, "memLevel": 5},
    )
]


class Gone(ConnectionError):
    """The WebSocket is closed; what was to be sent is not sent."""


class Handshake:
    """What a client asks for, and what is answered if the application accepts.

    Args:
        headers: of the request, names in lower case.
        compression: offer permessage-deflate.
    """

    def __init__(self, headers: list[tuple[bytes, bytes]], compression: bool) -> None:
        parser = ServerProtocol(extensions=_DEFLATE if compression else None, logger=_log)
        # Only what is of the protocol: the size of the others has been looked at already.
        lines = [b"GET / HTTP/1.1"] + [b"%s: %s" % pair for pair in headers if pair[0] in _OF_HANDSHAKE]
        parser.receive_data(b"\r\n".join([*lines, b"", b""]))
        events = parser.events_received()
        if events and isinstance(events[0], Request):
            self.response = parser.accept(events[0])
        else:
            self.response = parser.reject(400, "The WebSocket handshake is malformed.\n")
        if self.response.status_code != 101 and "Sec-WebSocket-Version" not in self.response.headers:
            # RFC 6455 §4.2.2: the version that would be understood.
            self.response.headers["Sec-WebSocket-Version"] = "13"
        self.extensions: list[Extension] = [Sparing(each) for each in parser.extensions]
        offered = [value for name, value in headers if name == b"sec-websocket-protocol"]
        self.subprotocols = [each.strip() for value in offered for each in value.decode("latin1").split(",") if each.strip()]

    @property
    def refusal(self) -> Response | None:
        """The answer to a handshake that is none."""
        return None if self.response.status_code == 101 else self.response

    def answer(self, event: Event) -> list[tuple[bytes, bytes]]:
        """The header fields of the 101.

        Args:
            event: the application's `websocket.accept`.

        Raises:
            ValueError: it has a field that is the protocol's own, or an unknown subprotocol.
        """
        fields = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
        for name in ("Sec-WebSocket-Accept", "Sec-WebSocket-Extensions"):
            if name in self.response.headers:
                fields.append((name.lower().encode(), self.response.headers[name].encode()))
        subprotocol = event.get("subprotocol")
        if subprotocol is not None:
            if subprotocol not in self.subprotocols:
                raise ValueError(
                    f"websocket.accept: the client did not offer the subprotocol {subprotocol!r}, but {self.subprotocols}; choose one of those"
                )
            fields.append((b"sec-websocket-protocol", subprotocol.encode("latin1")))
        for name, value in event.get("headers") or ():
            lowered = bytes(name).lower()
            if lowered in _CONTROLLED:
                raise ValueError(f"websocket.accept: the header {lowered.decode('latin1')} is the server's; leave it out, or use subprotocol=")
            fields.append((lowered, bytes(value)))
        return fields


class Sparing(Extension):
    """A compression that lets small messages alone. RFC 7692 §6: each message may be compressed or not."""

    def __init__(self, inner: Extension) -> None:
        self.inner = inner
        self.name = inner.name

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return self.inner.decode(frame, max_size=max_size)

    def encode(self, frame: Frame) -> Frame:
        # Each message goes out as one frame, so a frame is a message.
        return frame if len(frame.data) < LEAST_DEFLATED else self.inner.encode(frame)


class Wire(Protocol):
    """The library's protocol, but a close may come between the fragments of a message."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            # RFC 6455 §5.4 and §5.5.1: a control frame may stand there, and the message will not be ended any more.
            # The library calls it 1002; Autobahn's case 7.1.5 wants the close to be answered.
            self.current_size = None
        super().recv_frame(frame)


class Connection(asyncio.Protocol):
    """The socket's two ends, from the 101 on.

    Args:
        handshake: what was agreed upon.
        key: what the owner knows it by.
        most: bytes of a message, of all its fragments together and unpacked; 0 for no limit.
        ended: called once, when the TCP connection is gone.
    """

    __slots__ = (
        "close_by", "ended", "fragments", "gone", "has_eof", "heard", "is_heard", "is_reading", "is_text", "key", "loop", "messages",
        "pinged", "receiver", "rest", "stalled_at", "text", "transport", "wire", "writers",
    )  # fmt: skip

    def __init__(self, handshake: Handshake, key: int, most: int, ended: Callable[[Connection], None]) -> None:
        self.wire = Wire(Side.SERVER, state=State.OPEN, max_size=most or None, logger=_log)
        self.wire.extensions = handshake.extensions
        self.key = key
        self.ended = ended
        self.loop = asyncio.get_running_loop()
        # Any: set in connection_made, before anything else is called.
        self.transport: Any = None
        self.messages: deque[Event] = deque()
        self.receiver: asyncio.Future[None] | None = None
        #: Code and reason, once the application has nothing to send any more.
        self.gone: tuple[int, str] | None = None
        #: Bytes that were read and not yet given to the parser.
        self.rest = b""
        self.has_eof = False
        self.is_reading = True
        #: The message in fragments, if one is coming.
        self.fragments: bytearray | None = None
        self.is_text = False
        #: Checks the UTF-8 of a text in fragments as it comes.
        self.text: codecs.IncrementalDecoder | None = None
        #: Since when the peer does not take what we write; 0 while it does.
        self.stalled_at = 0.0
        self.writers: list[asyncio.Future[None]] = []
        #: Something came since the last tick; when that was; when it was asked for a sign of life, 0 if not.
        self.is_heard = False
        self.heard = self.loop.time()
        self.pinged = 0.0
        #: When the connection is cut, whatever the peer does; 0 while it is open.
        self.close_by = 0.0

    # -- from the transport -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self.is_heard = True
        if self.rest or len(data) > SLICE:
            self.rest += data
            self.chew()
        else:
            self.feed(data)
        if self.must_wait():
            self.pause()

    def eof_received(self) -> bool:
        self.has_eof = True
        if not self.rest:
            self.feed_eof()
        return bool(self.rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(ABNORMAL)
        self.ended(self)

    def pause_writing(self) -> None:
        self.stalled_at = self.loop.time()
        # Else a peer that sends pings and reads no pongs would have us keep them.
        self.pause()

    def resume_writing(self) -> None:
        self.stalled_at = 0.0
        self.wake_writers()
        self.go_on()

    # -- reading ------------------------------------------------------------------------------------

    def must_wait(self) -> bool:
        """Whether the peer has sent more than is wanted now."""
        if self.close_by:
            return False  # what comes now is thrown away
        return bool(self.stalled_at) or (bool(self.messages) and (self.receiver is None or len(self.messages) > 1))

    def pause(self) -> None:
        # uvloop's transports raise where they are told anything after their end.
        if self.is_reading and not self.close_by and not self.transport.is_closing():
            self.is_reading = False
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read on, if there is a reason to."""
        if self.rest:
            self.chew()
        if not self.is_reading and not self.must_wait() and not self.transport.is_closing():
            self.is_reading = True
            self.transport.resume_reading()

    def chew(self) -> None:
        """Give the parser what was read, until there is a message."""
        while self.rest and not self.must_wait():
            piece, self.rest = self.rest[:SLICE], self.rest[SLICE:]
            self.feed(piece)
        if self.has_eof and not self.rest:
            self.feed_eof()
            self.transport.close()

    def feed(self, data: bytes) -> None:
        wire = self.wire
        wire.receive_data(data)
        for frame in wire.events_received():
            self.take(frame)
        if wire.writes:
            self.flush()
        if wire.parser_exc is not None or wire.close_rcvd is not None:
            self.see_end()

    def feed_eof(self) -> None:
        self.wire.receive_eof()
        self.flush()
        self.see_end()

    def see_end(self) -> None:
        """Tell the application how it ended, once it has."""
        wire = self.wire
        if wire.close_rcvd is not None:
            self.end(wire.close_rcvd.code, wire.close_rcvd.reason)
        elif wire.close_sent is not None:
            self.end(wire.close_sent.code, wire.close_sent.reason)
        else:
            self.end(ABNORMAL)

    # Any: a frame, or what only a handshake has.
    def take(self, frame: Any) -> None:
        """Make messages of frames."""
        if self.gone is not None:
            return
        opcode, data = frame.opcode, frame.data
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            is_text = opcode is Opcode.TEXT
            if frame.fin:
                self.deliver(data, is_text)
                return
            self.fragments, self.is_text = bytearray(data), is_text
            self.text = codecs.getincrementaldecoder("utf-8")() if is_text else None
            self.check(data, False)
        elif opcode is Opcode.CONT and self.fragments is not None:
            self.fragments += data
            if self.check(data, frame.fin) and frame.fin:
                whole, self.fragments, self.text = self.fragments, None, None
                self.deliver(whole, self.is_text)

    def check(self, data: Any, is_last: bool) -> bool:
        """Check the UTF-8 of a fragment. RFC 6455 §8.1."""
        if self.text is None:
            return True
        try:
            self.text.decode(data, is_last)
        except UnicodeDecodeError:
            self.fail(INVALID_DATA, "The text is not UTF-8.")
            return False
        return True

    def deliver(self, data: Any, is_text: bool) -> None:
        if is_text:
            try:
                event: Event = {"type": "websocket.receive", "text": str(data, "utf-8")}
            except UnicodeDecodeError:
                self.fail(INVALID_DATA, "The text is not UTF-8.")
                return
        else:
            event = {"type": "websocket.receive", "bytes": bytes(data)}
        self.messages.append(event)
        self.wake_receiver()

    async def receive(self) -> Event:
        """The application's `receive`, once it has accepted."""
        while not self.messages:
            if self.gone is not None:
                return {"type": "websocket.disconnect", "code": self.gone[0], "reason": self.gone[1]}
            if self.receiver is not None:
                raise RuntimeError("receive() is waiting in another task already; a WebSocket has one reader")
            self.receiver = self.loop.create_future()
            try:
                self.go_on()
                if not self.messages and self.gone is None:
                    await self.receiver
            finally:
                self.receiver = None
        event = self.messages.popleft()
        if not self.messages:
            self.go_on()
        return event

    def wake_receiver(self) -> None:
        if self.receiver is not None and not self.receiver.done():
            self.receiver.set_result(None)

    # -- writing ------------------------------------------------------------------------------------

    async def send(self, event: Event) -> None:
        """Send a message.

        Raises:
            Gone: there is nobody to send to.
        """
        while self.stalled_at and self.gone is None:
            waiter = self.loop.create_future()
            self.writers.append(waiter)
            await waiter
        if self.gone is None and self.transport.is_closing():
            # The transport knows it already, and tells us with the next turn of the loop. An application that only
            # sends would not let it turn.
            self.end(ABNORMAL)
        if self.gone is not None:
            raise Gone(f"the WebSocket is closed ({self.gone[0]})")
        text = event.get("text")
        if text is not None:
            self.wire.send_text(text.encode())
        elif event.get("bytes") is not None:
            self.wire.send_binary(event["bytes"])
        else:
            raise ValueError("websocket.send has neither text nor bytes")
        self.flush()

    def wake_writers(self) -> None:
        waiters, self.writers = self.writers, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def flush(self) -> None:
        for data in self.wire.data_to_send():
            if self.transport.is_closing():
                return
            if data:
                self.transport.write(data)
            elif self.wire.close_rcvd is not None:
                # Both have said goodbye; it is the server who ends the connection (RFC 6455 §7.1.1).
                self.close_by = self.loop.time() + CLOSE_LIMIT
                self.transport.close()
            else:
                # What the peer still sends is read and thrown away: closing on it would take our last words from it.
                self.transport.write_eof()
                self.finish()

    # -- the end ------------------------------------------------------------------------------------

    def end(self, code: int, reason: str = "") -> None:
        """Nothing more comes or goes, for the application."""
        if self.gone is not None:
            return
        self.gone = (code, reason)
        self.fragments = self.text = None
        self.wake_receiver()
        self.wake_writers()

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye; the peer has `CLOSE_LIMIT` seconds to answer.

        Raises:
            ValueError: the code cannot be sent, or the reason is longer than 123 bytes.
        """
        if self.wire.state is State.OPEN and self.gone is None:
            try:
                self.wire.send_close(code, reason)
            except ProtocolError as error:
                raise ValueError(
                    f"a WebSocket cannot be closed with code {code} and a reason of {len(reason.encode())} bytes ({error});"
                    " codes are 1000 to 1014 as registered, or 3000 to 4999, and 123 bytes is the longest reason"
                ) from error
            self.end(code, reason)
            self.flush()
            self.finish()

    def fail(self, code: int, reason: str) -> None:
        """End it for a fault of the peer. RFC 6455 §7.1.7."""
        self.wire.fail(code, reason)
        self.end(code, reason)
        self.flush()

    def finish(self) -> None:
        """Read on to the peer's end, and no longer than the limit."""
        if not self.close_by:
            self.close_by = self.loop.time() + CLOSE_LIMIT
        if self.stalled_at and not self.transport.is_closing():
            # It does not read; it would not read the goodbye either.
            return
        self.go_on()

    def abort(self) -> None:
        """Cut the connection."""
        self.end(ABNORMAL)
        self.transport.abort()

    def inspect(self, now: float, ping: float, ping_timeout: float, write_timeout: float) -> None:
        """Look whether the peer is there; called at each tick."""
        if self.gone is not None:
            if 0 < self.close_by <= now:
                self.abort()
            return
        if self.stalled_at:
            if 0 < write_timeout < now - self.stalled_at:
                self.abort()
            return
        if self.is_heard:
            self.is_heard = False
            self.heard = now
            self.pinged = 0.0
        if self.pinged and self.is_reading and 0 < ping_timeout <= now - self.pinged:
            self.abort()
        elif 0 < ping <= now - max(self.heard, self.pinged):
            # While the application does not read, an answer cannot be seen; a peer that is dead is then the kernel's
            # to find, by what is not acknowledged.
            self.pinged = now
            self.transport.write(PING)
