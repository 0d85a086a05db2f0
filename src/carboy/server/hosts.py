"""Which Host fields are served: one of valid syntax, and of the names that the operator lists.

Flask's `TRUSTED_HOSTS` is the application's own check and stays as it is; this one stands before any application.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.forwarded import is_host

#: Host values remembered as good; they come from outside, so bounded.
_MOST_KNOWN = 512


class Hosts:
    """Tells good Host values from others.

    Args:
        names: `example.com`, `.example.com` for it and all below it, `[::1]`; no ports. Empty serves every name.

    Raises:
        ValueError: a name is none.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.exact: set[str] = set()
        self.below: list[str] = []
        for name in names:
            lowered = name.lower()
            if not is_host(lowered.removeprefix(".")) or lowered != _name_of(lowered):
                raise ValueError(f"{name!r} is no host name; give names without a port, or .name for all below it")
            self.exact.add(lowered.removeprefix("."))
            if lowered.startswith("."):
                self.below.append(lowered)
        #: Good values, as they stand on the wire. PERF: asking this set is all that most requests pay.
        self.known: set[bytes | None] = set()

    @classmethod
    def of(cls, text: str | None) -> Hosts:
        """Read `example.com, .example.org`.

        Raises:
            ValueError: as above.
        """
        return cls((text or "").replace(",", " ").split())

    def is_good(self, value: bytes) -> bool:
        """Check a Host value, and remember it if it is good."""
        try:
            text = value.decode("ascii")
        except UnicodeDecodeError:
            return False
        if not is_host(text) or not self.is_served(text):
            return False
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known.add(value)
        return True

    def is_served(self, text: str) -> bool:
        """Whether a valid host is one of those listed."""
        if not self.exact:
            return True
        name = _name_of(text.lower()).removesuffix(".")
        return name in self.exact or any(name.endswith(each) for each in self.below)


def _name_of(text: str) -> str:
    """A host without its port."""
    return text[: text.index("]") + 1] if text.startswith("[") else text.partition(":")[0]
