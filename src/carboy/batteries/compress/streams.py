"""Bodies that are encoded while they are sent: each item is flushed, so a client sees it when it was yielded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from ...pipeline.offload import offload
from .codings import Coder

#: Most bytes encoded on the event loop itself: 0.4 ms of zstd, 2.5 ms of gzip.
INLINE = 64 * 1024
#: Bytes encoded at a time of a large whole body.
PIECE = 256 * 1024


def _bytes(item: Any) -> bytes:
    return item.encode() if isinstance(item, str) else item


class EncodedStream:
    """A sync body, encoded item by item."""

    def __init__(self, body: Iterable[Any], coder: Coder) -> None:
        self.body = body
        self.flow: Iterator[Any] = iter(body)
        self.coder: Coder | None = coder

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        coder = self.coder
        if coder is None:
            raise StopIteration
        for item in self.flow:
            data = _bytes(item)
            if data:
                return coder.push(data)
        # Only here: a body that raises gets no proper end, and the client sees that it was cut off.
        self.coder = None
        return coder.end()

    def close(self) -> None:
        """Close the body."""
        self.coder = None
        close = getattr(self.body, "close", None)
        if close is not None:
            close()


class AsyncEncodedStream:
    """An async body, encoded item by item; large items in a thread."""

    def __init__(self, body: Any, coder: Coder) -> None:
        self.body = body
        self.flow: AsyncIterator[Any] = body.__aiter__()
        self.coder: Coder | None = coder

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        coder = self.coder
        if coder is None:
            raise StopAsyncIteration
        async for item in self.flow:
            data = _bytes(item)
            if data:
                return coder.push(data) if len(data) <= INLINE else await offload(coder.push, data)
        self.coder = None
        return coder.end()

    async def aclose(self) -> None:
        """Close the body."""
        self.coder = None
        close = getattr(self.body, "aclose", None)
        if close is not None:
            await close()


async def in_pieces(body: bytes, coder: Coder) -> AsyncIterator[bytes]:
    """Encode a large whole body in threads, a piece at a time, so that the loop goes on and the first bytes go early."""
    view = memoryview(body)
    for start in range(0, len(body), PIECE):
        yield await offload(coder.push, bytes(view[start : start + PIECE]))
    yield coder.end()


async def in_thread(make: Callable[[], bytes]) -> AsyncIterator[bytes]:
    """A body of one item that is made in a thread."""
    yield await offload(make)


def is_on_loop() -> bool:
    """Whether this thread runs an event loop, which must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
