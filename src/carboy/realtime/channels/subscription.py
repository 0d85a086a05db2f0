"""One subscriber: its topics, its bounded queue, and what happens when it is slow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, Self

from .counts import Counts
from .errors import TooSlow
from .message import Message, Position, position

Overflow = Literal["drop", "close"]


class Station(Protocol):
    """Where subscriptions are kept: the node of their event loop."""

    async def subscribe(self, subscription: Subscription) -> None: ...

    async def unsubscribe(self, subscription: Subscription) -> None: ...


class Subscription:
    """The messages of one or more topics: `async with app.channels.subscribe("room:7") as messages`.

    Messages wait in a queue of bounded length. When it is full, "drop" gives up the oldest, and the next message says
    in `missed` how many; "close" ends the subscription with `TooSlow`.

    Attributes:
        topics: what was subscribed to.
        missed: messages lost so far.
    """

    def __init__(
        self,
        find_station: Callable[[], Station],
        topics: tuple[str, ...],
        *,
        history: int,
        after: str | None,
        presence: bool,
        limit: int,
        overflow: Overflow,
        counts: Counts,
    ) -> None:
        self.topics = topics
        self.history = history
        self.after = after
        self.presence = presence
        self.limit = limit
        self.overflow = overflow
        self.missed = 0
        self._find_station = find_station
        self._station: Station | None = None
        self._counts = counts
        #: What history had, before what comes live.
        self._backlog: deque[Message] = deque()
        self._queue: deque[Message] = deque()
        #: Lost right before the head of the queue.
        self._skipped = 0
        self._waiter: asyncio.Future[None] | None = None
        #: For each topic how far the backlog went; a broker's log may be ahead of what it tells.
        self._floors: dict[str, Position] = {}
        self._is_closed = False
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        if self._station is not None or self._is_closed:
            raise RuntimeError("a subscription is entered once; call subscribe() again for another")
        self._station = self._find_station()
        await self._station.subscribe(self)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()
        if self._station is not None:
            await self._station.unsubscribe(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Wait for the next message.

        Raises:
            StopAsyncIteration: the subscription was left, or the app is stopping.
            TooSlow: it fell behind, and had asked to be closed then.
        """
        while True:
            if self._backlog:
                return self._backlog.popleft()
            if self._queue:
                message = self._queue.popleft()
                if self._skipped:
                    message = message.after_missing(self._skipped)
                    self._skipped = 0
                if message.missed:
                    self.missed += message.missed
                return message
            if self._error is not None:
                raise self._error
            if self._is_closed:
                raise StopAsyncIteration
            if self._station is None:
                raise RuntimeError("a subscription is used inside `async with`")
            if self._waiter is not None:
                raise RuntimeError("two tasks wait on one subscription; each needs its own")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def offer(self, message: Message) -> None:
        """Take a message; never waits. Called by the node."""
        if self._is_closed:
            return
        if self._floors and self._is_in_backlog(message):
            return
        queue = self._queue
        if len(queue) >= self.limit:
            if self.overflow == "close":
                self._counts.closed += 1
                queue.clear()
                self._error = TooSlow(
                    f"a subscriber of {', '.join(self.topics[:3])} had {self.limit} messages waiting and was closed, as it asked to be;"
                    f" it may subscribe again with after= the last id it has seen"
                )
                self.close()
                return
            self._skipped += 1 + queue.popleft().missed
            self._counts.dropped += 1
        queue.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def begin(self, backlog: Iterable[Message], seen: Mapping[str, Position], skipped: int) -> None:
        """Start with what history had; what came live meanwhile follows it once.

        Args:
            backlog: in order.
            seen: for each topic, how far the backlog went.
            skipped: lost before what comes live.
        """
        self._backlog.extend(backlog)
        self.missed += sum(message.missed for message in self._backlog)
        self._skipped += skipped
        self._floors = dict(seen)
        kept = [message for message in self._queue if not self._is_in_backlog(message)]
        self._queue.clear()
        self._queue.extend(kept)

    def _is_in_backlog(self, message: Message) -> bool:
        floor = self._floors.get(message.topic)
        if floor is None or message.event != "message":
            return False
        if position(message.id) <= floor:
            return True
        del self._floors[message.topic]
        return False

    def close(self) -> None:
        """End the iteration once what is queued has been read. May be called by anybody, on the loop."""
        self._is_closed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
