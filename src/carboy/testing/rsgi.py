"""The RSGI door without a server: scope and protocol with the members, and the limits, of granian 2.8.

Observed on granian 2.8.7: the path comes decoded, with replacement characters for what is no UTF-8; header names are
lower-case, and a value that is not ASCII is left out of `items`; header values that are sent are encoded as UTF-8; the
body can be had once; there is no root path; `end` of a file range is the first byte that is not sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from granian.rsgi import ProtocolClosed, ProtocolError  # type: ignore[attr-defined]  # its public names, not marked as such

from .crossing import Crossing, DoorViolation
from .exchange import Exchange

Headers = list[tuple[str, str]]


class RSGIHeaders:
    """Request headers: a mapping of names to their first value, which also gives all of them."""

    def __init__(self, lines: list[tuple[bytes, bytes]]) -> None:
        self._names = list(dict.fromkeys(name.decode("latin-1") for name, _ in lines))
        self._lines = [(name.decode("latin-1"), value.decode()) for name, value in lines if value.isascii()]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return (self.get_all(name) or [""])[0]

    def get(self, name: str, default: Any = None) -> Any:
        return (self.get_all(name) or [default])[0]

    def get_all(self, name: str) -> list[str]:
        return [value for known, value in self._lines if known == name.lower()]

    def items(self) -> Headers:
        return list(self._lines)

    def keys(self) -> list[str]:
        return list(self._names)

    def values(self) -> list[str]:
        return [value for _, value in self._lines]


class RSGIScope:
    """What is known of a request before its body."""

    proto = "http"
    rsgi_version = "1.6"

    def __init__(self, request: Crossing) -> None:
        self.http_version = request.http_version
        self.server = ":".join(map(str, request.server))
        self.client = ":".join(map(str, request.client or ("127.0.0.1", 50000)))
        self.scheme = request.scheme
        self.method = request.method
        self.path = request.path
        self.query_string = request.query.decode("latin-1")
        self.authority: str | None = None
        self.headers = RSGIHeaders(request.headers)


class RSGIExchange(Exchange):
    """One HTTP request over RSGI."""

    async def speak(self) -> None:
        protocol = RSGIProtocol(self)
        await getattr(self.app, "__rsgi__", self.app)(RSGIScope(self.request), protocol)
        await protocol.finish()


class RSGITransport:
    """A streamed answer. It has no back-pressure: what is sent is queued, however slow the reader."""

    def __init__(self, protocol: RSGIProtocol) -> None:
        self._protocol = protocol

    async def send_bytes(self, data: bytes) -> None:
        if self._protocol.exchange.left:
            raise ProtocolClosed("the client has left")
        await self._protocol.exchange.put(data, more=True)

    async def send_str(self, data: str) -> None:
        await self.send_bytes(data.encode())


class RSGIProtocol:
    """The object through which an application reads its request and answers it."""

    def __init__(self, exchange: RSGIExchange) -> None:
        self.exchange = exchange
        self._consumed = False
        self._whole: bytes | None = None
        self._file: tuple[str, int, int | None] | None = None
        self._streams = False

    async def __call__(self) -> bytes:
        self._consume()
        upload = self.exchange.upload
        pieces = []
        while not upload.done:
            pieces.append(upload.read())
        if upload.broken:
            raise ProtocolError("the body ended before its announced length")
        return b"".join(pieces)

    def __aiter__(self) -> RSGIProtocol:
        self._consume()
        return self

    async def __anext__(self) -> bytes:
        upload = self.exchange.upload
        # A body that breaks off looks complete here, as it does with granian.
        if upload.done:
            raise StopAsyncIteration
        return upload.read()

    async def client_disconnect(self) -> None:
        await self.exchange.closed.wait()

    def response_empty(self, status: int, headers: Headers) -> None:
        self._answer(status, headers)
        self._whole = b""

    def response_str(self, status: int, headers: Headers, body: str) -> None:
        if not isinstance(body, str):
            raise TypeError(f"response_str takes a str, not {type(body).__name__}")
        self._answer(status, headers)
        self._whole = body.encode()

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        if not isinstance(body, bytes):
            raise TypeError(f"response_bytes takes bytes, not {type(body).__name__}")
        self._answer(status, headers)
        self._whole = body

    def response_file(self, status: int, headers: Headers, file: str) -> None:
        self._answer(status, headers)
        self._file = (_existing(file), 0, None)

    def response_file_range(self, status: int, headers: Headers, file: str, start: int, end: int) -> None:
        if not 0 <= start < end:
            raise ValueError(f"no range of a file: {start} to {end}")
        self._answer(status, headers)
        self._file = (_existing(file), start, end)

    def response_stream(self, status: int, headers: Headers) -> RSGITransport:
        self._answer(status, headers)
        self._streams = True
        return RSGITransport(self)

    async def finish(self) -> None:
        """Send what the application has named but not streamed itself."""
        if self._whole is not None:
            await self.exchange.put(self._whole, more=False)
        elif self._file is not None:
            await self.exchange.put_file(*self._file)
        elif self._streams and not self.exchange.left:
            await self.exchange.put(b"", more=False)

    def _answer(self, status: int, headers: Headers) -> None:
        for header in headers:
            if not all(isinstance(part, str) for part in header):
                raise DoorViolation(f"RSGI headers are pairs of str; this one is {header!r}")
        self.exchange.start(status, [(name, value.encode().decode("latin-1")) for name, value in headers])

    def _consume(self) -> None:
        if self._consumed:
            raise ProtocolError("the body has been read already")
        self._consumed = True


def _existing(file: str) -> str:
    if not Path(file).is_file():
        raise DoorViolation(f"the file to be sent does not exist: {file}")
    return file
