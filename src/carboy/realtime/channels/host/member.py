"""`host://`: the broker of the processes of one host. Each is a member of the hub's ledger; one of them is the hub.

Whoever finds no hub takes the seat, if the lock lets it, and serves the others; its own loop calls the ledger
directly. When a hub dies, its members find that out at once, agree on another by the same lock, and bring along what
they remember.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from ..broker import Listener
from ..errors import Unreachable
from ..ledger import Ledger
from ..memory import MemoryBroker
from ..message import Backlog, Entry
from ..presence import Stay
from ..settings import Settings
from .frames import Frames, pack
from .hub import Hub
from .place import find_place
from .seat import take_seat

#: Seconds between two looks for a hub, at most.
LOOK = 0.05


class Link(asyncio.Protocol):
    """A connection to the hub of another process."""

    transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.frames = Frames()
        self.numbers = count(1)
        self.answers: dict[int, asyncio.Future[Any]] = {}
        self.loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self.loop.create_future()
        #: Whether the hub wants to know what we remember.
        self.hello: asyncio.Future[bool] = self.loop.create_future()
        self.drained = asyncio.Event()
        self.drained.set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in (*self.answers.values(), self.hello):
            if not answer.done():
                answer.set_exception(Unreachable("the bus of this host has lost its hub"))
                answer.exception()  # read here: perhaps nobody waits for it any more
        self.answers.clear()
        self.drained.set()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self.drained.clear()

    def resume_writing(self) -> None:
        self.drained.set()

    def data_received(self, data: bytes) -> None:
        for number, verb, *args in self.frames.feed(data):
            if verb == "entry":
                self.listener.receive(args[0], Entry(*args[1]))
            elif verb == "changed":
                self.listener.presence_changed(args[0])
            elif verb == "hello":
                if not self.hello.done():
                    self.hello.set_result(args[0])
            elif (answer := self.answers.pop(number, None)) is not None and not answer.done():
                answer.set_result(args[0])

    def tell(self, *values: Any) -> None:
        self.transport.write(pack(0, *values))

    async def ask(self, *values: Any) -> Any:
        if self.lost.done():
            raise Unreachable("the bus of this host has no hub at the moment")
        number = next(self.numbers)
        answer = self.answers[number] = self.loop.create_future()
        try:
            self.transport.write(pack(number, *values))
            await self.drained.wait()
            return await answer
        finally:
            self.answers.pop(number, None)


class Remote:
    """The verbs of a broker, over a link."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def publish(self, topic: str, key: str, kind: str, body: bytes, *, again: bool) -> str:
        id_: str = await self.link.ask("publish", topic, key, kind, body, again)
        return id_

    async def follow(self, wanted: Mapping[str, str | None]) -> dict[str, Backlog]:
        found = await self.link.ask("follow", dict(wanted))
        return {topic: Backlog(tail, [Entry(*entry) for entry in entries]) for topic, (tail, entries) in found.items()}

    async def unfollow(self, topics: Sequence[str]) -> None:
        self.link.tell("unfollow", list(topics))

    async def read(self, topic: str, after: str | None, count: int) -> list[Entry]:
        return [Entry(*entry) for entry in await self.link.ask("read", topic, after, count)]

    async def enter(self, topic: str, stay: Stay) -> None:
        await self.link.ask("enter", topic, stay)

    async def leave(self, topic: str, stay: Stay) -> None:
        await self.link.ask("leave", topic, stay.key)

    async def people(self, topic: str) -> list[Stay]:
        return [Stay(*stay) for stay in await self.link.ask("people", topic)]


class Own(MemoryBroker):
    """The verbs of a broker, where the hub is in this process."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub.ledger)
        self.hub = hub

    async def publish(self, topic: str, key: str, kind: str, body: bytes, *, again: bool) -> str:
        """Publish; not acknowledged before the others have it, or nobody would if this process died now."""
        id_ = await super().publish(topic, key, kind, body, again=again)
        loop = asyncio.get_running_loop()
        sent: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not sent.done():
                sent.set_result(None)

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(settle)

        if self.hub.when_sent(tell):
            await sent
        return id_


class HostBroker:
    """A loop's access to the bus of its host.

    Args:
        name: the application's.
        settings: its URL names the bus.

    Raises:
        SetupError: there can be no socket where it says.
    """

    wants_memories = True

    def __init__(self, name: str, settings: Settings) -> None:
        self.settings = settings
        self.place = find_place(name, settings.url)
        self.listener: Listener
        self.hub: Hub | None = None
        #: What the verbs go to; None while there is no hub.
        self.way: Remote | Own | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_first = True

    async def open(self, listener: Listener) -> None:
        self.listener = listener
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.get_running_loop().create_task(self.belong(found))
        try:
            await found
        except BaseException:
            self.task.cancel()
            raise

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    async def belong(self, found: asyncio.Future[None]) -> None:
        """Be a member of whatever hub there is, or be the hub, until the end."""
        link: Link | None = None
        try:
            while True:
                try:
                    link = await self.connect()
                    if link is None:
                        await self.serve()
                    else:
                        await self.join(link)
                    if not found.done():
                        found.set_result(None)
                    await (link.lost if link is not None else asyncio.get_running_loop().create_future())
                except Unreachable:
                    pass
                except OSError as error:
                    if not found.done():
                        found.set_exception(Unreachable(f"the socket {self.place.socket} of this host's bus cannot be used: {error.strerror}"))
                self.way = None
                await asyncio.sleep(random.uniform(0, LOOK))
        finally:
            self.way = None
            if link is not None:
                link.transport.close()
            if self.hub is not None:
                # Joins a thread that ends within milliseconds; there may be no later turn of the loop to wait in.
                self.hub.stop()

    async def connect(self) -> Link | None:
        """Connect to the hub; None if the seat is free and now ours."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, link = await loop.create_unix_connection(lambda: Link(self.listener), self.place.socket)
                return link
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            seat = take_seat(self.place)
            if seat is not None:
                self.hub = Hub(seat, Ledger(self.settings.history, self.settings.history_age))
                return None
            # Somebody has the lock and does not listen yet, or was the hub and is going.
            await asyncio.sleep(random.uniform(0.2, 1) * LOOK)

    async def serve(self) -> None:
        """Be the hub."""
        hub = self.hub
        assert hub is not None  # `connect` has made it
        way = Own(hub)
        await way.open(self.listener)
        for topic, entries in self.listener.remembered():
            hub.ledger.merge(topic, entries)
        for topic, stay in self.listener.stays.values():
            await way.enter(topic, stay)
        hub.start()
        # Shielded: the hub's thread sets it, whether we still wait or not.
        await asyncio.shield(asyncio.wrap_future(hub.gathered))
        await self.begin(way)

    async def join(self, link: Link) -> None:
        """Be a member of another's hub."""
        if await link.hello:
            for topic, entries in self.listener.remembered():
                link.tell("offer", topic, entries)
        for topic, stay in self.listener.stays.values():
            link.tell("enter", topic, stay)
        link.tell("offered")
        await self.begin(Remote(link))

    async def begin(self, way: Remote | Own) -> None:
        self.way = way
        if not self.is_first:
            await self.listener.resume()
        self.is_first = False

    def _way(self) -> Remote | Own:
        if self.way is None:
            raise Unreachable("the bus of this host has no hub at the moment")
        return self.way

    async def publish(self, topic: str, key: str, kind: str, body: bytes, *, again: bool) -> str:
        return await self._way().publish(topic, key, kind, body, again=again)

    async def follow(self, wanted: Mapping[str, str | None]) -> dict[str, Backlog]:
        return await self._way().follow(wanted)

    async def unfollow(self, topics: Sequence[str]) -> None:
        await self._way().unfollow(topics)

    async def read(self, topic: str, after: str | None, count: int) -> list[Entry]:
        return await self._way().read(topic, after, count)

    async def enter(self, topic: str, stay: Stay) -> None:
        await self._way().enter(topic, stay)

    async def leave(self, topic: str, stay: Stay) -> None:
        await self._way().leave(topic, stay)

    async def people(self, topic: str) -> list[Stay]:
        return await self._way().people(topic)
