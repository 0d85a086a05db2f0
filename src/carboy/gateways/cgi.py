"""The CGI door, and the rules that every CGI-like door shares: one process a request here, one server in `fastcgi`.

An app is any WSGI callable; of Carboy's it is known only that they may be asked for their limit of a body. Rules:

1. The body is here, whole and as long as declared, before the app is called; otherwise the answer is 400 or 413.
2. An answer is complete or visibly cut. What goes wrong before its first byte becomes a 500.
3. A header that would speak for the connection (hop-by-hop), or for us (`Status`), does not leave by this door.

Sources: RFC 3875 (CGI/1.1), PEP 3333 (WSGI 1.0.1).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, BinaryIO, Final
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import HTTPException

from ..wire.body import BodyBuffer, declared_length

__all__ = ["APPS_OWN", "CHUNK", "ClientGone", "Reply", "answer", "complete_environ", "limit_of", "run"]

#: Bytes of a body that an app gets which does not tell its own limit.
MAX_BODY: Final = 16 * 1024 * 1024
#: As a limit of a body: whatever the app takes.
APPS_OWN: Final = -1
CHUNK: Final = 65_536

log = logging.getLogger(__name__)

# RFC 9110 §7.6.1 and its registry; "status" would be read as our own status line.
DROPPED: Final = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "trailers", "transfer-encoding", "upgrade", "status"),
    )
)
_STATUS: Final = re.compile(r"[1-9]\d\d(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class ClientGone(Exception):
    """Nobody reads the answer any more. Raised by a door's write; ends the app's iterable, not the door."""


class Reply:
    """An answer on its way out: WSGI's `start_response` in, CGI output through `write`.

    Args:
        method: of the request; the answer to HEAD has no body.
        write: takes bytes, may wait, raises `ClientGone`.
    """

    __slots__ = ("_head", "_left", "_method", "_write", "has_begun", "is_bodyless", "is_complete")

    def __init__(self, method: str, write: Callable[[bytes], object]) -> None:
        self._method = method
        self._write = write
        self._head = b""
        self._left: int | None = None  # bytes the app has yet to give, by its own Content-Length
        self.has_begun = False
        self.is_bodyless = False
        self.is_complete = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Take status and headers; they leave with the first byte of the body, or at the end.

        Raises:
            ValueError: a status, name or value that HTTP cannot carry; nothing of it is sent.
            RuntimeError: called a second time without exc_info.
        """
        if exc_info is not None:
            if self.has_begun and exc_info[1] is not None:
                raise exc_info[1].with_traceback(exc_info[2])
        elif self._head:
            raise RuntimeError("start_response was called twice; only an error handler may, with exc_info=")
        if not _STATUS.fullmatch(status):
            raise ValueError(f"the status {status!r} is not like '200 OK'")
        lines = [f"Status: {status}"]
        left = None
        has_no_content = status.startswith(("1", "204"))
        for name, value in headers:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r}: {value!r} has a character that a header may not have")
            lower = name.lower()
            if lower == "content-length":
                left = declared_length([value])
                if has_no_content:  # RFC 9110 §8.6
                    continue
            if lower not in DROPPED:
                lines.append(f"{name}: {value}")
        self._head = "\r\n".join((*lines, "", "")).encode("latin-1")
        self._left = left
        self.is_bodyless = has_no_content or status.startswith("304") or self._method == "HEAD"
        return self.send

    def send(self, chunk: bytes) -> None:
        """Send a part of the body; what exceeds the declared Content-Length is dropped."""
        if not self._head:
            raise RuntimeError("the app gave a part of the body before it called start_response")
        if self._left is not None:
            chunk = chunk[: self._left]
            self._left -= len(chunk)
        if not chunk or self.is_bodyless:
            return
        if not self.has_begun:
            self.has_begun = True
            if len(chunk) <= CHUNK:  # one write for a small answer; no copy of a large one
                chunk = self._head + chunk
            else:
                self._write(self._head)
        self._write(chunk)

    def finish(self) -> None:
        """Say that the body is complete.

        Raises:
            RuntimeError: it is not: the app gave less than its Content-Length, or never called start_response.
        """
        if not self._head:
            raise RuntimeError("the app returned without calling start_response")
        if self._left and not self.is_bodyless:
            raise RuntimeError(f"the app declared a Content-Length and gave {self._left} bytes less")
        if not self.has_begun:
            self.has_begun = True
            self._write(self._head)
        self.is_complete = True

    def refuse(self, code: int, text: str = "") -> None:
        """Answer without the app, in place of whatever it had prepared."""
        status = HTTPStatus(code)
        body = f"{code} {status.phrase}\n{text}\n".rstrip("\n").encode() + b"\n"
        self._head = b""
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("Retry-After", "1"))
        self.start_response(f"{code} {status.phrase}", headers)
        self.send(body)
        self.finish()


def answer(app: WSGIApplication, environ: WSGIEnvironment, write: Callable[[bytes], object]) -> bool:
    """Call the app and send what it answers; its iterable is closed whatever happens.

    Returns:
        Whether the answer is complete. If not, the door must cut it so that the web server sees it.
    """
    reply = Reply(environ["REQUEST_METHOD"], write)
    try:
        chunks = app(environ, reply.start_response)
        try:
            if not reply.is_bodyless:
                for chunk in chunks:
                    reply.send(chunk)
                    if reply.is_bodyless:  # a generator has only now called start_response
                        break
            reply.finish()
        finally:
            close: Callable[[], object] | None = getattr(chunks, "close", None)
            if close is not None:
                close()
    except ClientGone:
        log.debug("the client left: %s %r", environ["REQUEST_METHOD"], environ["PATH_INFO"])
    except Exception:
        log.exception("error in the app: %s %r", environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if not reply.has_begun:
            with contextlib.suppress(ClientGone):
                reply.refuse(500)
    return reply.is_complete


def complete_environ(environ: WSGIEnvironment, *, body: BinaryIO, errors: Any, size: int, **flags: bool) -> None:
    """Add to CGI variables (latin-1 strings) what PEP 3333 asks for, in place.

    Args:
        body: the whole body, at its start.
        errors: a text stream; Any, as sys.stderr may be replaced by whatever can write.
        size: bytes in body; becomes CONTENT_LENGTH where a chunked request has none.
        flags: multithread, multiprocess, run_once.
    """
    environ.setdefault("REQUEST_METHOD", "GET")
    environ.setdefault("SCRIPT_NAME", "")
    environ.setdefault("PATH_INFO", "")
    environ.setdefault("QUERY_STRING", "")
    is_https = environ.get("HTTPS", "").lower() in {"on", "1", "true"} or environ.get("REQUEST_SCHEME") == "https"
    for name, value in (
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "443" if is_https else "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
    ):
        environ[name] = environ.get(name) or value  # PEP 3333: never empty
    # PEP 3333 has these two without the prefix; web servers send an empty one for "none".
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        environ.pop(f"HTTP_{name}", None)
        if not environ.get(name):
            environ.pop(name, None)
    if size:
        environ["CONTENT_LENGTH"] = str(size)
    environ["wsgi.version"] = (1, 0)
    environ["wsgi.url_scheme"] = "https" if is_https else "http"
    environ["wsgi.input"] = body
    environ["wsgi.input_terminated"] = True
    environ["wsgi.errors"] = errors
    for name in ("multithread", "multiprocess", "run_once"):
        environ[f"wsgi.{name}"] = flags[name]


def limit_of(app: WSGIApplication) -> int | None:
    """Most bytes of a body that an app takes at any of its URLs, None for no limit; 16 MiB for one that does not tell.

    A Carboy app then keeps the limit of each route itself.
    """
    tell: Callable[[], int | None] | None = getattr(app, "largest_body", None)
    return MAX_BODY if tell is None else tell()


def run(
    app: WSGIApplication,
    *,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    environ: Mapping[str, str] | None = None,
    max_body: int | None = APPS_OWN,
) -> int:
    """Answer the one request that this process was started for.

    ```python
    #!/usr/bin/env python3
    import sys
    from carboy.gateways.cgi import run
    from board import app

    sys.exit(run(app))
    ```

    Args:
        app: any WSGI callable.
        stdin: the body; by default the process's own.
        stdout: takes the answer. The process's own by default; what the app prints then goes to stderr.
        environ: by default os.environ.
        max_body: bytes; a longer body is answered with 413. None for no limit; by default what the app takes.

    Returns:
        The exit status: 0, or 1 if the answer was cut.
    """
    source = sys.stdin.buffer if stdin is None else stdin
    sink = sys.stdout.buffer if stdout is None else stdout
    # The operating system's bytes, kept apart by surrogates, are PEP 3333's latin-1 strings.
    wsgi: WSGIEnvironment = {
        name: os.fsencode(value).decode("latin-1")
        for name, value in (os.environ if environ is None else environ).items()
    }

    def write(data: bytes) -> None:
        try:
            sink.write(data)
            sink.flush()
        except OSError as exc:
            if stdout is None:
                # What is left in the buffer must not fail a second time, and aloud, when Python exits.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())
            raise ClientGone from exc

    body = BodyBuffer()
    try:
        # RFC 3875 §4.1.2: without CONTENT_LENGTH there is no body, and stdin may never end.
        length = wsgi.get("CONTENT_LENGTH")
        declared = declared_length([length] if length else []) or 0
        body = BodyBuffer(limit_of(app) if max_body == APPS_OWN else max_body, declared)
        while body.size < declared and (chunk := source.read(min(CHUNK, declared - body.size))):
            body.feed(chunk)
        complete_environ(
            wsgi,
            body=body.finish(),
            errors=sys.stderr,
            size=body.size,
            multithread=False,
            multiprocess=True,
            run_once=True,
        )
        with contextlib.redirect_stdout(sys.stderr) if stdout is None else contextlib.nullcontext():
            return 0 if answer(app, wsgi, write) else 1
    except HTTPException as exc:
        with contextlib.suppress(ClientGone):
            Reply(wsgi.get("REQUEST_METHOD", "GET"), write).refuse(exc.code or 400, exc.description or "")
        return 0
    finally:
        body.close()
