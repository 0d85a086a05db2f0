"""A body that arrives while it is read (`stream=True`): `Arriving`, a file for a `def` view in its thread, filled by the
server's loop; `Incoming`, pieces that an `async def` view awaits.

The view's pace is the client's: a file reads nothing ahead, and of the pieces one is waiting at most, by which a door
sees that its client has gone.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from ..wire.asgi import Receive
from ..wire.body import BodyMeter


class Arriving(io.RawIOBase):
    """Reads ASGI's `http.request` messages from a thread.

    Args:
        receive: of the request.
        loop: where it must be awaited.
        meter: counts; it raises where the body is longer than allowed, or not as long as declared.
    """

    #: Reading it on that loop would wait for ever.
    is_filled_by_loop = True

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop, meter: BodyMeter) -> None:
        self.receive = receive
        self.loop = loop
        self.meter = meter
        self.rest = b""
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what has come; wait for it if nothing has.

        Raises:
            ClientDisconnected: the client has gone in the middle of its body.
            HTTPException: too long, or too short.
        """
        while not self.rest and not self.is_over:
            message = asyncio.run_coroutine_threadsafe(self.next(), self.loop).result()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self.rest = message.get("body", b"")
            self.meter.count(len(self.rest))
            if not message.get("more_body", False):
                self.is_over = True
                self.meter.end()
        size = min(len(buffer), len(self.rest))
        buffer[:size] = self.rest[:size]
        self.rest = self.rest[size:]
        return size

    async def next(self) -> dict[str, Any]:
        # A server's `receive` may give any awaitable; a thread can only ask for a coroutine.
        return await self.receive()


#: Gives the next piece of a body, and whether there is more.
Source = Callable[[], Coroutine[Any, Any, tuple[bytes, bool]]]


class Incoming:
    """A body whose pieces are awaited.

    Args:
        source: gives the next piece; raises ClientDisconnected, or what the server has against the body.
        meter: counts; it raises where the body is longer than allowed, or not as long as declared.
    """

    def __init__(self, source: Source, meter: BodyMeter) -> None:
        self.source = source
        self.meter = meter
        #: The wait for the next piece, or the piece that nobody has taken yet.
        self.ahead: asyncio.Task[tuple[bytes, bool]] | None = None
        self.taken = asyncio.Event()
        self.error: Exception | None = None
        self.is_reading = False
        self.is_over = False

    async def next(self) -> bytes:
        """Wait for the next piece; b"" at the end. Cancelling the wait loses nothing.

        Raises:
            ClientDisconnected: the client has gone in the middle of its body.
            HTTPException: too long, too short, or broken.
            RuntimeError: another task is waiting for it.
        """
        if self.is_reading:
            raise RuntimeError("two tasks read the body of one request at once; let one read it and hand the pieces on")
        while not self.is_over:
            if self.error is not None:
                raise self.error
            self.is_reading = True
            try:
                piece, more = await asyncio.shield(self.look_ahead())
                self.meter.count(len(piece))
                if not more:
                    self.meter.end()
            except Exception as error:
                self.error = error
                raise
            finally:
                self.is_reading = False
            self.ahead = None
            self.is_over = not more
            self.taken.set()
            if piece:
                return piece
        return b""

    def look_ahead(self) -> asyncio.Task[tuple[bytes, bool]]:
        """Begin to wait for the next piece, unless it is waited for already."""
        if self.ahead is None:
            self.taken.clear()
            self.ahead = asyncio.get_running_loop().create_task(self.source())
        return self.ahead

    async def gone(self) -> None:
        """Wait until the body is over, or the client has gone while nobody was reading: a reader is told by an error."""
        while not self.is_over:
            ahead = self.look_ahead()
            await asyncio.wait({ahead})
            failure = None if ahead.cancelled() else ahead.exception()
            if failure is None:
                await self.taken.wait()
            elif self.is_reading or self.error is not None or isinstance(failure, RequestTimeout):
                # Who has stopped sending may wait for the answer that is being sent.
                await asyncio.get_running_loop().create_future()
            else:
                return

    def close(self) -> None:
        """Wait for no more of it."""
        ahead, self.ahead = self.ahead, None
        if ahead is not None:
            if ahead.done():
                if not ahead.cancelled():
                    ahead.exception()  # seen: nobody asks for it any more
            else:
                ahead.cancel()


class Unread(io.RawIOBase):
    """What stands as the body's file in an `async def` view that reads it as it comes: it says what to do instead."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> NoReturn:
        raise RuntimeError(
            "the body of this request has not been read: the route says stream=True, and a file would block the event loop."
            " Use `async for chunk in request.chunks()` or `async for part in request.stream_form()`; after"
            " `await request.load_body()` get_data(), get_json(), form and files work as elsewhere."
        )

    def readall(self) -> NoReturn:
        self.readinto(b"")


def hand_over(head: Any, request: Any) -> Incoming | None:
    """Give a request the body that its door has put into the head; return it where it is still coming."""
    body = head.body
    incoming: Incoming | None = None
    if type(body) is Incoming:
        request.incoming = incoming = body
        body = head.body = Unread()
    if body is not None:
        request.__dict__["stream"] = body
    return incoming
