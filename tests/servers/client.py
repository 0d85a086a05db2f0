"""The requests that are sent to every server, bytes as they go on the wire; and the answers, as they compare."""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_to_bytes

#: Headers that belong to the server or the connection, not to the answer.
FRAMING = frozenset({"date", "server", "connection", "keep-alive", "transfer-encoding", "x-request-id"})

HOST = "shop.example"
MEGABYTE = 1 << 20
MULTIPART = "multipart/form-data; boundary=frontier"


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        name: of the test.
        target: what stands in the request line.
        body: None for no body, which is not the same as an empty one.
        chunked: send the body in chunks, without its length.
        status: what the answer must be, also of the reference; None where that is not this test's matter.
        refused: some servers answer or rewrite it themselves, in words of their own.
    """

    name: str
    target: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    chunked: bool = False
    status: int | None = 200
    refused: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back, without the framing."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __str__(self) -> str:
        body = self.body if len(self.body) < 2000 else f"{len(self.body)} bytes, sha256 {sha256(self.body).hexdigest()}"
        return "\n".join([str(self.status), *(f"{name}: {value}" for name, value in self.headers), "", str(body)])


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
    return b"--frontier\r\n" + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


MIXED = part("title", "Über".encode()) + part("tag", b"a") + part("tag", b"b")
UPLOAD = MIXED + part("file", bytes(range(256)) * 4096, "räume.bin") + part("empty", b"", "empty.txt") + b"--frontier--\r\n"
JSON = (("Content-Type", "application/json"),)
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
BINARY = (("Content-Type", "application/octet-stream"),)


def big() -> bytes:
    """50 MB that do not compress into a pattern a fault could hide in."""
    return b"".join(sha256(str(number).encode()).digest() * 1024 for number in range(50 * 32))


def cases(cookie: str, etag: str, modified: str) -> list[Case]:
    """The requests.

    Args:
        cookie: a session cookie, as the app itself signs it.
        etag: of the static file; modified: when it was changed.
    """
    both = [
        Case("text", "/"),
        Case("head of a text", "/", "HEAD"),
        Case("options", "/echo/x", "OPTIONS"),
        Case("not found", "/nowhere", status=404),
        Case("not found, its handler async, with an escape", "/nowhere/%C3%A9%2Fx", status=404),
        Case("head of what is not found", "/nowhere", "HEAD", status=404),
        Case("method not allowed", "/json", "PUT", body=b"", status=405),
        Case("unknown method", "/json", "BREW", status=405),
        Case("bytes", "/bytes"),
        Case("json", "/json"),
        Case("json of an async view", "/async/json", headers=(("X-User", "42"),)),
        Case("no content", "/empty", status=204),
        Case("status and header", "/teapot", status=418),
        Case("redirect", "/to", status=303),
        Case("redirect to the slash", "/slash?a=1&b=%C3%A4", status=308),
        Case("merged slashes", "/echo//double///slash", status=308, refused=True),
        Case("repeated and non-ASCII query", "/echo/q?a=1&a=2&b=%C3%A9&c=a+b&d=%26%3D&e&=f"),
        Case("escapes in the path", "/echo/caf%C3%A9/a%2Fb/%25/a%20b/%E2%98%83"),
        Case("escapes in the path of an async view", "/async/echo/caf%C3%A9%20%2B+?x=%C3%A4&x=%E2%98%83"),
        Case("dots and semicolons in the path", "/echo/a;b=c,d/e.f~g@h:i"),
        Case("path that is not UTF-8", "/echo/%FF%FE", status=400),
        Case("path that is not UTF-8, async", "/async/echo/%C3", status=400),
        Case("query that is not UTF-8", "/echo/q?a=%FF&%FE=b", status=400),
        Case("broken escapes in the query", "/echo/q?a=%zz&b=%&c=%4", status=400),
        Case("odd cookies", "/cookies", headers=(("Cookie", 'a=1; b="x y"; =z; broken; c=%C3%A9; a=2; d="\\303\\251"'),)),
        Case("two cookies set", "/cookies"),
        Case("session read and written", "/visit", headers=(("Cookie", f"session={cookie}"),)),
        Case("session of an async view", "/async/visit", headers=(("Cookie", f"x=y; session={cookie}"),)),
        Case("session that was tampered with", "/visit", headers=(("Cookie", f"session={cookie}x"),)),
        Case("json sent", "/json", "POST", JSON, '{"ä": [1, 2.5, null]}'.encode()),
        Case("json sent to an async view", "/async/json", "POST", JSON, b'{"a": {"b": [1]}}'),
        Case("bad json", "/json", "POST", JSON, b'{"a": ', status=400),
        Case("bad json, async", "/async/json", "POST", JSON, b"\xff\xfe", status=400),
        Case("json of another type", "/json", "POST", FORM, b"{}", status=415),
        Case("form", "/form", "POST", FORM, b"a=1&a=2&b=%C3%A9&c=a+b"),
        Case("form of an async view", "/async/form", "POST", FORM, b"a=1&a=2&b=%C3%A9&c=a+b"),
        Case("multipart upload", "/form", "POST", (("Content-Type", MULTIPART),), UPLOAD),
        Case("multipart upload, async", "/async/form", "POST", (("Content-Type", MULTIPART),), UPLOAD),
        Case("broken multipart", "/form", "POST", (("Content-Type", MULTIPART),), b"--frontier\r\nbroken", status=None),
        Case("put with an empty body", "/echo/put", "PUT", BINARY, b""),
        Case("delete", "/echo/delete", "DELETE"),
        Case("body in chunks", "/hash", "POST", BINARY, b"chunk" * 50_000, chunked=True),
        Case("body in chunks, async", "/async/hash", "POST", BINARY, b"chunk" * 50_000, chunked=True),
        Case("body at the limit", "/small", "POST", BINARY, b"x" * 1000),
        Case("body over the limit", "/small", "POST", BINARY, b"x" * 1001, status=413),
        Case("body over the limit, async", "/async/small", "POST", BINARY, b"x" * 1001, status=413),
        Case("body in chunks over the limit", "/small", "POST", BINARY, b"x" * 5000, chunked=True, status=413),
        Case("body in chunks over the limit, async", "/async/small", "POST", BINARY, b"x" * 5000, chunked=True, status=413),
        Case("static file", "/static/notes.txt"),
        Case("head of a static file", "/static/notes.txt", "HEAD"),
        Case("static file, its tag known", "/static/notes.txt", headers=(("If-None-Match", etag),), status=304),
        Case("static file, unchanged", "/static/notes.txt", headers=(("If-Modified-Since", modified),), status=304),
        Case("range", "/static/notes.txt", headers=(("Range", "bytes=10-99"),), status=206),
        Case("last bytes", "/static/notes.txt", headers=(("Range", "bytes=-50"),), status=206),
        Case("range past the end", "/static/notes.txt", headers=(("Range", "bytes=100000-"),), status=416),
        Case("static file that is not there", "/static/none.txt", status=404),
        Case("path that climbs", "/static/%2e%2e/subject.py", status=404, refused=True),
        Case("file with a name", "/file"),
        Case("stream", "/flow?name=j%C3%BCrgen"),
        Case("head of a stream", "/flow", "HEAD"),
        Case("async stream", "/async/flow?name=j%C3%BCrgen"),
        Case("large stream", "/flow/large"),
        Case("large answer", "/large"),
        Case("early answer", "/closed/today", status=403),
        Case("early answer to a post", "/closed/today", "POST", BINARY, b"x" * 100_000, status=403),
        Case("after this request", "/later"),
        Case("handled error", "/stock", status=409),
        Case("handled error, async", "/async/stock", status=409),
        Case("unhandled error", "/broken", status=500),
        Case("unhandled error, async", "/async/broken", status=500),
        Case("abort", "/gone", status=410),
        Case("view on the loop", "/inline"),
        Case(
            "large and repeated headers",
            "/headers",
            headers=(("X-Long", "l" * 6000), ("X-Twice", "1"), ("X-Twice", "2"), ("Accept-Language", "de;q=0.5, en"), ("User-Agent", "test")),
        ),
        Case("large and repeated headers sent back", "/headers/out"),
        Case("broken escape in the path", "/echo/%zz", status=200, refused=True),
    ]
    return both


def request_head(case: Case, *, close: bool = False) -> bytes:
    """The request line and headers of a case, as they go on the wire."""
    lines = [f"{case.method} {case.target} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {value}" for name, value in case.headers)]
    if case.chunked:
        lines.append("Transfer-Encoding: chunked")
    elif case.body is not None:
        lines.append(f"Content-Length: {len(case.body)}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Connection:
    """A client on one connection, kept as long as the server keeps it.

    Args:
        address: host and port, or the path of a unix socket.
    """

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.address = address
        self.socket: socket.socket | None = None

    def ask(self, case: Case) -> Answer:
        """Send a request; read the whole answer."""
        kept = self.socket is not None
        try:
            return self.ask_once(case)
        except (http.client.RemoteDisconnected, ConnectionError):
            # RFC 9112 §9.3.1: a server may close a kept connection while the next request is on its way.
            self.close()
            if not kept:
                raise
        try:
            return self.ask_once(case)
        except BaseException:
            self.close()
            raise

    def ask_once(self, case: Case) -> Answer:
        if self.socket is None:
            family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
            self.socket = socket.socket(family)
            self.socket.settimeout(20)
            self.socket.connect(self.address)
            if family == socket.AF_INET:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.send(case)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent; the answer stands in the way back
        response = http.client.HTTPResponse(self.socket, method=case.method)
        response.begin()
        body = response.read()
        if response.will_close:
            self.close()
        return as_compared(response.status, response.getheaders(), body)

    def send(self, case: Case) -> None:
        assert self.socket is not None
        self.socket.sendall(request_head(case))
        if case.chunked:
            assert case.body is not None
            for start in range(0, len(case.body), 16_000):
                piece = case.body[start : start + 16_000]
                self.socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.socket.sendall(b"0\r\n\r\n")
        elif case.body:
            self.socket.sendall(case.body)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def _roughly(date: re.Match[str]) -> str:
    """A date as it compares: those near to now are counted from now."""
    seconds = parsedate_to_datetime(date[0]).timestamp() - time.time()
    return f"in {round(seconds / 100)} times 100 seconds" if abs(seconds) < 3600 * 24 * 365 else date[0]


def as_compared(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    """An answer as it compares: no framing, no signature of a session: it holds the second it was made in."""
    kept = []
    for name, value in headers:
        name = name.lower()
        if name in FRAMING:
            continue
        if name == "set-cookie":
            value = re.sub(r"^(session=[^.;]+)\.[^;]+", r"\1", value)
        if name == "expires" or (name == "set-cookie" and "Expires=" in value):
            value = re.sub(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", _roughly, value)
        if name == "allow":
            value = ", ".join(sorted(value.split(", ")))  # a set: its order differs from process to process
        kept.append((name, value))
    return Answer(status, tuple(sorted(kept)), body)


def ask_in_process(app: Any, case: Case) -> Answer:
    """The reference: the same bytes as an environ, given to the app's WSGI callable."""
    path, _, query = case.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": case.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": case.target,
        "SERVER_NAME": HOST,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(case.body or b""),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "HTTP_HOST": HOST,
    }
    if case.chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    elif case.body is not None:
        environ["CONTENT_LENGTH"] = str(len(case.body))
    for name, value in case.headers:
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started[:] = [int(status.split(" ", 1)[0]), headers]
        return lambda data: None

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return as_compared(started[0], started[1], body)
