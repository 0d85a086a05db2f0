"""Above another server's WebSockets: the limit of a message, and the goodbye."""

import asyncio

import pytest

from carboy.server.options import Options
from carboy.server.relays import Relays


class Peer:
    """What the other server has to say, and what it was told."""

    def __init__(self, *events):
        self.events = [{"type": "websocket.connect"}, *events]
        self.sent = []

    async def receive(self):
        if self.events:
            return self.events.pop(0)
        await asyncio.get_running_loop().create_future()

    async def send(self, event):
        self.sent.append(event)


async def serve(peer, app, relays=None, **options):
    relays = relays or Relays(Options(**options))
    await relays.serve(app, {"type": "websocket"}, peer.receive, peer.send)


async def listen(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(len(event.get("text") or event.get("bytes")))})
    await send_late(send, event["code"])


async def send_late(send, code):
    with pytest.raises(OSError, match=str(code)):
        await send({"type": "websocket.send", "text": "too late"})


@pytest.mark.parametrize("long", [{"text": "ä" * 51}, {"text": "x" * 101}, {"bytes": b"x" * 101, "text": None}])
def test_too_long_is_1009(long):
    """In bytes, whatever the characters are; the application hears the end."""
    peer = Peer({"type": "websocket.receive", "text": "x" * 100}, {"type": "websocket.receive", **long})

    asyncio.run(serve(peer, listen, ws_max_message=100))

    assert peer.sent[1:] == [{"type": "websocket.send", "text": "100"}, {"type": "websocket.close", "code": 1009}]


def test_goodbye_reaches_peer_and_application():
    """Both hear the code."""

    async def main():
        peer, relays = Peer(), Relays(Options())
        task = asyncio.ensure_future(serve(peer, listen, relays))
        await asyncio.sleep(0.01)
        await relays.leave(1012)
        await asyncio.wait_for(task, 2)
        return peer.sent, relays.open

    sent, left = asyncio.run(main())

    assert sent[-1] == {"type": "websocket.close", "code": 1012}
    assert left == set()


def test_cancelled_receive_loses_no_message():
    """What comes while nobody waits is the next one's."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        assert (await receive())["text"] == "late"

    async def main():
        peer = Peer()
        later = asyncio.get_running_loop().create_future()
        first = peer.receive

        async def receive():
            return await (first() if peer.events else later)

        peer.receive = receive
        asyncio.get_running_loop().call_later(0.05, later.set_result, {"type": "websocket.receive", "text": "late"})
        await serve(peer, app)

    asyncio.run(main())
