"""The channels of one event loop: one upstream subscription a topic, however many subscribers there are here.

Here messages are put in order for good. Brokers may repeat themselves and may leave gaps when connections break; each
message says which one was before it, so a repetition is dropped, and a gap is filled from the broker's log before
anything behind it goes on. What the log no longer has is told to subscribers as missed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count
from typing import Any, TypeVar

from .broker import Broker
from .counts import Counts
from .errors import ChannelsTimeout, Unreachable
from .message import JSON, Entry, Message, Position, position
from .presence import JOINED, LEFT, Person, Stay, people_of, told
from .settings import Settings, place_of
from .subscription import Subscription

T = TypeVar("T")

#: Topics asked for in one go.
BATCH = 500
#: Logs read at the same time for one subscriber.
READERS = 50
#: Seconds until a question that failed is asked again, where nobody waits for the answer.
AGAIN = 0.5


class Feed:
    """One topic, as this loop follows it."""

    __slots__ = ("held", "is_checking", "is_ready", "known", "must_check", "recent", "round", "subscribers", "tail", "tail_id", "topic")

    def __init__(self, topic: str, remember: int) -> None:
        self.topic = topic
        self.subscribers: dict[Subscription, None] = {}
        #: The last message that was handed on.
        self.tail: Position = (0, 0)
        self.tail_id: str | None = None
        #: Whether the broker has said where the topic is.
        self.is_ready = False
        #: What came while an earlier part was missing; None if nothing is.
        self.held: list[Entry] | None = []
        #: Counts reconnections, so that what was begun before one knows that it is out of date.
        self.round = 0
        self.recent: deque[Entry] | None = deque(maxlen=remember) if remember else None
        #: Who is present, as subscribers were told; None while nobody asked.
        self.known: dict[str, Person] | None = None
        self.is_checking = False
        self.must_check = False


class Node:
    """The channels of one event loop.

    Args:
        broker: carries the messages; opened at the first use.
        settings: the application's.
        counts: shared by the loops of a process.
    """

    def __init__(self, broker: Broker, settings: Settings, counts: Counts) -> None:
        self.broker = broker
        self.settings = settings
        self.counts = counts
        self.feeds: dict[str, Feed] = {}
        self.stays: dict[str, tuple[str, Stay]] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.opening = asyncio.Lock()
        self.is_open = False
        self.is_closed = False
        # In the names of publications, and unlike any other node's.
        self.name = f"{os.getpid():x}.{random.SystemRandom().getrandbits(48):012x}"
        self.numbers = count(1)

    # -- life -------------------------------------------------------------------------------------

    async def ready(self) -> None:
        if self.is_open:
            return
        async with self.opening:
            if not self.is_open:
                await self.broker.open(self)
                self.is_open = True

    async def close(self) -> None:
        """End all subscriptions, and leave."""
        self.is_closed = True
        for subscription in {each for feed in self.feeds.values() for each in feed.subscribers}:
            subscription.close()
        for task in tuple(self.tasks):
            task.cancel()
        if self.is_open:
            await self.broker.close()

    async def insist(self, what: str, attempt: Callable[[int], Awaitable[T]], timeout: float | None = None) -> T:
        """Try, and try again while the broker is away, with pauses that grow and are never quite the same.

        Args:
            what: for the text of an error.
            attempt: takes how many attempts there were before.
            timeout: seconds for all attempts together.

        Raises:
            ChannelsTimeout: the time is over.
        """
        loop = asyncio.get_running_loop()
        limit = self.settings.timeout if timeout is None else timeout
        deadline = loop.time() + limit
        pause = 0.02
        cause: Exception | None = None
        for tries in count():
            try:
                async with asyncio.timeout_at(deadline):
                    await self.ready()
                    return await attempt(tries)
            except Unreachable as error:
                cause = error
            except TimeoutError as error:
                cause = cause or error
            left = deadline - loop.time()
            if left <= 0:
                break
            await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))
            pause = min(pause * 2, 0.5)
        why = str(cause) or "there was no answer"
        raise ChannelsTimeout(
            f"{what} was not possible within {limit:g} s ({why}). Is the broker of CHANNELS_URL ({place_of(self.settings.url)}) running?"
            f" CHANNELS_TIMEOUT is how long to try"
        ) from cause

    # -- publishing and asking --------------------------------------------------------------------

    async def publish(self, topic: str, kind: str, body: bytes, timeout: float | None) -> str:
        # The same for each attempt, so that one that came through without its answer is not made twice.
        key = f"{self.name}.{next(self.numbers):x}"

        async def attempt(tries: int) -> str:
            self.counts.retried += tries > 0
            return await self.broker.publish(topic, key, kind, body, again=tries > 0)

        id_ = await self.insist(f"publishing on {topic!r}", attempt, timeout)
        self.counts.published += 1
        return id_

    async def read(self, topic: str, after: str | None, most: int) -> list[Entry]:
        return await self.insist(f"reading the history of {topic!r}", lambda _: self.broker.read(topic, after, most))

    async def people(self, topic: str) -> dict[str, Person]:
        return people_of(await self.insist(f"asking who is on {topic!r}", lambda _: self.broker.people(topic)))

    async def enter(self, topic: str, stay: Stay) -> None:
        self.stays[stay.key] = (topic, stay)
        try:
            await self.insist(f"being present on {topic!r}", lambda _: self.broker.enter(topic, stay))
        except BaseException:
            # Perhaps it came through all the same; what this node does not know, its next sign of life takes back.
            self.stays.pop(stay.key, None)
            raise

    async def leave(self, topic: str, stay: Stay) -> None:
        self.stays.pop(stay.key, None)
        if self.is_closed:
            return
        try:
            await self.insist(f"leaving {topic!r}", lambda _: self.broker.leave(topic, stay), 1.0)
        except ChannelsTimeout:
            pass  # the broker is away; when it is back it hears of those who are still here, and this one is not among them

    # -- subscribers ------------------------------------------------------------------------------

    async def subscribe(self, subscription: Subscription) -> None:
        feeds = []
        for topic in subscription.topics:
            feed = self.feeds.get(topic)
            if feed is None:
                feed = self.feeds[topic] = Feed(topic, self.settings.history if self.broker.wants_memories else 0)
                self.counts.topics += 1
            feed.subscribers[subscription] = None
            feeds.append(feed)
        self.counts.subscribers += 1
        try:
            for start in range(0, len(feeds), BATCH):
                batch = feeds[start : start + BATCH]
                await self.insist(f"subscribing to {batch[0].topic!r}", lambda _, batch=batch: self.follow(batch))  # type: ignore[misc]  # bound early
            if subscription.presence:
                for feed in feeds:
                    if feed.known is None:
                        people = await self.people(feed.topic)
                        feed.known = people if feed.known is None else feed.known
            if subscription.after is not None or subscription.history:
                await self.catch_up(subscription, feeds)
        except BaseException:
            await self.unsubscribe(subscription)
            raise

    async def follow(self, feeds: Sequence[Feed]) -> None:
        fresh = [feed for feed in feeds if not feed.is_ready]
        if not fresh:
            return
        answers = await self.broker.follow({feed.topic: None for feed in fresh})
        for feed in fresh:
            if feed.is_ready:  # another subscriber, or a reconnection, was quicker
                continue
            feed.is_ready = True
            feed.tail_id = answers[feed.topic].tail
            feed.tail = position(feed.tail_id)
            self.release(feed)

    async def catch_up(self, subscription: Subscription, feeds: Sequence[Feed]) -> None:
        after = subscription.after
        since = position(after) if after is not None else (0, 0)
        messages: list[tuple[Position, Message]] = []
        seen: dict[str, Position] = {feed.topic: since for feed in feeds} if after is not None else {}
        skipped = 0
        for start in range(0, len(feeds), READERS):
            batch = feeds[start : start + READERS]
            # As they are before the log is read: what comes live meanwhile is in the subscriber's queue, and not missing.
            tails = [feed.tail for feed in batch]
            logs = await asyncio.gather(*(self.read(feed.topic, after, subscription.history) for feed in batch))
            for feed, tail, entries in zip(batch, tails, logs, strict=True):
                for entry in entries:
                    message = Message(feed.topic, entry.id, entry.kind, entry.body)
                    if after is not None and entry is entries[0] and position(entry.before) > since:
                        message.missed = 1
                    messages.append((position(entry.id), message))
                if entries:
                    seen[feed.topic] = position(entries[-1].id)
                elif after is not None and tail > since:
                    skipped += 1
        messages.sort(key=lambda each: each[0])
        subscription.begin((message for _, message in messages), seen, skipped)

    async def unsubscribe(self, subscription: Subscription) -> None:
        over = []
        for topic in subscription.topics:
            feed = self.feeds.get(topic)
            if feed is None or subscription not in feed.subscribers:
                continue
            del feed.subscribers[subscription]
            if not feed.subscribers:
                del self.feeds[topic]
                over.append(topic)
        self.counts.subscribers -= 1
        self.counts.topics -= len(over)
        if over and self.is_open and not self.is_closed:
            try:
                async with asyncio.timeout(self.settings.timeout):
                    await self.broker.unfollow(over)
            except (Unreachable, TimeoutError):
                pass  # a new connection follows only what there still is

    # -- what the broker tells --------------------------------------------------------------------

    def receive(self, topic: str, entry: Entry) -> None:
        feed = self.feeds.get(topic)
        if feed is not None:
            self.counts.received += 1
            self.take(feed, entry)

    def take(self, feed: Feed, entry: Entry) -> None:
        """Hand a message on, unless it is a repetition, or something before it is missing."""
        if feed.held is not None:
            feed.held.append(entry)
            return
        if position(entry.id) <= feed.tail:
            return
        if position(entry.before) > feed.tail:
            feed.held = [entry]
            self.start(self.fill(feed))
            return
        self.hand_on(feed, entry)

    def hand_on(self, feed: Feed, entry: Entry) -> None:
        here = position(entry.id)
        if here <= feed.tail:
            return
        message = Message(feed.topic, entry.id, entry.kind, entry.body)
        if position(entry.before) > feed.tail:
            message.missed = 1
        feed.tail = here
        feed.tail_id = entry.id
        if feed.recent is not None:
            feed.recent.append(entry)
        self.counts.delivered += len(feed.subscribers)
        for subscription in feed.subscribers:
            subscription.offer(message)

    def release(self, feed: Feed) -> None:
        """Go on with what was held back."""
        held, feed.held = feed.held or [], None
        for entry in held:
            self.take(feed, entry)

    async def fill(self, feed: Feed) -> None:
        """Fetch what is missing before the first message that is held back."""
        now = feed.round
        while True:
            try:
                entries = await self.broker.read(feed.topic, feed.tail_id, 0)
                break
            except Unreachable:
                await asyncio.sleep(AGAIN)
            if feed.round != now or not feed.subscribers:
                return
        if feed.round != now:
            return  # `resume` has fetched it
        held = feed.held or []
        feed.held = None
        for entry in (*entries, *held[:1]):
            self.hand_on(feed, entry)
        for entry in held[1:]:
            self.take(feed, entry)

    async def resume(self) -> None:
        self.counts.reconnected += 1
        feeds = list(self.feeds.values())
        for feed in feeds:
            feed.round += 1
            if feed.held is None:
                feed.held = []
        for start in range(0, len(feeds), BATCH):
            batch = [feed for feed in feeds[start : start + BATCH] if self.feeds.get(feed.topic) is feed]
            answers = await self.broker.follow({feed.topic: feed.tail_id for feed in batch})
            for feed in batch:
                backlog = answers[feed.topic]
                if not feed.is_ready or position(backlog.tail) < feed.tail:
                    # Less than we have seen: the broker has lost its log, and begins another.
                    feed.is_ready = True
                    feed.tail_id = backlog.tail
                    feed.tail = position(backlog.tail)
                for entry in backlog.entries:
                    self.hand_on(feed, entry)
                self.release(feed)
        for feed in feeds:
            self.presence_changed(feed.topic)

    def remembered(self) -> Iterable[tuple[str, Sequence[Entry]]]:
        return [(feed.topic, list(feed.recent)) for feed in self.feeds.values() if feed.recent]

    # -- presence ---------------------------------------------------------------------------------

    def presence_changed(self, topic: str) -> None:
        feed = self.feeds.get(topic)
        if feed is None or feed.known is None:
            return
        feed.must_check = True
        if not feed.is_checking:
            feed.is_checking = True
            self.start(self.check(feed))

    async def check(self, feed: Feed) -> None:
        """Ask who is here, and tell the difference to what was told before: so nothing is lost, and nothing told twice."""
        try:
            while feed.must_check and feed.subscribers:
                feed.must_check = False
                try:
                    people = people_of(await self.broker.people(feed.topic))
                except Unreachable:
                    feed.must_check = True
                    await asyncio.sleep(AGAIN)
                    continue
                before, feed.known = feed.known or {}, people
                for who in before.keys() - people.keys():
                    self.tell(feed, LEFT, before[who])
                for who, person in people.items():
                    if who not in before:
                        self.tell(feed, JOINED, person)
        finally:
            feed.is_checking = False

    def tell(self, feed: Feed, event: str, person: Person) -> None:
        message = Message(feed.topic, feed.tail_id or "0-0", JSON, told(person), event)
        for subscription in feed.subscribers:
            if subscription.presence:
                subscription.offer(message)

    def start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
