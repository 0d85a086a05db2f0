"""One request and its answer over an async protocol; driven from a thread (`over_loop`) or awaited as it is.

An `Exchange` plays the server. The protocol's own words are in its subclasses (`asgi.py`, `rsgi.py`); here is what
they share: the answer's start, its pieces behind a bounded queue, the client that leaves early, the error that the
application lets out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from io import SEEK_END
from pathlib import Path
from typing import Any

from . import crossing
from .crossing import (
    BODILESS,
    LARGEST_PIECE,
    DoorViolation,
    Environ,
    Upload,
    WSGICallable,
    status_line,
    taken_apart,
)

# As with a real server: an application that outruns its reader has to wait.
PIECES_IN_FLIGHT = 2

# Seconds that an application has to notice that its client has left. A real server says it once and cancels nothing:
# what has not ended by then would run for ever.
GRACE = 2.0


class Exchange:
    """The server's side of one request.

    Order: `begin`, then `piece` until it gives None; `leave` at the end, early or not.
    """

    def __init__(self, app: Any, environ: Environ) -> None:
        self.app = app
        self.request = taken_apart(environ)
        self.upload = Upload(environ)
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.sent = 0
        self.complete = False
        self.left = False
        # The client is not listening any more: it has everything, or has left.
        self.closed = asyncio.Event()
        self._settled = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def speak(self) -> None:
        """Call the application in the protocol's own way."""
        raise NotImplementedError

    async def begin(self) -> tuple[str, list[tuple[str, str]]]:
        """Send the request; give status line and headers.

        A whole answer is waited for to its end, teardown included, so that a test may look at what the request left
        behind; a stream only until its first piece.
        """
        self._task = asyncio.create_task(self._journey())
        await self._settled.wait()
        if not self.status:
            await self._task  # raises what the application let out
            raise DoorViolation("the application returned without answering")
        return status_line(self.status), self.headers

    async def piece(self) -> bytes | None:
        """Give the next piece of the body; None at its end, or the error that ended it."""
        assert self._task is not None, "begin() comes first"
        while not self._pieces:
            if self._task.done():
                await self._task
                return None
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._pieces.popleft()

    async def leave(self) -> None:
        """Hang up, and see the application end.

        Raises:
            DoorViolation: it goes on, for a client that is gone.
        """
        self.left = True
        self.closed.set()
        self._room.set()
        if self._task is None or self._task.done():
            return
        await asyncio.wait({self._task}, timeout=GRACE)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
            raise DoorViolation(f"the application went on for {GRACE} s after its client had left; it must heed the disconnect")
        if not self._task.cancelled():
            self._task.exception()  # marked as seen: the one who would be told has left

    # What the subclasses call.

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Note the start of the answer."""
        if self.status:
            raise DoorViolation(f"the application answers twice: {self.status}, then {status}")
        if not isinstance(status, int) or not 100 <= status <= 999:
            raise DoorViolation(f"the status is no number of three digits: {status!r}")
        for name, value in headers:
            if any(mark in name + value for mark in "\r\n\0"):
                raise DoorViolation(f"a header holds a line break or NUL: {name!r}: {value!r}")
        self.status = status
        self.headers = headers

    async def put(self, piece: bytes, *, more: bool) -> None:
        """Take a piece of the body; waits while the reader is behind."""
        if not self.status:
            raise DoorViolation("the application sends a body before the answer has started")
        if self.complete:
            raise DoorViolation("the application sends more after the end of the body")
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise DoorViolation(f"a piece of the body is no bytes: {type(piece).__name__}")
        self.sent += len(piece)
        # RFC 9110 §9.3.2: a server sends no body after HEAD, whatever the application gives it.
        if piece and self.request.method != "HEAD":
            while len(self._pieces) >= PIECES_IN_FLIGHT and not self.left:
                self._room.clear()
                await self._room.wait()
            if not self.left:
                self._pieces.append(bytes(piece))
                self._news.set()
                if more:
                    self._settled.set()
        if not more:
            self.complete = True
            self.closed.set()

    async def put_file(self, path: str, start: int = 0, end: int | None = None) -> None:
        """Send a file, or its bytes from *start* up to but without *end*, as the body."""
        with Path(path).open("rb") as file:  # noqa: ASYNC230  # a test's file, and nobody else waits
            left = (file.seek(0, SEEK_END) if end is None else end) - start
            file.seek(start)
            while left > 0 and (piece := file.read(min(left, LARGEST_PIECE))):
                left -= len(piece)
                await self.put(piece, more=True)
        await self.put(b"", more=False)

    async def _journey(self) -> None:
        try:
            await self.speak()
            if self.status and not self.complete and not self.left:
                raise DoorViolation("the application returned in the middle of its answer")
            self._check_length()
        finally:
            self._settled.set()
            # After this task: its reader asks whether it is done.
            asyncio.get_running_loop().call_soon(self._news.set)

    def _check_length(self) -> None:
        if self.request.method == "HEAD" or self.status in BODILESS or self.left:
            return
        for name, value in self.headers:
            if name.lower() == "content-length" and value != str(self.sent):
                raise DoorViolation(f"Content-Length is {value}, but the body has {self.sent} bytes")


class Body:
    """The body of an answer, as WSGI has it: an iterator with `close`."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = crossing.background.run(self.exchange.piece())
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Hang up."""
        crossing.background.run(self.exchange.leave())


def over_loop(make: Callable[[Environ], Exchange]) -> WSGICallable:
    """Give a WSGI callable which carries each request through an exchange, on the loop thread."""

    async def begin(environ: Environ) -> tuple[Exchange, str, list[tuple[str, str]]]:
        exchange = make(environ)
        return exchange, *await exchange.begin()

    def call(environ: Environ, start_response: Callable[..., Any]) -> Body:
        exchange, status, headers = crossing.background.run(begin(environ))
        start_response(status, headers)
        return Body(exchange)

    return call
