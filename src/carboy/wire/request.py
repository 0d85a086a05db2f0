"""Request: Werkzeug's, filled from any door, each part when it is first asked for.

A gateway gives a `Head`: where method, path, headers and the rest stand in that protocol. A request made from a WSGI
environ (`Request(environ)`, as extensions do) needs no head: the environ is the head. `environ` is a live WSGI dict on
every door; behind ASGI and RSGI it is made when somebody asks.
"""

from __future__ import annotations

import functools
import io
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote_to_bytes

import werkzeug.http
import werkzeug.wrappers
from werkzeug.datastructures import Authorization, EnvironHeaders, Headers, ImmutableMultiDict, MultiDict
from werkzeug.exceptions import ClientDisconnected

from .conditional import CONDITIONS
from .errors import MalformedCookie, MalformedPath, MalformedQuery
from .forms import FormParser
from .lazy import lazy
from .query import BAD_ESCAPE, parse_query


class Head(Protocol):
    """Where a door's protocol keeps the parts of a request."""

    def header_pairs(self) -> list[tuple[str, str]]:
        """Names lower-case or as sent, values latin-1, duplicates kept."""
        ...

    def header(self, name: str) -> str | None:
        """One header by its lower-case name, joined with commas where it came twice (cookies: `; `)."""

    def conditions(self) -> dict[str, str]:
        """Those of `CONDITIONS` that are there, each as `header` gives it."""
        ...


    def scheme(self) -> str: ...
    def server(self) -> tuple[str, int | None] | None: ...
    def root_path(self) -> str: ...
    def query_string(self) -> bytes: ...
    def remote_addr(self) -> str | None: ...
    def environ(self) -> dict[str, Any]:
        """A fresh WSGI environ, the body's stream in it."""
        ...


class Incoming(Protocol):
    """A body that has not been read."""

    async def next(self) -> bytes:
        """The next piece; b"" at the end."""
        ...


class Request(werkzeug.wrappers.Request):
    """An HTTP request."""

    form_data_parser_class = FormParser
    _head: Head | None = None
    #: The whole body, where a WSGI door has read it before the view; closed with the request.
    buffered: BinaryIO | None = None
    #: No subclass makes `cookies` in its own way.
    _has_usual_cookies = True
    #: The body's pieces, where an `async def` view reads them as they come.
    incoming: Incoming | None = None

    def __init__(self, environ: dict[str, Any], populate_request: bool = True, shallow: bool = False) -> None:
        # Not Werkzeug's own: it reads and decodes everything at once (3 µs), and most requests need two parts.
        self.environ = environ
        self.shallow = shallow
        if populate_request and not shallow:
            environ["werkzeug.request"] = self
        # PERF: what every request is asked for, without the descriptor's way; a path that may be malformed waits.
        self.method: str = environ.get("REQUEST_METHOD", "GET")
        path: str = environ.get("PATH_INFO", "")
        if path.isascii():
            self.path = "/" + path.lstrip("/")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._has_usual_cookies = cls.cookies is Request.cookies

    @classmethod
    def from_head(cls, head: Head, method: str, path: str) -> Request:
        """Make a request at a door that has no environ.

        Args:
            head: where the rest is to be had.
            method: as sent.
            path: decoded, with its leading slash; one with surrogates was no UTF-8, and is refused when it is read.
        """
        if cls.__init__ is not Request.__init__:
            # A guest's class does something with the environ when it is made.
            return cls(head.environ())
        request = cls.__new__(cls)
        request._head = head
        request.method = method
        if path.isascii() or _is_text(path):
            request.path = path
        return request

    shallow = False

    @lazy
    def environ(self) -> dict[str, Any]:
        head = self._head
        if head is None:
            raise AttributeError("environ")
        environ = head.environ()
        environ["werkzeug.request"] = self
        return environ

    @lazy
    def scheme(self) -> str:
        head = self._head
        return head.scheme() if head is not None else str(self.environ.get("wsgi.url_scheme", "http"))

    @lazy
    def server(self) -> tuple[str, int | None] | None:
        head = self._head
        if head is not None:
            return head.server()
        name = self.environ.get("SERVER_NAME")
        if name is None:
            return None
        port = self.environ.get("SERVER_PORT")
        return name, int(port) if port is not None and port.isdecimal() else None

    @lazy
    def root_path(self) -> str:
        head = self._head
        root = head.root_path() if head is not None else utf8(self.environ.get("SCRIPT_NAME") or "")
        return root.rstrip("/")

    @lazy
    def path(self) -> str:
        """The path below the app's root.

        Raises:
            MalformedPath: it is not UTF-8; asked again, for the page that says so, it comes with replacements.
        """
        text: str = self.environ.get("PATH_INFO") or ""
        try:
            return "/" + utf8(text).lstrip("/")
        except MalformedPath:
            self.__dict__["path"] = "/" + text.encode("latin1", "replace").decode("utf-8", "replace").lstrip("/")
            raise

    @lazy
    def query_string(self) -> bytes:
        head = self._head
        return head.query_string() if head is not None else str(self.environ.get("QUERY_STRING", "")).encode("latin1")

    @lazy
    def headers(self) -> Headers:
        head = self._head
        if head is None:
            return EnvironHeaders(self.environ)
        # Written as behind WSGI: applications make a dict of them, and look there for `User-Agent`.
        return Headers([(name.title(), value) for name, value in head.header_pairs()])

    @lazy
    def remote_addr(self) -> str | None:
        head = self._head
        return head.remote_addr() if head is not None else self.environ.get("REMOTE_ADDR")

    def header(self, name: str) -> str | None:
        """Read one header by its lower-case name, without making `headers`."""
        state = self.__dict__
        if "headers" in state:
            return state["headers"].get(name)  # type: ignore[no-any-return]  # Headers of a guest's making
        head = self._head
        if head is not None:
            return head.header(name)
        value = self.environ.get(_environ_key(name))
        return None if value is None else str(value)

    def conditions(self) -> dict[str, str]:
        """The headers that make an answer conditional or partial, by lower-case name; few requests have any.

        PERF: one pass over the headers for six.
        """
        head = self._head
        if head is None or "headers" in self.__dict__:
            return {name: value for name in CONDITIONS if (value := self.header(name)) is not None}
        return head.conditions()

    @lazy
    def args(self) -> MultiDict[str, str]:
        """The query string's values.

        Raises:
            MalformedQuery: it is not UTF-8, or an escape is broken; asked again, for the page that says so, there
                are none.
        """
        # PERF: 0.7 µs where Werkzeug's own takes 4.0; the same type comes out.
        try:
            return self.parameter_storage_class(parse_query(self.query_string))
        except MalformedQuery:
            self.__dict__["args"] = self.parameter_storage_class()
            raise

    @lazy
    def cookies(self) -> ImmutableMultiDict[str, str]:
        """The cookies sent.

        Raises:
            MalformedCookie: the header is not UTF-8; asked again, for the page that says so, there are none.
        """
        header = self.header("cookie")
        kind: Any = self.dict_storage_class  # a guest may set another class
        try:
            return kind(parse_cookies(header) if header else ())  # type: ignore[no-any-return]
        except MalformedCookie:
            self.__dict__["cookies"] = kind(())
            raise

    def cookie(self, name: str) -> str | None:
        """Read one cookie, without making `cookies`: 1 µs for 3; the first one, where it came twice.

        Raises:
            MalformedCookie: the header is not UTF-8.
        """
        header = self.header("cookie")
        if not header:
            return None
        if not header.isascii() or "cookies" in self.__dict__ or not self._has_usual_cookies:
            return self.cookies.get(name)
        if name and name in header:
            if ";" not in header and '"' not in header:
                # PERF: most have one cookie; half the instructions.
                found, equals, value = header.partition("=")
                return value.strip() if equals and found.strip() == name else None
            for found, value in parse_cookies(header):
                if found == name:
                    return value
        return None

    @property
    def full_path(self) -> str:
        """Path and query.

        Raises:
            MalformedQuery: the query is not UTF-8.
        """
        try:
            return f"{self.path}?{self.query_string.decode()}"
        except UnicodeDecodeError:
            raise MalformedQuery from None

    @lazy
    def mimetype(self) -> str:
        """The content type without its parameters, in lower case; empty where none was sent."""
        # PERF: 0.4 µs; through `headers` it takes 1.9, through ASGI 7.
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        """The body's bytes.

        Args:
            cache: keep them, so that they can be had again.
            as_text: decoded, what is no UTF-8 replaced.
            parse_form_data: leave the body of a form to the form.
        """
        if cache and not parse_form_data and self._head is None and "stream" not in self.__dict__:
            self._read_short_body()
        read: Any = super().get_data  # its overloads want literals
        return read(cache, as_text, parse_form_data)

    def _read_short_body(self) -> None:
        """Read a body that says how short it is straight from the server: 1 µs, where the limited stream takes 6."""
        environ = self.environ
        digits = environ.get("CONTENT_LENGTH") or ""
        if not (digits.isascii() and digits.isdigit() and len(digits) < 7) or "wsgi.input" not in environ or self.shallow:
            return
        left = int(digits)
        limit = self.max_content_length
        if limit is not None and left > limit:
            return  # refused by the stream, with its error
        read = environ["wsgi.input"].read
        data: bytes = read(left)
        while len(data) < left:
            more = read(left - len(data))
            if not more:
                raise ClientDisconnected
            data += more
        self._cached_data = data
        self.__dict__["stream"] = io.BytesIO()  # used up

    @lazy
    def authorization(self) -> Authorization | None:
        """The credentials of the Authorization header; None without, and for what is none."""
        try:
            return Authorization.from_header(self.header("authorization"))
        except ValueError:
            # Werkzeug lets base64's refusal of non-ASCII text through.
            return None

    def close(self) -> None:
        """Close the files of a form that was read, and the body's own."""
        super().close()
        body = self.buffered if self._head is None else getattr(self._head, "body", None)
        if body is not None:
            body.close()


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


@functools.lru_cache(maxsize=256)
def _environ_key(name: str) -> str:
    """A header's name in a WSGI environ."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def utf8(wsgi_text: str) -> str:
    """Turn WSGI's latin-1 text into the UTF-8 text it stands for.

    Raises:
        MalformedPath: it is not UTF-8.
    """
    if wsgi_text.isascii():
        return wsgi_text
    try:
        return wsgi_text.encode("latin1").decode()
    except UnicodeError:
        raise MalformedPath from None


def unescape_path(raw_path: bytes) -> str:
    """Decode a path as it stood on the wire.

    Raises:
        MalformedPath: a percent-escape is broken, or the bytes are not UTF-8.
    """
    if b"%" in raw_path:
        if BAD_ESCAPE.search(raw_path):
            raise MalformedPath
        raw_path = unquote_to_bytes(raw_path)
    try:
        return raw_path.decode()
    except UnicodeDecodeError:
        raise MalformedPath from None


def parse_cookies(header: str) -> list[tuple[str, str]]:
    """Split a Cookie header into pairs.

    Raises:
        MalformedCookie: it is not UTF-8.

    Source: RFC 6265 §5.4, read as leniently as Werkzeug does, which has the last word on quoted values.
    """
    if not header.isascii():
        try:
            header = header.encode("latin1").decode()
        except UnicodeError:
            raise MalformedCookie from None
    if '"' in header:
        return list(werkzeug.http.parse_cookie(header).items(multi=True))
    pairs = []
    for part in header.split(";"):
        name, found, value = part.strip().partition("=")
        if found and name:
            pairs.append((name.strip(), value.strip()))
    return pairs
