"""The CGI and FastCGI doors without a web server: variables and bytes go in, CGI output comes out and is read.

The gateways are the real ones. A CGI request runs in a thread of its own, in place of a process; FastCGI goes through
a socket to one server for the whole test run. An error that the app lets out is raised in the test, as on every
door, though in production these two answer 500 for it.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import queue
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from struct import Struct
from typing import IO, Any, Final

from ..gateways import cgi
from ..gateways.fastcgi import FastCGIServer
from ..wire import fastcgi as wire
from .crossing import (
    BODILESS,
    LARGEST_PIECE,
    DoorViolation,
    Environ,
    Upload,
    WSGICallable,
)

# Records of parameters are cut at this many bytes: names and values then lie across the joints.
PARAMS_PIECE: Final = 500
# Largest body held in memory while a web server would buffer it.
SPOOL: Final = 1024 * 1024
TICKET: Final = "CARBOY_TEST_TICKET"

_HEADER: Final = Struct("!BBHHBx")  # version, type, request id, content length, padding length, reserved
_END: Final = object()


class Watched:
    """The app, seen from outside: which error it let out, and with the caller's context variables around it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.error: BaseException | None = None
        self._context = contextvars.copy_context()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterator[bytes]:
        return WatchedBody(self, self.run(self.app, environ, start_response))

    def run(self, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return self._context.run(call, *args)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


class WatchedBody(Iterator[bytes]):
    """The body that the app returned, iterated and closed where the app was called."""

    def __init__(self, watched: Watched, body: Iterable[bytes]) -> None:
        self._watched = watched
        self._body = body
        self._pieces: Iterator[bytes] = watched.run(iter, body)

    def __next__(self) -> bytes:
        piece: bytes = self._watched.run(next, self._pieces)
        return piece

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            self._watched.run(close)


class Output:
    """What a gateway sends, head and body, as the web server gets it: `read` until it is empty."""

    #: The output ended as it should; known at its end.
    is_whole = False

    def read(self) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class CGIOutput(Output):
    """One run of the CGI gateway, in a thread; its standard output is a queue of two places."""

    def __init__(self, watched: Watched, variables: dict[str, str], stdin: IO[bytes]) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(2)
        self._left = False
        self._thread = threading.Thread(target=self._run, args=(watched, variables, stdin), name="carboy-test-cgi", daemon=True)
        self._thread.start()

    def _run(self, watched: Watched, variables: dict[str, str], stdin: Any) -> None:
        try:
            self.is_whole = cgi.run(watched, stdin=stdin, stdout=self, environ=variables) == 0  # type: ignore[arg-type]  # of a file it uses write and flush
        except BaseException as error:  # noqa: BLE001  # raised again in the test
            watched.error = watched.error or error
        finally:
            self._put(_END)

    def write(self, data: bytes) -> int:
        self._put(bytes(data))
        if self._left:
            raise BrokenPipeError("the web server has gone")
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def _put(self, item: Any) -> None:
        while not self._left:
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.05)
                return

    def read(self) -> bytes:
        item = self._queue.get()
        if item is _END:
            self._thread.join()
            return b""
        return item  # type: ignore[no-any-return]  # the queue holds bytes, and _END

    def close(self) -> None:
        self._left = True
        self._thread.join()


class FastCGIOutput(Output):
    """One request on a connection of its own to the FastCGI server."""

    def __init__(self, variables: dict[str, str], stdin: IO[bytes]) -> None:
        self._connection = socket.create_connection(backend.address())
        self._input = self._connection.makefile("rb")
        params = wire.encode_pairs((name.encode(), os.fsencode(value)) for name, value in variables.items())
        # A server that refuses in the middle has closed its end; what it said is there to be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(wire.RecordType.BEGIN_REQUEST, b"\0\1\0\0\0\0\0\0")
            for at in range(0, len(params), PARAMS_PIECE):
                self._send(wire.RecordType.PARAMS, params[at : at + PARAMS_PIECE])
            self._send(wire.RecordType.PARAMS)
            while piece := stdin.read(min(LARGEST_PIECE, wire.STEP)):
                self._send(wire.RecordType.STDIN, piece)
            self._send(wire.RecordType.STDIN)

    def _send(self, kind: int, content: bytes = b"") -> None:
        self._connection.sendall(wire.record(kind, 1, content))

    def read(self) -> bytes:
        while len(head := self._input.read(_HEADER.size)) == _HEADER.size:
            _, kind, _, size, padding = _HEADER.unpack(head)
            content = self._input.read(size + padding)[:size]
            if kind == wire.RecordType.STDOUT and content:
                return content
            if kind == wire.RecordType.END_REQUEST:
                self.is_whole = content[:5] == bytes(5)
                break
        self.close()
        return b""

    def close(self) -> None:
        self._input.close()
        self._connection.close()


class FastCGIBackend:
    """One FastCGI server for all apps under test; a request's ticket says whose it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._numbers = itertools.count()
        self._expected: dict[str, Watched] = {}

    def address(self) -> tuple[str, int]:
        """Where it listens; started when first asked for."""
        with self._lock:
            if self._socket is None:
                self._socket = socket.create_server(("127.0.0.1", 0))
                server = FastCGIServer(self._dispatch, self._socket)
                threading.Thread(target=server.serve_forever, name="carboy-test-fastcgi", daemon=True).start()
            host, port = self._socket.getsockname()[:2]
            return host, port

    def expect(self, watched: Watched) -> str:
        """Give the ticket with which a request comes to *watched*."""
        ticket = str(next(self._numbers))
        self._expected[ticket] = watched
        return ticket

    def _dispatch(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._expected.pop(environ.pop(TICKET))(environ, start_response)


class Body(Iterator[bytes]):
    """The body of an answer out of a gateway."""

    def __init__(self, output: Output, watched: Watched, first: bytes) -> None:
        self._output = output
        self._watched = watched
        self._pieces = [first] if first else []
        self._ended = False

    def settle(self, length: int) -> None:
        """Read on until *length* bytes are here, then to the end: the app has then finished with the request."""
        have = sum(map(len, self._pieces))
        while have < length and self._more():
            have += len(self._pieces[-1])
        if have >= length:
            while self._more():
                pass

    def __next__(self) -> bytes:
        if not self._pieces and not self._more():
            raise StopIteration
        return self._pieces.pop(0)

    def _more(self) -> bool:
        if self._ended:
            return False
        piece = self._output.read()
        if piece:
            self._pieces.append(piece)
            return True
        self._ended = True
        if self._watched.error is not None:
            raise self._watched.error
        if not self._output.is_whole:
            raise DoorViolation("the answer was cut")
        return False

    def close(self) -> None:
        """Hang up, if the end has not come."""
        if not self._ended:
            self._ended = True
            self._output.close()

    def __del__(self) -> None:
        # A test that looks at the status alone drops the answer without closing it.
        self.close()


def through_cgi(app: Any) -> WSGICallable:
    """Carry each request through the CGI gateway: variables and standard input, standard output."""
    return _through(app, lambda watched, variables, stdin: CGIOutput(watched, variables, stdin))


def through_fastcgi(app: Any) -> WSGICallable:
    """Carry each request through a FastCGI server, over a socket."""

    def make(watched: Watched, variables: dict[str, str], stdin: IO[bytes]) -> Output:
        return FastCGIOutput({**variables, TICKET: backend.expect(watched)}, stdin)

    return _through(app, make)


def _through(app: Any, make: Callable[[Watched, dict[str, str], IO[bytes]], Output]) -> WSGICallable:
    def call(environ: Environ, start_response: Callable[..., Any]) -> Body:
        watched = Watched(app)
        with tempfile.SpooledTemporaryFile(SPOOL) as stdin:
            size = _buffered(environ, stdin)
            output = make(watched, variables_of(environ, size), stdin)
            status, headers, rest = read_head(output, watched)
        start_response(status, headers)
        body = Body(output, watched, rest)
        if environ["REQUEST_METHOD"] == "HEAD" or int(status[:3]) in BODILESS:
            body.settle(0)
        else:
            for name, value in headers:
                if name.lower() == "content-length":
                    body.settle(int(value))
        return body

    return call


def _buffered(environ: Environ, into: Any) -> int:
    """Copy the body, as a web server does before it calls a gateway; give the length to be announced."""
    upload = Upload(environ)
    have = 0
    while not upload.done:
        have += into.write(upload.read())
    into.seek(0)
    return have if upload.announced is None else upload.announced


def variables_of(environ: Environ, length: int) -> dict[str, str]:
    """Give the CGI variables of a request: what of *environ* is text, as an operating system would hand it over."""
    variables = {
        name: os.fsdecode(value.encode("latin-1"))
        for name, value in environ.items()
        if isinstance(value, str) and "." not in name and name != "HTTP_TRANSFER_ENCODING"
    }
    if length or variables.get("CONTENT_LENGTH", "").isdigit():
        variables["CONTENT_LENGTH"] = str(length)
    if environ["wsgi.url_scheme"] == "https":
        variables["HTTPS"] = "on"
    variables["GATEWAY_INTERFACE"] = "CGI/1.1"
    return variables


def read_head(output: Output, watched: Watched) -> tuple[str, list[tuple[str, str]], bytes]:
    """Read the head of CGI output; give status line, headers, and what of the body came with it."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        piece = output.read()
        if not piece:
            if watched.error is not None:
                raise watched.error
            raise DoorViolation(f"the output ended before its head did: {seen!r}")
        seen += piece
    if watched.error is not None:
        # The gateway has answered 500 for it; a test wants to see the error.
        output.close()
        raise watched.error
    head, _, rest = seen.partition(b"\r\n\r\n")
    status, headers = "200 OK", []
    for line in head.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon:
            raise DoorViolation(f"no header line: {line!r}")
        if name.lower() == "status":
            status = value.strip()
        else:
            headers.append((name, value.strip()))
    return status, headers, rest


backend = FastCGIBackend()


def _forget_backend() -> None:
    """A forked child has not the parent's threads."""
    global backend
    backend = FastCGIBackend()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_backend)
