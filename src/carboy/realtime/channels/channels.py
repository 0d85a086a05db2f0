"""`app.channels`: publish, subscribe, history and presence, on whatever event loop asks; `app.channels.sync`: for `def` code."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
import weakref
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ...pipeline import portal
from .broker import Broker
from .counts import Counts
from .errors import ChannelsError
from .ledger import Ledger
from .message import Message, check_topic, encode, position
from .node import Node
from .open import open_broker
from .presence import Person, Stay
from .settings import Settings, read_settings
from .subscription import Overflow, Subscription


class Channels:
    """Publish/subscribe with history and presence, for one application.

    Nothing is connected before the first use. Each event loop of the process has its own connection.

    Args:
        app: gives the name that all its processes share, the configuration (`CHANNELS_*`) and the JSON.

    Raises:
        SetupError: the configuration is not valid, or the broker's library is not installed.

    Example:
        >>> async def talk(app):
        ...     async with app.channels.subscribe("room:7", history=20) as messages:
        ...         await app.channels.publish("room:7", {"text": "hi"})
        ...         async for message in messages:
        ...             return message.data
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.settings: Settings = read_settings(app.config)
        #: What happened so far in this process.
        self.counts = Counts()
        #: The same for `def` code.
        self.sync = SyncChannels(self)
        self._lock = threading.Lock()
        self._forget()
        self._open_broker = open_broker(app.name, self.settings)

    # -- for users --------------------------------------------------------------------------------

    async def publish(self, topic: str, data: Any, *, timeout: float | None = None) -> str:
        """Send a message to all who subscribe to a topic, in all processes.

        Args:
            topic: such as "room:7"; at most 255 characters.
            data: a `str`, bytes, or a value that JSON can hold.
            timeout: seconds to try; `CHANNELS_TIMEOUT` if not given.

        Returns:
            The message's id, once the broker has it.

        Raises:
            ChannelsTimeout: the broker was away for so long. It may still have taken the message.
            TypeError, ValueError: the value is no JSON, or too long.
        """
        kind, body = encode(data, self.app.json.dumps, check_topic(topic), self.settings.max_message)
        return await self._node().publish(topic, kind, body, timeout)

    def subscribe(
        self,
        *topics: str,
        history: int = 0,
        after: str | None = None,
        presence: bool = False,
        queue: int | None = None,
        overflow: Overflow = "drop",
    ) -> Subscription:
        """Receive what is published on topics: `async with ... as messages`, `async for message in messages`.

        Args:
            topics: one or more.
            history: so many of the last messages of each topic come first.
            after: an id; everything after it that is still kept comes first. Outranks `history`.
            presence: tell too who joins and who leaves (`message.event`).
            queue: messages that may wait; `CHANNELS_QUEUE` if not given.
            overflow: when they are more, "drop" the oldest, or "close" the subscription with `TooSlow`.

        Raises:
            ChannelsTimeout: on entering: the broker is away.
            ChannelsError, ValueError: a topic or an option that cannot be meant.
        """
        if not topics:
            raise ChannelsError("subscribe() needs a topic, such as subscribe('room:7')")
        if after is not None:
            position(after)
        limit = self.settings.queue if queue is None else queue
        if limit < 1 or history < 0 or overflow not in ("drop", "close"):
            raise ValueError(f"queue={limit} is at least 1, history={history} at least 0, overflow={overflow!r} 'drop' or 'close'")
        return Subscription(
            self._node,
            tuple(dict.fromkeys(map(check_topic, topics))),
            history=history,
            after=after,
            presence=presence,
            limit=limit,
            overflow=overflow,
            counts=self.counts,
        )

    async def history(self, topic: str, count: int = 50, *, after: str | None = None) -> list[Message]:
        """Give the last messages of a topic that are still kept, oldest first.

        Args:
            topic: of which.
            count: most messages.
            after: only what came after this id; of that the first *count*.
        """
        if after is not None:
            position(after)
        if count < 1:
            return []
        entries = await self._node().read(check_topic(topic), after, count)
        return [Message(topic, entry.id, entry.kind, entry.body) for entry in entries[:count]]

    @asynccontextmanager
    async def present(self, topic: str, who: str, **info: Any) -> AsyncGenerator[None]:
        """Be present on a topic for as long as the block lasts, or the worker lives.

        Args:
            topic: where.
            who: a name; blocks with the same one are one person.
            info: values for others to see.
        """
        if not isinstance(who, str) or not who:
            raise ChannelsError(f"who={who!r} is no name; present() takes a str that is not empty")
        told: bytes = self.app.json.dumps(info).encode()
        stay = Stay(uuid.uuid4().hex, who, time.time(), told)
        node = self._node()
        await node.enter(check_topic(topic), stay)
        try:
            yield
        finally:
            await node.leave(topic, stay)

    async def presence(self, topic: str) -> list[Person]:
        """Who is present on a topic, in all processes; who came first stands first."""
        return list((await self._node().people(check_topic(topic))).values())

    async def close(self) -> None:
        """End the subscriptions of this event loop and its connection. What is used afterwards opens a new one."""
        with self._lock:
            node = self._nodes.pop(asyncio.get_running_loop(), None)
        if node is not None:
            await node.close()

    # -- inside -----------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._process = os.getpid()
        self._nodes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Node] = weakref.WeakKeyDictionary()
        self._ledger = Ledger(self.settings.history, self.settings.history_age)

    def _node(self) -> Node:
        """The node of the running loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._process != os.getpid():
                # Forked: connections and loops are the parent's.
                self._forget()
            node = self._nodes.get(loop)
            if node is None:
                broker: Broker = self._open_broker(self._ledger)
                node = self._nodes[loop] = Node(broker, self.settings, self.counts)
            return node

    def __repr__(self) -> str:
        return f"<Channels of {self.app.name!r} by {self.settings.kind}>"


class SyncChannels:
    """`app.channels.sync`: channels for `def` code, in worker threads, behind WSGI, in commands.

    Each call runs on the event loop that the thread belongs to, or on the process's own where there is none
    (`pipeline/portal.py`), and waits for it.
    """

    def __init__(self, channels: Channels) -> None:
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
