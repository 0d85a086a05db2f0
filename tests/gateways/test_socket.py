"""The wire of one WebSocket, beside a server that does what it likes at the worst moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from carboy.gateways.socket import WebSocketDisconnect, Wire
from carboy.wire.close_codes import NORMAL, RESTART

GONE = {"type": "websocket.disconnect", "code": 1001, "reason": "bye"}


class Server:
    """An ASGI server's side: what it was sent; events are given by hand."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.coming: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        event = await self.coming.get()
        if isinstance(event, Exception):
            raise event
        return event  # type: ignore[no-any-return]  # an event

    async def send(self, event: dict[str, Any]) -> None:
        if any(each["type"] == "websocket.close" for each in self.sent):
            raise RuntimeError(f"{event['type']} after websocket.close")
        self.sent.append(event)
        await asyncio.sleep(0)


async def opened() -> tuple[Wire, Server]:
    """A wire whose view waits elsewhere, so that a look ahead is going on."""
    server = Server()
    wire = Wire(server.receive, server.send)
    wire.elsewhere = True
    await wire.put({"type": "websocket.accept"})
    await asyncio.sleep(0)
    return wire, server


async def arrived(wire: Wire) -> None:
    """Return in the turn of the loop in which the look ahead ends, before anybody has been told of it."""
    while wire.ahead is None or not wire.ahead.done():
        await asyncio.sleep(0)


@pytest.mark.parametrize(("event", "code"), [(GONE, 1001), (OSError("broken"), 1006)])
def test_end_that_comes_in_the_turn_of_a_receive_is_an_end(event: Any, code: int) -> None:
    """Who receives right behind the server's last event, before it was looked at, is told of the end all the same."""

    async def scenario() -> None:
        wire, server = await opened()
        server.coming.put_nowait(event)
        await arrived(wire)

        with pytest.raises(WebSocketDisconnect) as caught:
            await wire.receive(None)

        assert caught.value.code == code

    asyncio.run(scenario())


def test_two_receives_in_the_turn_of_a_message_are_two_messages() -> None:
    """The note that one message has come does not wake the one who waits for the next."""

    async def scenario() -> None:
        wire, server = await opened()
        server.coming.put_nowait({"type": "websocket.receive", "text": "one"})
        await arrived(wire)
        asyncio.get_running_loop().call_later(0.01, server.coming.put_nowait, {"type": "websocket.receive", "text": "two"})

        heard = [(await wire.receive(None))["text"], (await wire.receive(None))["text"]]

        assert heard == ["one", "two"]

    asyncio.run(scenario())


def test_goodbye_beside_a_close_of_the_view_is_not_sent() -> None:
    """One close goes out, whoever is first: a server takes a second one for an error."""

    async def scenario() -> None:
        wire, server = await opened()
        wire.leave(RESTART)

        await wire.put({"type": "websocket.close", "code": NORMAL, "reason": ""})
        assert wire.goodbye is not None
        await wire.goodbye

        assert [each["code"] for each in server.sent if each["type"] == "websocket.close"] == [NORMAL]

    asyncio.run(scenario())


def test_goodbye_before_the_accept_is_said_after_it() -> None:
    """A handshake that is still being answered when the server begins to leave gets its goodbye too."""

    async def scenario() -> None:
        server = Server()
        wire = Wire(server.receive, server.send)
        wire.leave(RESTART)
        assert server.sent == []

        await wire.put({"type": "websocket.accept"})
        await asyncio.sleep(0.01)

        assert [each["type"] for each in server.sent] == ["websocket.accept", "websocket.close"]
        assert wire.gone is not None

    asyncio.run(scenario())
