"""Where each protocol keeps the parts of a request, and the WSGI environ that is made of them when somebody asks."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Iterable
from typing import Any

from ..wire.asgi import Scope
from ..wire.conditional import CONDITIONS
from ..wire.errors import MalformedPath
from ..wire.request import unescape_path
from ..wire.response import HeaderPairs

#: Stands for a path that is no text. Like the bytes it was, it cannot be read: not by the router, which makes a miss of it,
#: nor by hooks; so every door answers alike.
MALFORMED = "/\udcff"


#: By their names as ASGI has them.
_CONDITIONS = {name.encode(): name for name in CONDITIONS}


class AsgiHead:
    """Where an ASGI scope keeps the parts of a request."""

    __slots__ = ("body", "path", "scope")

    def __init__(self, scope: Scope, path: str) -> None:
        self.scope = scope
        self.path = path
        self.body: Any = None

    def header_pairs(self) -> list[tuple[str, str]]:
        return joined((name.decode("latin1"), value.decode("latin1")) for name, value in self.scope["headers"])

    def header(self, name: str) -> str | None:
        wanted = name.encode("latin1")
        found: bytes | None = None
        for key, value in self.scope["headers"]:
            if key == wanted:
                found = value if found is None else found + (b"; " if wanted == b"cookie" else b",") + value
        return None if found is None else str(found, "latin1")

    def conditions(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in self.scope["headers"]:
            if key in _CONDITIONS:
                name = _CONDITIONS[key]
                found[name] = f"{found[name]},{value.decode('latin1')}" if name in found else value.decode("latin1")
        return found

    def scheme(self) -> str:
        return str(self.scope.get("scheme") or "http")

    def server(self) -> tuple[str, int | None] | None:
        server = self.scope.get("server")
        return (str(server[0]), server[1]) if server else None

    def root_path(self) -> str:
        return str(self.scope.get("root_path") or "")

    def query_string(self) -> bytes:
        query = self.scope.get("query_string") or b""
        return query if isinstance(query, bytes) else query.encode("latin1")

    def remote_addr(self) -> str | None:
        client = self.scope.get("client")
        return str(client[0]) if client else None

    def environ(self) -> dict[str, Any]:
        scope = self.scope
        root_path = self.root_path()
        client = scope.get("client") or ("", 0)
        outer = scope.get("wsgi.environ")
        environ = environ_of(
            self,
            method=scope["method"],
            path=self.path,
            root_path=root_path,
            protocol=f"HTTP/{scope.get('http_version') or '1.1'}",
            remote_port=client[1] if len(client) > 1 else None,
            extra={"asgi.scope": scope},
        )
        # The request came through a WSGI door, whose middleware may have left something in its environ.
        return environ if outer is None else {**outer, **environ}


def joined(lines: Iterable[tuple[str, str]]) -> HeaderPairs:
    """Header lines with those of one name as one value, as WSGI has them: who reads the first must not miss the others."""
    found: dict[str, str] = {}
    for name, value in lines:
        found[name] = f"{found[name]}{'; ' if name == 'cookie' else ','}{value}" if name in found else value
    return list(found.items())


def environ_of(
    head: Any,
    *,
    method: str,
    path: str,
    root_path: str,
    protocol: str,
    remote_port: int | None,
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Make a WSGI environ (PEP 3333) of another protocol's request."""
    server = head.server() or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": root_path.encode().decode("latin1"),
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin1"),
        "QUERY_STRING": head.query_string().decode("latin1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] if server[1] is not None else ""),
        "SERVER_PROTOCOL": protocol,
        "REMOTE_ADDR": head.remote_addr() or "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head.scheme(),
        "wsgi.input": head.body if head.body is not None else io.BytesIO(),
        # The body is whole before the environ is made.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **extra,
    }
    if remote_port is not None:
        environ["REMOTE_PORT"] = str(remote_port)
    for name, value in head.header_pairs():
        key = name.upper().replace("-", "_")
        if "_" in name:
            # A name with an underscore could pose as another header (CVE-2015-0219).
            continue
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = value
    return environ


def path_in_app(scope: Scope) -> str:
    """The path below the app's root.

    Raises:
        MalformedPath: not UTF-8, or a broken escape.
    """
    path: str = scope["path"]
    raw = scope.get("raw_path")
    if raw is not None and (b"%" in raw or not raw.isascii()):
        # Servers decode with replacement characters, or not at all: what stood on the wire decides.
        path = unescape_path(raw.partition(b"?")[0])
    elif "�" in path and raw is None:
        raise MalformedPath
    root = scope.get("root_path")
    if root and path.startswith(root):
        path = path[len(root) :]
    return "/" + path.lstrip("/")


class RsgiHead:
    """Where an RSGI scope keeps the parts of a request."""

    __slots__ = ("body", "path", "scope")

    def __init__(self, scope: Any, path: str) -> None:
        self.scope = scope
        self.path = path
        self.body: Any = None

    def header_pairs(self) -> list[tuple[str, str]]:
        pairs = joined((str(name), str(value)) for name, value in self.scope.headers.items())
        if not any(name == "host" for name, _ in pairs) and self.scope.authority:
            # HTTP/2 has the authority in the host's place.
            pairs.append(("host", self.scope.authority))
        return pairs

    def header(self, name: str) -> str | None:
        found = self.scope.headers.get_all(name)
        if not found:
            return str(self.scope.authority) if name == "host" and self.scope.authority else None
        return ("; " if name == "cookie" else ",").join(found)

    def conditions(self) -> dict[str, str]:
        return {name: value for name in CONDITIONS if (value := self.header(name)) is not None}

    def scheme(self) -> str:
        return str(self.scope.scheme)

    def server(self) -> tuple[str, int | None] | None:
        return _address(self.scope.server)

    def root_path(self) -> str:
        return ""

    def query_string(self) -> bytes:
        return str(self.scope.query_string).encode("latin1", "surrogateescape")

    def remote_addr(self) -> str | None:
        client = _address(self.scope.client)
        return client[0] if client else None

    def environ(self) -> dict[str, Any]:
        client = _address(self.scope.client)
        return environ_of(
            self,
            method=self.scope.method,
            path=self.path,
            root_path="",
            protocol=f"HTTP/{self.scope.http_version}",
            remote_port=client[1] if client else None,
            extra={"rsgi.scope": self.scope},
        )


def _address(text: str) -> tuple[str, int | None] | None:
    """`127.0.0.1:8000` or `[::1]:8000` as a pair."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        return (text, None) if text else None
    return host.strip("[]"), int(port)


def has_body(scope: Scope) -> bool:
    """Whether a request says that it has a body; HTTP/2 need not say it."""
    for name, _ in scope["headers"]:
        if name == b"content-length" or name == b"transfer-encoding":
            return True
    return bool(scope.get("http_version", "1.1") >= "2" and scope["method"] not in ("GET", "HEAD", "OPTIONS", "DELETE"))


def encoded(headers: HeaderPairs) -> list[tuple[bytes, bytes]]:
    """Header pairs as ASGI has them: lower-case names, bytes."""
    return [(_name(name), value.encode("latin1")) for name, value in headers]


# PERF: applications have a few dozen names; a look-up costs half of what the two calls do.
@functools.lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    return name.lower().encode("latin1")


def lowered(headers: HeaderPairs) -> HeaderPairs:
    return [(name.lower(), value) for name, value in headers]
