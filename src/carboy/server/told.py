"""An RSGI scope with the origin that a trusted proxy told: granian's own cannot be changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..wire.forwarded import FIELDS, Origin


class ToldHeaders:
    """Header fields without those that were believed, with the host that the client asked for; RSGI's mapping."""

    __slots__ = ("pairs",)

    def __init__(self, inner: Any, host: str | None) -> None:
        self.pairs = [
            (name, value) for name, value in inner.items() if name not in FIELDS and (host is None or name != "host")
        ]
        if host is not None:
            self.pairs.append(("host", host))

    def items(self) -> list[tuple[str, str]]:
        return list(self.pairs)

    def keys(self) -> list[str]:
        return [name for name, _ in self.pairs]

    def values(self) -> list[str]:
        return [value for _, value in self.pairs]

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def get(self, name: str, default: Any = None) -> Any:
        found = self.get_all(name)
        return found[0] if found else default

    def __getitem__(self, name: str) -> str:
        found = self.get_all(name)
        if not found:
            raise KeyError(name)
        return found[0]

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self.pairs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.pairs)


class ToldScope:
    """An RSGI scope whose client, scheme and host are the origin's. RSGI has no root path, so the prefix is left out."""

    def __init__(self, inner: Any, origin: Origin) -> None:
        self.inner = inner
        self.headers = ToldHeaders(inner.headers, origin.host)
        self.client: str = inner.client
        if origin.client is not None:
            self.client = f"[{origin.client}]:{origin.port or 0}" if ":" in origin.client else f"{origin.client}:{origin.port or 0}"
        self.scheme: str = origin.scheme or inner.scheme
        self.authority: str | None = origin.host or inner.authority

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
