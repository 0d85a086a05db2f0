"""`Rooms` with channels that take their time: what is left of a join that does not come to its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from carboy.gateways.socket import WebSocketDisconnect, Wire
from carboy.realtime.room import Rooms
from carboy.wire.close_codes import NORMAL


class Channels:
    """Subscriptions that begin when they are told to."""

    def __init__(self, begins: bool) -> None:
        self.open: list[str] = []
        self.ready = asyncio.Event()
        if begins:
            self.ready.set()

    def subscribe(self, topic: str, **_: Any) -> Any:
        return _Subscription(self, topic)


class _Subscription:
    def __init__(self, channels: Channels, topic: str) -> None:
        self.channels = channels
        self.topics = (topic,)

    async def __aenter__(self) -> Any:
        await self.channels.ready.wait()
        self.channels.open.append(self.topics[0])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.channels.open.remove(self.topics[0])

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        await asyncio.get_running_loop().create_future()


def rooms_of(channels: Channels) -> Rooms:
    async def never(*_: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    socket: Any = SimpleNamespace(wire=Wire(never, never), at_end=[])
    return Rooms(SimpleNamespace(channels=channels), socket, lambda app, message: str(message))


def test_topic_named_twice_is_joined_once() -> None:
    """A topic that stands twice in a join is an error, and no subscription is left behind at the end."""

    async def scenario() -> None:
        channels = Channels(True)
        rooms = rooms_of(channels)

        with pytest.raises(ValueError, match="has joined a already"):
            await rooms.join(("a", "a"), 0, None, None)
        assert channels.open == ["a"]
        rooms.end()
        await asyncio.sleep(0.01)

        assert channels.open == []

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["end", "leave"])
def test_join_that_waits_is_told_of_the_end(how: str) -> None:
    """Who waits for a broker while the socket ends, or the room is left, does not wait for ever."""

    async def scenario() -> None:
        rooms = rooms_of(Channels(False))
        joining = asyncio.ensure_future(rooms.join(("a",), 0, None, None))
        await asyncio.sleep(0)

        if how == "end":
            rooms.end()
        else:
            await rooms.leave(("a",))

        with pytest.raises(WebSocketDisconnect):
            await asyncio.wait_for(joining, 1)
        assert rooms.tasks == {}

    asyncio.run(scenario())


def test_join_after_the_end_leaves_no_subscription() -> None:
    """A task that outlives its socket joins nothing any more."""

    async def scenario() -> None:
        channels = Channels(True)
        rooms = rooms_of(channels)
        rooms.wire.end(WebSocketDisconnect(NORMAL))

        with pytest.raises(WebSocketDisconnect):
            await rooms.join(("a",), 0, None, None)

        assert (channels.open, rooms.tasks) == ([], {})

    asyncio.run(scenario())
