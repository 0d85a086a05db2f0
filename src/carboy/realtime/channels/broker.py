"""What a broker is: the few verbs that memory, the bus of a host, Redis and PostgreSQL all have.

A broker keeps the order, a bounded log of each topic, and who is present. It serves one event loop. It may lose its
connection at any time: its verbs then raise `Unreachable`, it connects again by itself, and calls `resume()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from .message import Backlog, Entry
from .presence import Stay


class Listener(Protocol):
    """The worker's side: what a broker tells. Its methods are called on the worker's loop."""

    @property
    def stays(self) -> Mapping[str, tuple[str, Stay]]:
        """What this worker's people have open, by key: topic and stay. A broker that has lost them is told again."""
        ...

    def receive(self, topic: str, entry: Entry) -> None:
        """A message of a followed topic. More than once, or with a gap before it, does no harm: both are noticed."""

    def presence_changed(self, topic: str) -> None:
        """Somebody came or left on a topic; may be said too often."""

    async def resume(self) -> None:
        """The connection is new: whatever was followed is to be followed again, from where it was."""

    def remembered(self) -> Iterable[tuple[str, Sequence[Entry]]]:
        """The last messages that this worker has seen, by topic, for a broker that has lost its own."""
        ...


class Broker(Protocol):
    """One way to carry messages. All verbs raise `Unreachable` for what may be tried again."""

    #: Whether the worker is to remember what it has seen, for `Listener.remembered`.
    wants_memories: bool

    async def open(self, listener: Listener) -> None:
        """Begin; a broker that cannot be reached yet goes on trying, and that is no error here."""

    async def close(self) -> None:
        """Leave politely: this worker's people are gone at once."""

    async def publish(self, topic: str, key: str, kind: str, body: bytes, *, again: bool) -> str:
        """Add a message to a topic and give its id.

        Args:
            key: the publication's own name.
            again: it was tried before, and may be there already: then nothing is added, and the id is that one's.
        """
        ...

    async def follow(self, wanted: Mapping[str, str | None]) -> dict[str, Backlog]:
        """Receive these topics from now on.

        Args:
            wanted: for each topic the id after which everything is wanted that the log still has; None for nothing.
        """
        ...

    async def unfollow(self, topics: Sequence[str]) -> None:
        """Receive these topics no more."""

    async def read(self, topic: str, after: str | None, count: int) -> list[Entry]:
        """Read the log, oldest first: what came after an id (all of it), or the last *count*."""
        ...

    async def enter(self, topic: str, stay: Stay) -> None:
        """Somebody is present from now on, as long as this worker lives."""

    async def leave(self, topic: str, stay: Stay) -> None:
        """A stay is over."""

    async def people(self, topic: str) -> list[Stay]:
        """The stays that are open, in all workers that live."""
        ...
