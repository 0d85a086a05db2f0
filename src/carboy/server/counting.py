"""Counting the requests of a WSGI application from outside, streamed bodies included.

Used by the two sync doors, granian's WSGI and FastCGI; many threads call at once, so counting takes a lock
(0.1 µs of a request's 14).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .tally import Tally

# PEP 3333; the environ and exc_info are a stranger's.
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

CLOSE = ("connection", "close")


def counted(app: WSGIApp, tally: Tally) -> WSGIApp:
    """Count what begins and ends; have answers close their connections while the worker leaves, or has too many."""
    lock = threading.Lock()

    def ended() -> None:
        with lock:
            tally.answered += 1

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            tally.started += 1
        try:
            body = app(environ, closing_start(start_response) if tally.closing and tally.closes() else start_response)
        except BaseException:
            ended()
            raise
        if isinstance(body, list):
            ended()
            return body
        return CountedBody(body, ended)

    return call


def closing_start(start_response: Callable[..., Any]) -> Callable[..., Any]:
    """Say `Connection: close` with the answer."""

    def closing(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return start_response(status, [*(each for each in headers if each[0].lower() != "connection"), CLOSE], exc_info)

    return closing


class CountedBody:
    """A WSGI body that tells when it is through, once."""

    def __init__(self, inner: Iterable[bytes], ended: Callable[[], None]) -> None:
        self.inner = inner
        self.ended: Callable[[], None] | None = ended

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.inner)

    def close(self) -> None:
        try:
            close = getattr(self.inner, "close", None)
            if close is not None:
                close()
        finally:
            ended, self.ended = self.ended, None
            if ended is not None:
                ended()
