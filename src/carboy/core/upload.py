"""A request's body read while it comes: `request.chunks()` and `request.stream_form()`.

Each is iterated with `for` in a `def` view and with `async for` in an `async def` view. Where the pieces come from is
the gateways' business (`gateways/arriving.py`); forms are taken apart in `wire/multipart.py`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..wire.multipart import AsyncForm, AsyncPart, Form, FormLimits, Part

_CHUNK = 64 * 1024


class Chunks:
    """The body's pieces, in the order and sizes in which they come; made by `request.chunks()`.

    Raises, while iterated:
        HTTPException: 413 for a body over the limit, 400 for one that is broken or breaks off.
        RuntimeError: the body has been read as a form, or the view is of the other colour.
    """

    def __init__(self, request: Any) -> None:
        self.request = request

    def __aiter__(self) -> AsyncIterator[bytes]:
        request = self.request
        incoming = request.incoming
        if incoming is None and getattr(getattr(request.stream, "raw", None), "is_filled_by_loop", False):
            raise RuntimeError("this body is read by a `def` view: use `for`, not `async for`")
        return self.awaited() if incoming is not None else self.kept()

    async def awaited(self) -> AsyncIterator[bytes]:
        incoming = self.request.incoming
        while piece := await incoming.next():
            yield piece

    async def kept(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def __iter__(self) -> Iterator[bytes]:
        request = self.request
        if request.incoming is not None:
            raise RuntimeError("the body of this request is still coming, and this is an `async def` view: use `async for`, not `for`")
        state = request.__dict__
        if "form" in state:
            raise RuntimeError("the body of this request has been read as a form; take request.form and request.files")
        data = state.get("_cached_data")
        if data is not None:
            return iter([data] if data else [])
        return self.read(request.stream)

    def read(self, stream: Any) -> Iterator[bytes]:
        # What has come, rather than as much as was asked for.
        read = getattr(stream, "read1", stream.read)
        while piece := read(_CHUNK):
            yield piece


class FormParts:
    """The parts of a multipart form, each a stream; made by `request.stream_form()`.

    `async for part in …` gives `AsyncPart`s, `for part in …` gives `Part`s.
    """

    def __init__(self, request: Any, limits: FormLimits) -> None:
        from ..wire.multipart import boundary_of

        self.request = request
        self.limits = limits
        self.content_type: str | None = request.header("content-type")
        boundary_of(self.content_type)  # what is no form is refused now

    def __aiter__(self) -> AsyncIterator[AsyncPart]:
        from ..wire.multipart import stream_form

        form: AsyncForm = stream_form(aiter(self.request.chunks()), self.content_type, self.limits)
        return aiter(form)

    def __iter__(self) -> Iterator[Part]:
        from ..wire.multipart import stream_form

        form: Form = stream_form(iter(self.request.chunks()), self.content_type, self.limits)
        return iter(form)


def limits_of(request: Any) -> FormLimits:
    """A form's limits as the request's own settings have them; the whole body's is the door's."""
    from ..wire.multipart import FormLimits

    parts, field_size = request.max_form_parts, request.max_form_memory_size
    # Any: without a limit, infinity stands where a number would.
    unlimited: Any = math.inf
    return FormLimits(parts=unlimited if parts is None else parts, field_size=unlimited if field_size is None else field_size)
