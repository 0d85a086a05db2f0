"""A request's body on its way in: its length as declared, its states, its place in memory or on disk.

Bytes in, a file out; no socket and no await, so every gateway uses it. The limits are kept here, in `BodyMeter`,
for a body that is collected (`BodyBuffer`) as for one that is streamed to the view.
"""

from __future__ import annotations

import enum
import io
import tempfile
from collections.abc import AsyncIterator, Iterable
from typing import BinaryIO, cast

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from .errors import MalformedRequest

#: Bytes a body may have in memory; beyond, it lives in a temporary file.
MEMORY_THRESHOLD = 512 * 1024

# More digits than any real length needs; int() of thousands of digits would be a way to burn time.
_LONGEST_LENGTH = 19


# MalformedRequest 400
# ├── InvalidLength     Content-Length is not a number, or several that differ
# └── BodyOverrun       more bytes than Content-Length said
# ClientDisconnected 400
# └── BodyTruncated     fewer bytes than Content-Length said
# RequestEntityTooLarge 413
# └── BodyTooLarge      more bytes than the app allows


class InvalidLength(MalformedRequest):
    """The Content-Length header does not say one number."""

    description = "The Content-Length header is invalid."


class BodyTruncated(ClientDisconnected):
    """The body ended before the length that was declared."""

    description = "The request body is shorter than its Content-Length."


class BodyOverrun(MalformedRequest):
    """The body went on beyond the length that was declared."""

    description = "The request body is longer than its Content-Length."


class BodyTooLarge(RequestEntityTooLarge):
    """The body is, or says that it is, larger than the app allows."""

    description = "The request body is larger than the server allows."


class BodyState(enum.Enum):
    """Where a body is."""

    __hash__ = object.__hash__  # PERF: an Enum's own hashes the name, in Python

    UNREAD = "unread"  # nothing, or not yet all of it, has come
    BUFFERED = "buffered"  # all of it is here and can be read
    STREAMED = "streamed"  # it was handed on piece by piece and is not kept
    FAILED = "failed"  # too long, too short, or given up


class BodyStateError(RuntimeError):
    """A body was asked for something that its state does not allow: an error of the calling code."""


# What may happen to a body, and what it is then; anything else is a BodyStateError.
_AFTER: dict[BodyState, dict[str, BodyState]] = {
    BodyState.UNREAD: {
        "feed": BodyState.UNREAD,
        "finish": BodyState.BUFFERED,
        "stream": BodyState.STREAMED,
        "fail": BodyState.FAILED,
    },
    BodyState.BUFFERED: {"fail": BodyState.FAILED},
    BodyState.STREAMED: {"fail": BodyState.FAILED},
    BodyState.FAILED: {"fail": BodyState.FAILED},
}


def declared_length(values: Iterable[str | bytes]) -> int | None:
    """The body's length from the Content-Length fields of a request, None without any.

    Args:
        values: the value of each Content-Length field line, in order.

    Raises:
        InvalidLength: a value is not digits only, or two values differ.

    Source: RFC 9110 §8.6; identical duplicates are taken as one, as it permits.
    """
    length: int | None = None
    for value in values:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        for member in text.split(","):
            digits = member.strip(" \t")
            # isdigit() alone is true of digits in every script of the world.
            if not (digits.isascii() and digits.isdigit()) or len(digits) > _LONGEST_LENGTH:
                raise InvalidLength
            number = int(digits)
            if length is not None and number != length:
                raise InvalidLength
            length = number
    return length


class BodyMeter:
    """Counts a body's bytes against the limit and against the declared length.

    Args:
        limit: most bytes allowed; None for no limit.
        declared: Content-Length, None when the body is chunked.

    Raises:
        BodyTooLarge: the declared length is over the limit; no byte has been asked for yet.
    """

    __slots__ = ("declared", "limit", "size")

    def __init__(self, limit: int | None = None, declared: int | None = None) -> None:
        self.limit = limit
        self.declared = declared
        self.size = 0
        if limit is not None and declared is not None and declared > limit:
            raise BodyTooLarge

    def count(self, arrived: int) -> None:
        """Count bytes that have come.

        Raises:
            BodyTooLarge: more than the limit.
            BodyOverrun: more than declared.
        """
        self.size += arrived
        if self.limit is not None and self.size > self.limit:
            raise BodyTooLarge
        if self.declared is not None and self.size > self.declared:
            raise BodyOverrun

    def end(self) -> None:
        """Say that no more bytes come.

        Raises:
            BodyTruncated: fewer than declared.
        """
        if self.declared is not None and self.size < self.declared:
            raise BodyTruncated

    async def over(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Hand on *chunks*, counting: a streamed body that raises like a buffered one."""
        async for chunk in chunks:
            self.count(len(chunk))
            yield chunk
        self.end()


class BodyBuffer:
    """Collects a body: in memory to a threshold, then in a temporary file.

    ```python
    body = BodyBuffer(limit=app_limit, declared=declared_length(lengths))
    async for chunk in received:
        body.feed(chunk)
    stream = body.finish()
    ```

    Args:
        limit: most bytes allowed; None for no limit.
        declared: Content-Length, None when the body is chunked.
        memory: bytes kept in memory.

    Raises:
        BodyTooLarge: the declared length is over the limit.
    """

    __slots__ = ("_chunks", "_memory", "_meter", "_stream", "state")

    def __init__(
        self, limit: int | None = None, declared: int | None = None, *, memory: int = MEMORY_THRESHOLD
    ) -> None:
        self._meter = BodyMeter(limit, declared)
        self._memory = memory
        self._chunks: list[bytes] = []
        self._stream: BinaryIO | None = None
        self.state = BodyState.UNREAD

    @property
    def size(self) -> int:
        """Bytes that have come so far."""
        return self._meter.size

    @property
    def is_spooled(self) -> bool:
        """Whether the body lives in a temporary file."""
        return self._stream is not None and not isinstance(self._stream, io.BytesIO)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            BodyTooLarge: more than the limit; what came is dropped.
            BodyOverrun: more than declared; what came is dropped.
        """
        self._pass("feed")
        try:
            self._meter.count(len(chunk))
            if self._stream is not None:
                self._stream.write(chunk)
            elif self._meter.size <= self._memory:
                self._chunks.append(chunk)
            else:
                # cast: what TemporaryFile returns differs by platform, and is a binary file on each.
                spool = tempfile.TemporaryFile("w+b", prefix="carboy-body-")  # noqa: SIM115  # closed by close
                self._stream = cast(BinaryIO, spool)
                self._stream.writelines(self._chunks)
                self._stream.write(chunk)
                self._chunks.clear()
        except BaseException:  # a full disk too: half a body must not be taken for one
            self.close()
            raise

    def finish(self) -> BinaryIO:
        """The whole body as a file, positioned at its start; closing it is the caller's duty, or `close`'s.

        Raises:
            BodyTruncated: fewer bytes came than were declared.
        """
        self._pass("finish")
        try:
            self._meter.end()
            if self._stream is None:
                # PERF: BytesIO shares the bytes object it is given; a body in one chunk is not copied.
                whole = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks.clear()
                self._stream = io.BytesIO(whole)
            else:
                self._stream.seek(0)
        except BaseException:
            self.close()
            raise
        return self._stream

    def hand_on(self) -> BodyMeter:
        """Give the body up to a reader that takes it piece by piece, counting with the meter returned.

        Raises:
            BodyStateError: some of it has been collected already.
        """
        if self.size:
            raise BodyStateError(f"{self.size} bytes are buffered already; stream a body from its first byte or not at all")
        self._pass("stream")
        return self._meter

    def close(self) -> None:
        """Drop the body and its file; may be called at any time, and twice."""
        self._pass("fail")
        self._chunks.clear()
        if self._stream is not None:
            self._stream.close()

    def _pass(self, event: str) -> None:
        try:
            self.state = _AFTER[self.state][event]
        except KeyError:
            raise BodyStateError(f"cannot {event} a request body that is {self.state.value}") from None
