"""The trusted proxies in front of a worker: what they tell of a request's origin is put where the application looks.

What was believed is taken out of the header fields: whoever reads them after us (Werkzeug's ProxyFix) finds nothing to
apply a second time. What is not believed stays, for a ProxyFix that the application itself configured.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..wire.forwarded import FIELDS, Origin, Trust, resolve
from .errors import OptionError
from .told import ToldScope

log = logging.getLogger("carboy.server")

#: Key in an ASGI scope: the peer's address as it was, set where a proxy was believed.
PEER = "carboy.proxy"
_WIRE_FIELDS = frozenset(name.encode() for name in FIELDS)
#: The scheme of a WebSocket, by that of its handshake.
SOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class Proxies:
    """Applies the words of trusted proxies.

    Args:
        trusted: networks, addresses, `unix`; separated by commas.
        believed: the header fields that the proxies set; all of `FIELDS` if None.

    Raises:
        OptionError: one of them does not read.
    """

    def __init__(self, trusted: str | None, believed: str | None = None) -> None:
        try:
            self.trust = Trust.of(trusted or "")
        except ValueError as error:
            raise OptionError(f"--trusted-proxies: {error}") from error
        self.believed: Sequence[str] = FIELDS
        if believed:
            self.believed = tuple(believed.lower().replace(",", " ").split())
            strange = set(self.believed) - set(FIELDS)
            if strange:
                raise OptionError(f"--proxy-headers: {min(strange)!r} tells nothing of the origin; choose of {', '.join(FIELDS)}")
        self.has_warned = False

    def apply(self, scope: Any) -> Origin | None:
        """Put the origin into an ASGI scope, if its peer is trusted and tells one.

        Args:
            scope: a stranger's dict; client, scheme, path, raw_path, root_path and headers are changed.
        """
        client = scope.get("client")
        peer = client[0] if client else None
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if peer not in self.trust:
            self.warn(peer, headers)
            return None
        fields = [(name.decode("latin1"), value.decode("latin1")) for name, value in headers if name in _WIRE_FIELDS]
        origin = resolve(peer, fields, self.trust, self.believed)
        scope[PEER] = (client, scope.get("scheme"))
        if origin.client is not None:
            scope["client"] = (origin.client, origin.port or 0)
        if origin.scheme is not None:
            is_socket = scope["type"] == "websocket"
            scope["scheme"] = SOCKET_SCHEMES[origin.scheme] if is_socket else origin.scheme
        if origin.prefix is not None:
            # ASGI: `path` has the root before it; the proxy has taken it off.
            scope["root_path"] = origin.prefix + (scope.get("root_path") or "")
            scope["path"] = origin.prefix + scope["path"]
            if scope.get("raw_path") is not None:
                scope["raw_path"] = origin.prefix.encode() + scope["raw_path"]
        kept = [pair for pair in headers if pair[0] not in _WIRE_FIELDS and (origin.host is None or pair[0] != b"host")]
        if origin.host is not None:
            kept.append((b"host", origin.host.encode()))
        scope["headers"] = kept
        return origin

    def apply_to_environ(self, environ: dict[str, Any]) -> Origin | None:
        """Put the origin into a WSGI environ, if its peer is trusted and tells one."""
        told = [name for name in FIELDS if _variable(name) in environ]
        if not told:
            return None
        peer = environ.get("REMOTE_ADDR")
        if peer not in self.trust:
            self.warn(peer, [(name.encode(), b"") for name in told])
            return None
        origin = resolve(peer, [(name, environ.pop(_variable(name))) for name in told], self.trust, self.believed)
        environ[PEER] = (peer, environ.get("wsgi.url_scheme"))
        if origin.client is not None:
            environ["REMOTE_ADDR"] = origin.client
            environ["REMOTE_PORT"] = str(origin.port or 0)
        if origin.scheme is not None:
            environ["wsgi.url_scheme"] = origin.scheme
        if origin.prefix is not None:
            environ["SCRIPT_NAME"] = origin.prefix + environ.get("SCRIPT_NAME", "")
        if origin.host is not None:
            environ["HTTP_HOST"] = origin.host
        return origin

    def applied_to_rsgi(self, scope: Any) -> Any:
        """An RSGI scope with the origin in it, if its peer is trusted and tells one."""
        host, colon, port = scope.client.rpartition(":")
        peer = host.strip("[]") if colon and port.isdecimal() else scope.client
        told = [(name, value) for name, value in scope.headers.items() if name in FIELDS]
        if peer not in self.trust:
            self.warn(peer, [(name.encode(), b"") for name, _ in told])
            return scope
        return ToldScope(scope, resolve(peer, told, self.trust, self.believed))

    def warn(self, peer: Any, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Say once that somebody tells an origin who is not trusted."""
        if self.has_warned:
            return
        self.has_warned = True
        names = sorted({name.decode("latin1") for name, _ in headers if name in _WIRE_FIELDS})
        where = peer or "unix"
        log.warning(
            "%s sends %s and is no trusted proxy, so it is not believed. If a proxy of yours stands there, say"
            " --trusted-proxies %s (CARBOY_TRUSTED_PROXIES); said once.",
            where, ", ".join(names), where,
        )  # fmt: skip


def _variable(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")
