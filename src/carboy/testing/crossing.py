"""What every in-process door needs: a WSGI environ taken apart into what would cross a wire, and a loop to run on.

An environ may hold Python objects; a wire carries a method, a target, header lines and bytes. Whatever has no place
among those does not cross, here as in production.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import IO, Any, TypeAlias, TypeVar
from urllib.parse import quote, unquote_to_bytes, urlsplit

T = TypeVar("T")

# The values of an environ are a server's and a test's own: strangers.
Environ: TypeAlias = dict[str, Any]
WSGICallable: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# A request whose length is known is fed in about this many pieces, so that nobody relies on getting it in one.
PIECES = 3
LARGEST_PIECE = 64 * 1024

# RFC 3986 §3.3: what a path may hold as it is, besides letters and digits.
IN_A_PATH = "/:@!$&'()*+,;=-._~"

# Without a body on the wire, whatever the application says (RFC 9110 §6.4.1).
BODILESS = frozenset({204, 304})


class DoorViolation(RuntimeError):
    """The application broke the rules of the protocol that this door speaks; a real server would break off here."""


class Upload:
    """The body of a request, read piece by piece.

    States: `done` once everything announced has been read; `broken` if the stream ended before that.
    """

    __slots__ = ("announced", "broken", "done", "left", "size", "stream")

    def __init__(self, environ: Environ) -> None:
        self.stream: IO[bytes] = environ.get("wsgi.input") or BytesIO()
        length = str(environ.get("CONTENT_LENGTH", ""))
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        self.broken = False
        if chunked or (not length and environ.get("wsgi.input_terminated")):
            # The end of the stream is the end of the body.
            self.announced: int | None = None
            self.left = -1
            self.size = PIECES
        else:
            # A length that is no number is for the application to refuse; nothing follows it.
            self.announced = int(length) if length.isascii() and length.isdigit() else 0
            self.left = self.announced
            self.size = max(1, min(LARGEST_PIECE, -(-self.announced // PIECES)))
        self.done = self.left == 0

    def read(self) -> bytes:
        """Give the next piece; empty when there is none."""
        if self.done:
            return b""
        piece = self.stream.read(self.size if self.left < 0 else min(self.size, self.left))
        if self.left > 0:
            self.left -= len(piece)
            self.done = self.left == 0
            self.broken = not piece
        elif not piece:
            self.done = True
        else:
            # Few small pieces first, so that joints are met; then large ones, so that a big upload is not slow.
            self.size = min(LARGEST_PIECE, self.size * 4)
        if self.broken:
            self.done = True
        return piece


@dataclass(frozen=True, slots=True)
class Crossing:
    """A request as it is on a wire. Header names are lower-case; header lines of one name may repeat."""

    method: str
    scheme: str
    http_version: str
    root_path: str
    target: bytes
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    server: tuple[str, int]
    client: tuple[str, int] | None


def taken_apart(environ: Environ) -> Crossing:
    """Read from *environ* what a client would have sent and a server would know."""
    root = environ.get("SCRIPT_NAME", "").encode("latin-1")
    full = root + environ.get("PATH_INFO", "").encode("latin-1")
    address = environ.get("REMOTE_ADDR")
    return Crossing(
        method=environ["REQUEST_METHOD"],
        scheme=environ["wsgi.url_scheme"],
        http_version=environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2] or "1.1",
        root_path=root.decode("utf-8", "replace"),
        target=_target(environ, root, full),
        # Servers decode a target that is no UTF-8 with replacement characters: seen in granian 2.8 and uvicorn.
        path=full.decode("utf-8", "replace"),
        query=environ.get("QUERY_STRING", "").encode("latin-1"),
        headers=list(_header_lines(environ)),
        server=(environ.get("SERVER_NAME", "localhost"), int(environ.get("SERVER_PORT") or 80)),
        client=(address, int(environ.get("REMOTE_PORT") or 50000)) if address else None,
    )


def _target(environ: Environ, root: bytes, full: bytes) -> bytes:
    """Give the percent-encoded path; as the test wrote it, where that says the same as PATH_INFO."""
    written = urlsplit(environ.get("REQUEST_URI", "")).path.encode("latin-1")
    for before in (b"", root):
        if before + unquote_to_bytes(written) == full:
            return quote(before + written, safe=IN_A_PATH + "%").encode()
    return quote(full, safe=IN_A_PATH).encode()


def _header_lines(environ: Environ) -> Iterable[tuple[bytes, bytes]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value:
            name = key
        else:
            continue
        line = name.replace("_", "-").lower().encode("latin-1")
        raw = str(value).encode("latin-1")
        # RFC 9113 §8.2.3: HTTP/2 sends a line for each cookie, and the gateway has to join them.
        for crumb in raw.split(b"; ") if name == "COOKIE" else (raw,):
            yield line, crumb


def status_line(status: int) -> str:
    """Give the status as WSGI writes it."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} UNKNOWN"


class LoopThread:
    """One event loop on one daemon thread, which stands for an async server's."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; started when first asked for."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="carboy-test-door", daemon=True).start()
            return self._loop

    def close(self) -> None:
        """End what still runs there; called when the process ends."""
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(timeout=2)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* there, with the caller's context variables, and wait for it."""
        loop = self.loop
        context = contextvars.copy_context()
        return context.run(asyncio.run_coroutine_threadsafe, work, loop).result()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)


background = LoopThread()
# An answer that no test has read to its end is waiting still; it would die with a complaint.
atexit.register(lambda: background.close())


def _forget_loop() -> None:
    """A forked child has not the parent's thread."""
    global background
    background = LoopThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_loop)
