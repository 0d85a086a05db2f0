"""Other applications under a prefix or a host of this one, each served through its own protocol."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..gateways.tornado import adapted
from .errors import SetupError


@dataclass(frozen=True, slots=True)
class Mount:
    """One application in another.

    Attributes:
        prefix: `/old`, or empty for a whole host.
        host: lower-case, without port; None for every host.
        target: the application.
        is_asgi, is_wsgi: what it can be called as; a Carboy is both.
    """

    prefix: str
    host: str | None
    target: Any
    is_asgi: bool
    is_wsgi: bool

    @classmethod
    def of(cls, prefix: str, target: Any, host: str | None, kind: str | None) -> Mount:
        """Look at what is mounted.

        Raises:
            SetupError: no callable, a prefix without its slash, or an unknown kind.
        """
        if not callable(target):
            raise SetupError(f"cannot mount {target!r} at {prefix!r}: it is not callable; pass a WSGI or ASGI application")
        prefix = prefix.rstrip("/")
        if prefix and not prefix.startswith("/"):
            raise SetupError(f"the prefix of a mount starts with a slash: '/{prefix}', not {prefix!r}")
        if not prefix and host is None:
            raise SetupError("a mount needs a prefix or a host; what is mounted at the root would hide the whole app")
        if kind not in (None, "asgi", "wsgi"):
            raise SetupError(f"the kind of a mount is 'asgi' or 'wsgi', not {kind!r}")
        foreign = adapted(target)
        if foreign is not None:
            target, kind = foreign, "asgi"
        both = hasattr(target, "asgi_app") and hasattr(target, "wsgi_app")
        is_asgi = kind == "asgi" or (kind is None and (both or _looks_asgi(target)))
        is_wsgi = kind == "wsgi" or (kind is None and (both or not is_asgi))
        return cls(prefix, host.lower() if host is not None else None, target, is_asgi, is_wsgi)

    def takes(self, host: str, path: str) -> bool:
        if self.host is not None and self.host != host:
            return False
        prefix = self.prefix
        return not prefix or path == prefix or path.startswith(prefix + "/")


class Mounts:
    """The mounts of an app, the longest prefix first, a host's before everybody's."""

    def __init__(self) -> None:
        self.all: list[Mount] = []
        self.has_hosts = False

    def __bool__(self) -> bool:
        return bool(self.all)

    def __iter__(self) -> Iterator[Mount]:
        return iter(self.all)

    def add(self, mount: Mount) -> None:
        """Add a mount.

        Raises:
            SetupError: another one is at the same place.
        """
        for other in self.all:
            if (other.prefix, other.host) == (mount.prefix, mount.host):
                raise SetupError(f"two applications are mounted at {mount.host or ''}{mount.prefix}: {other.target!r} and {mount.target!r}")
        self.all.append(mount)
        self.all.sort(key=lambda one: (one.host is None, -len(one.prefix)))
        self.has_hosts = any(one.host is not None for one in self.all)

    def find(self, host: str, path: str) -> Mount | None:
        """The mount that a request goes to, if any.

        Args:
            host: the Host header, with or without its port.
        """
        host = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        host = host.lower()
        for mount in self.all:
            if mount.takes(host, path):
                return mount
        return None


def _looks_asgi(target: Any) -> bool:
    if inspect.iscoroutinefunction(target):
        return True
    call = getattr(target, "__call__", None)  # noqa: B004  # the bound method is wanted
    if inspect.iscoroutinefunction(call):
        return True
    try:
        names = list(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return False
    return names[:3] == ["scope", "receive", "send"]
