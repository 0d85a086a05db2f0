"""What the async doors share: a response's headers and the kinds of its body."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response as WerkzeugResponse

from ..pipeline.offload import offload
from ..wire.files import FilePayload
from ..wire.response import HeaderPairs, is_bodiless

#: Most bytes of a stream that are collected before they are sent, where a protocol has no back-pressure.
MOST_SPOOLED = 64 * 1024 * 1024
#: Bytes of events after which their stream is ended there: a client that does not read has so much of this process's memory.
MOST_EVENTS = 1024 * 1024


def is_event_stream(headers: HeaderPairs) -> bool:
    """Whether a response, its names lower-case, is a stream of events, whose client comes back when it ends."""
    return any(name == "content-type" and value.startswith("text/event-stream") for name, value in headers)


def makes_own_output(response: Any) -> bool:
    """Whether a guest's response class writes itself in WSGI's way, so that it must be asked to."""
    kind = type(response)
    return (
        kind.__call__ is not WerkzeugResponse.__call__
        or kind.get_wsgi_response is not WerkzeugResponse.get_wsgi_response
        or kind.get_app_iter is not WerkzeugResponse.get_app_iter
    )


def is_whole(response: Any) -> bool:
    """Whether the body is there in one list, and nothing is to be done when it has been sent."""
    kind = type(response)
    return (
        type(response.response) is list
        and not response._on_close
        and kind.close is WerkzeugResponse.close
        and kind.iter_encoded is WerkzeugResponse.iter_encoded
    )


def joined(body: list[str | bytes] | tuple[str | bytes, ...]) -> bytes:
    """A whole body's bytes."""
    return b"".join([item.encode() if isinstance(item, str) else item for item in body])


def is_empty(response: Any, method: str) -> bool:
    """Whether no body goes out: HEAD, 1xx, 204, 304."""
    return method == "HEAD" or is_bodiless(response.status_code)


async def close(response: Any, body: Any) -> None:
    """Close a body and its response: a generator's `finally` blocks run, files are let go."""
    try:
        if type(body) is FilePayload:
            body.close()  # a local file's close is shorter than a hop to a thread
        elif (aclose := getattr(body, "aclose", None)) is not None:
            await aclose()
        elif (closer := getattr(body, "close", None)) is not None:
            await offload(closer)
    finally:
        on_close = getattr(response, "_on_close", None)
        for function in on_close or ():
            await offload(function)
