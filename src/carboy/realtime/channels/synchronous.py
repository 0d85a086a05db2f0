"""`app.channels.sync`: channels for `def` code, in worker threads, behind WSGI, in commands.

Each call runs on the event loop that the thread belongs to, or on the process's own where there is none
(`pipeline/portal.py`), and waits for it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ...pipeline import portal
from .message import Message
from .presence import Person
from .subscription import Overflow, Subscription


class _Async(Protocol):
    async def publish(self, topic: str, data: Any, *, timeout: float | None = None) -> str: ...

    async def history(self, topic: str, count: int = 50, *, after: str | None = None) -> list[Message]: ...

    async def presence(self, topic: str) -> list[Person]: ...

    def present(self, topic: str, who: str, **info: Any) -> Any: ...

    def subscribe(
        self,
        *topics: str,
        history: int = 0,
        after: str | None = None,
        presence: bool = False,
        queue: int | None = None,
        overflow: Overflow = "drop",
    ) -> Subscription: ...


class SyncChannels:
    """Channels for code that may block."""

    def __init__(self, channels: _Async) -> None:
        self._channels = channels

    def publish(self, topic: str, data: Any, *, timeout: float | None = None) -> str:
        """As `Channels.publish`."""
        return portal.call(self._channels.publish, topic, data, timeout=timeout)

    def history(self, topic: str, count: int = 50, *, after: str | None = None) -> list[Message]:
        """As `Channels.history`."""
        return portal.call(self._channels.history, topic, count, after=after)

    def presence(self, topic: str) -> list[Person]:
        """As `Channels.presence`."""
        return portal.call(self._channels.presence, topic)

    @contextmanager
    def present(self, topic: str, who: str, **info: Any) -> Generator[None]:
        """As `Channels.present`, in a plain `with`."""
        stay = self._channels.present(topic, who, **info)
        portal.call(stay.__aenter__)
        try:
            yield
        finally:
            portal.call(stay.__aexit__, None, None, None)

    @contextmanager
    def subscribe(
        self,
        *topics: str,
        history: int = 0,
        after: str | None = None,
        presence: bool = False,
        queue: int | None = None,
        overflow: Overflow = "drop",
    ) -> Generator[Iterator[Message]]:
        """As `Channels.subscribe`, in a plain `with` and a plain `for`; each holds its thread while it waits."""
        subscription = self._channels.subscribe(
            *topics, history=history, after=after, presence=presence, queue=queue, overflow=overflow
        )
        portal.call(subscription.__aenter__)
        try:
            yield _each(subscription)
        finally:
            portal.call(subscription.__aexit__)


def _each(subscription: Subscription) -> Iterator[Message]:
    while (message := portal.call(_next, subscription)) is not None:
        yield message


async def _next(subscription: Subscription) -> Message | None:
    # StopAsyncIteration cannot be carried by a future.
    return await anext(subscription, None)
