"""multipart/form-data as it comes: parts one after the other, each a stream, nothing kept.

For routes with `stream=True`; a buffered request has its `form` and `files`. Three layers: `MultipartStream` turns
bytes into events; `_Reader` holds the logic, once, as generators that say what they wait for; `AsyncForm` and `Form`
answer them from an asynchronous or a plain iterator of chunks.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, overload

import multipart  # type: ignore[import-untyped]  # it has annotations, but no py.typed
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from .errors import MalformedRequest

T = TypeVar("T")

# Bytes that `save` collects before it writes: in an async form a write is a hop to a thread.
_WRITE_SIZE = 1024 * 1024

# RFC 2046 §5.1.1
_BOUNDARY_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? ")
# RFC 2046 §5.1.1 allows 70 characters; Werkzeug's client makes one of 71 for each two hundredth form.
_LONGEST_BOUNDARY = 128


# MalformedRequest 400
# └── MalformedMultipart     not multipart/form-data as RFC 7578 has it, or cut off
# RequestEntityTooLarge 413
# └── FormTooLarge           over one of the limits; `.limit` names it
# UnsupportedMediaType 415
# └── NotMultipart           another kind of body
# RuntimeError
# └── PartGone               a part was asked for bytes that have gone by: the view's mistake


class MalformedMultipart(MalformedRequest):
    """The body is not multipart/form-data as RFC 7578 has it."""

    description = "The form data is malformed."


class FormTooLarge(RequestEntityTooLarge):
    """The form is over a limit.

    Attributes:
        limit: the field of `FormLimits` that was reached.
    """

    description = "The form data is larger than the server allows."

    def __init__(self, limit: str) -> None:
        super().__init__()
        self.limit = limit


class NotMultipart(UnsupportedMediaType):
    """The request's content type is not multipart/form-data."""

    description = "The request must be multipart/form-data."


class PartGone(RuntimeError):
    """Bytes of a part were asked for after the form went on, or twice."""


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What a form may have; the defaults are Flask's where it has one."""

    #: parts in all
    parts: int = 1_000
    #: header lines of a part
    headers: int = 8
    #: bytes of a header line
    header_size: int = 4_224
    #: bytes of a part that is a field (has no filename), and of whatever `read` takes into memory
    field_size: int = 500_000
    #: bytes of the whole body; None leaves it to the gateway
    total: int | None = None


@dataclass(frozen=True, slots=True)
class PartHead:
    """What stands before a part's bytes."""

    #: the name of the form's field
    name: str
    #: as the client says it, without directories; None for a field. Never use it as a path: see `secure_filename`
    filename: str | None
    content_type: str
    charset: str | None
    headers: Headers = field(repr=False)


#: A part begins, bytes of it, it has ended.
Event = PartHead | bytes | None


def boundary_of(content_type: str | None) -> str:
    """The boundary that a Content-Type header names.

    Raises:
        NotMultipart: it is another type, or there is none.
        MalformedMultipart: the boundary is missing or not one (RFC 2046 §5.1.1).
    """
    kind, options = multipart.parse_options_header(content_type or "")
    if kind.lower() != "multipart/form-data":
        raise NotMultipart
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or boundary[-1] == " " or not _BOUNDARY_CHARACTERS.issuperset(boundary):
        raise MalformedMultipart
    return str(boundary)


class MultipartStream:
    """Bytes of a form in, events out.

    ```python
    form = MultipartStream(boundary_of(content_type))
    for chunk in chunks:
        for event in form.feed(chunk):
            ...
    form.end()
    ```
    """

    def __init__(self, boundary: str, limits: FormLimits = FormLimits()) -> None:
        self._limits = limits
        self._fed = 0
        self._is_broken = False
        # A part may go on in the next chunk: what it is and how much of it has come.
        self._is_field = False
        self._size = 0
        # NOTE: its strict mode raises for an epilogue, but only where that begins a chunk of its own.
        self._parser = multipart.PushMultipartParser(
            boundary,
            max_header_count=limits.headers,
            max_header_size=limits.header_size,
            max_segment_count=limits.parts,
        )

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that *chunk* completes; take them all before the next chunk.

        Raises:
            MalformedMultipart: the bytes are no form.
            FormTooLarge: they are over a limit.
        """
        try:
            yield from self._parse(chunk)
        except multipart.ParserLimitReached as error:
            self._is_broken = True
            raise FormTooLarge("headers" if "header" in str(error) else "parts") from error
        except multipart.MultipartError as error:
            self._is_broken = True
            raise MalformedMultipart from error
        except HTTPException:
            self._is_broken = True
            raise

    def _parse(self, chunk: bytes) -> Iterator[Event]:
        if self._is_broken:
            raise MalformedMultipart
        limits = self._limits
        self._fed += len(chunk)
        if limits.total is not None and self._fed > limits.total:
            raise FormTooLarge("total")
        if not chunk:
            return  # to the parser it would be the end
        for event in self._parser.parse(chunk):
            if isinstance(event, multipart.MultipartSegment):
                head = _head(event)
                self._is_field, self._size = head.filename is None, 0
                yield head
            elif event is None:
                yield None
            else:
                self._size += len(event)
                if self._is_field and self._size > limits.field_size:
                    raise FormTooLarge("field_size")
                yield event

    def end(self) -> None:
        """Say that the body has ended.

        Raises:
            MalformedMultipart: the closing boundary is missing.
        """
        if self._is_broken:
            raise MalformedMultipart
        try:
            self._parser.close()
        except multipart.MultipartError as error:
            self._is_broken = True
            raise MalformedMultipart from error


def _head(segment: multipart.MultipartSegment) -> PartHead:
    names = [name.lower() for name, _ in segment.headerlist]
    # RFC 7578 §4.2: every part has a name.
    if not segment.name or len(names) != len(set(names)):
        # Two Content-Dispositions are two names: a filter in front may have read the other one.
        raise MalformedMultipart
    return PartHead(
        name=segment.name,
        filename=segment.filename,
        content_type=segment.content_type or "text/plain",
        charset=segment.charset,
        headers=Headers(segment.headerlist),
    )


# ── the logic, written once ─────────────────────────────────────────────────────────────────────────────────

# A step yields None when it needs the next chunk of the body (and is sent it, b"" at the end), or a call that may
# block, to be made wherever blocking is allowed.
_Wish = Callable[[], object] | None
_Steps = Generator[_Wish, bytes, T]

_END = object()


class _Reader:
    """Walks through a form's events, part by part."""

    def __init__(self, stream: MultipartStream, limits: FormLimits) -> None:
        self.stream = stream
        self.limits = limits
        self.events: Iterator[Event] = iter(())
        self.part: int = 0  # the number of the part whose bytes come next
        self.in_part = False

    def event(self) -> _Steps[Any]:
        """The next event, or _END."""
        while True:
            for event in self.events:
                return event
            chunk = yield None
            if not chunk:
                self.stream.end()
                return _END
            self.events = self.stream.feed(chunk)

    def next_part(self) -> _Steps[tuple[int, PartHead] | None]:
        """Skip what is left of this part; the next one's number and head, None after the last."""
        while True:
            event = yield from self.event()
            if event is _END:
                self.part, self.in_part = -1, False
                return None
            if isinstance(event, PartHead):
                self.part += 1
                self.in_part = True
                return self.part, event

    def next_bytes(self, part: int) -> _Steps[bytes]:
        """More bytes of a part, b"" when it has ended."""
        if part != self.part:
            raise PartGone("this part of the form has gone by; read or save a part before going on to the next one")
        if not self.in_part:
            return b""
        event = yield from self.event()
        if isinstance(event, bytes):
            return event
        self.in_part = False
        return b""

    def read(self, part: int, limit: int | None) -> _Steps[bytes]:
        if part == self.part and not self.in_part:
            raise PartGone("this part of the form has been read already; keep what read() returned")
        limit = self.limits.field_size if limit is None else limit
        pieces: list[bytes] = []
        size = 0
        while piece := (yield from self.next_bytes(part)):
            size += len(piece)
            if size > limit:
                raise FormTooLarge("field_size")
            pieces.append(piece)
        return b"".join(pieces)

    def copy(self, part: int, file: BinaryIO) -> _Steps[int]:
        """Write a part's bytes to *file*; their number."""
        if part == self.part and not self.in_part:
            raise PartGone("this part of the form has been read already; save it before reading it")
        written = 0
        waiting: deque[bytes] = deque()
        held = 0

        def write() -> None:
            file.writelines(waiting)
            waiting.clear()

        while piece := (yield from self.next_bytes(part)):
            waiting.append(piece)
            held += len(piece)
            written += len(piece)
            if held >= _WRITE_SIZE:
                yield write
                held = 0
        if waiting:
            yield write
        return written

    def save(self, part: int, target: str | os.PathLike[str]) -> _Steps[int]:
        """Put a part's bytes into a file that is there whole or not at all; their number."""
        path = Path(target)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        file = draft.open("xb")
        try:
            written = yield from self.copy(part, file)
            yield file.close
            draft.replace(path)
        except BaseException:
            file.close()
            draft.unlink(missing_ok=True)
            raise
        return written


def _text(content: bytes, charset: str | None) -> str:
    try:
        return content.decode(charset or "utf-8")
    except (ValueError, LookupError) as error:  # a charset of NUL bytes is a ValueError
        raise MalformedMultipart from error


# ── the same for two kinds of callers ───────────────────────────────────────────────────────────────────────


class _PartFace:
    """What both kinds of parts show of their head."""

    def __init__(self, number: int, head: PartHead) -> None:
        self._number = number
        self.head = head

    @property
    def name(self) -> str:
        """The name of the form's field."""
        return self.head.name

    @property
    def filename(self) -> str | None:
        """The file's name as the client says it, None for a plain field; never use it as a path."""
        return self.head.filename

    @property
    def content_type(self) -> str:
        """The media type the client says, without parameters; `text/plain` if it says nothing."""
        return self.head.content_type

    @property
    def headers(self) -> Headers:
        """All headers of the part."""
        return self.head.headers

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}{f' file {self.filename!r}' if self.filename is not None else ''}>"


class AsyncForm:
    """The parts of a form that arrives asynchronously; made by `stream_form`."""

    def __init__(self, chunks: AsyncIterable[bytes], reader: _Reader) -> None:
        self._chunks = aiter(chunks)
        self._reader = reader

    def __aiter__(self) -> AsyncIterator[AsyncPart]:
        return self

    async def __anext__(self) -> AsyncPart:
        found = await self._do(self._reader.next_part())
        if found is None:
            raise StopAsyncIteration
        return AsyncPart(self, *found)

    async def _do(self, steps: _Steps[T]) -> T:
        try:
            wish = next(steps)
            while True:
                if wish is None:
                    wish = steps.send(await anext(self._chunks, b""))
                else:
                    await asyncio.to_thread(wish)
                    wish = steps.send(b"")
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the steps' return type is T
        finally:
            steps.close()


class AsyncPart(_PartFace):
    """A part of an `AsyncForm`: its head, and its bytes while the form stands at it."""

    def __init__(self, form: AsyncForm, number: int, head: PartHead) -> None:
        super().__init__(number, head)
        self._form = form

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._form._do(self._form._reader.next_bytes(self._number)):
            yield chunk

    async def read(self, limit: int | None = None) -> bytes:
        """The part's bytes, in memory.

        Args:
            limit: most bytes taken; `FormLimits.field_size` unless given.

        Raises:
            FormTooLarge: the part is longer.
            PartGone: it was read before, or the form has gone on.
        """
        return await self._form._do(self._form._reader.read(self._number, limit))

    async def text(self, limit: int | None = None) -> str:
        """The part's bytes as text, in the charset it names or UTF-8."""
        return _text(await self.read(limit), self.head.charset)

    async def save(self, target: str | os.PathLike[str] | BinaryIO) -> int:
        """Write the part to a path (whole or not at all) or an open file; the number of bytes.

        The writing is done in a thread, a megabyte at a time.
        """
        reader = self._form._reader
        if isinstance(target, str | os.PathLike):
            return await self._form._do(reader.save(self._number, target))
        return await self._form._do(reader.copy(self._number, target))


class Form:
    """The parts of a form that is read from a plain iterator; made by `stream_form`."""

    def __init__(self, chunks: Iterable[bytes], reader: _Reader) -> None:
        self._chunks = iter(chunks)
        self._reader = reader

    def __iter__(self) -> Iterator[Part]:
        return self

    def __next__(self) -> Part:
        found = self._do(self._reader.next_part())
        if found is None:
            raise StopIteration
        return Part(self, *found)

    def _do(self, steps: _Steps[T]) -> T:
        try:
            wish = next(steps)
            while True:
                if wish is None:
                    wish = steps.send(next(self._chunks, b""))
                else:
                    wish()
                    wish = steps.send(b"")
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the steps' return type is T
        finally:
            steps.close()


class Part(_PartFace):
    """A part of a `Form`: its head, and its bytes while the form stands at it."""

    def __init__(self, form: Form, number: int, head: PartHead) -> None:
        super().__init__(number, head)
        self._form = form

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._form._do(self._form._reader.next_bytes(self._number)):
            yield chunk

    def read(self, limit: int | None = None) -> bytes:
        """The part's bytes, in memory; see `AsyncPart.read`."""
        return self._form._do(self._form._reader.read(self._number, limit))

    def text(self, limit: int | None = None) -> str:
        """The part's bytes as text, in the charset it names or UTF-8."""
        return _text(self.read(limit), self.head.charset)

    def save(self, target: str | os.PathLike[str] | BinaryIO) -> int:
        """Write the part to a path (whole or not at all) or an open file; the number of bytes."""
        reader = self._form._reader
        if isinstance(target, str | os.PathLike):
            return self._form._do(reader.save(self._number, target))
        return self._form._do(reader.copy(self._number, target))


@overload
def stream_form(chunks: AsyncIterable[bytes], content_type: str | None, limits: FormLimits = ...) -> AsyncForm: ...
@overload
def stream_form(chunks: Iterable[bytes], content_type: str | None, limits: FormLimits = ...) -> Form: ...
def stream_form(
    chunks: AsyncIterable[bytes] | Iterable[bytes],
    content_type: str | None,
    limits: FormLimits = FormLimits(),
) -> AsyncForm | Form:
    """Read a multipart form while it arrives.

    ```python
    async for part in stream_form(chunks, request.headers.get("Content-Type")):
        if part.filename:
            await part.save(uploads / secure_filename(part.filename))
        else:
            fields[part.name] = await part.text()
    ```

    Args:
        chunks: the body; what it raises goes through.
        content_type: the request's Content-Type header.
        limits: see `FormLimits`.

    Raises:
        NotMultipart: it is another kind of body (415).
        MalformedMultipart: now for its boundary, or while reading (400).
        FormTooLarge: while reading (413).
    """
    reader = _Reader(MultipartStream(boundary_of(content_type), limits), limits)
    if isinstance(chunks, AsyncIterable):
        return AsyncForm(chunks, reader)
    return Form(chunks, reader)
