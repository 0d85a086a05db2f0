import asyncio

import pytest
from chat import app

from carboy import WebSocketDisconnect
from carboy.testing.websocket import WebSocketRefused


def test_a_guest_is_refused():
    with pytest.raises(WebSocketRefused) as refused, app.test_client().websocket("/chat/tea"):
        pass

    assert refused.value.response.status_code == 401


def test_who_has_logged_in_is_heard():
    client = app.test_client()
    client.post("/login/ada")

    with client.websocket("/chat/tea") as ws:
        ws.send("hello")
        assert ws.receive() == "ada: hello"


def test_two_in_a_room():
    async def main():
        async with app.async_test_client() as ada, app.async_test_client() as eve:
            await ada.post("/login/ada")
            await eve.post("/login/eve")
            async with ada.websocket("/chat/cake") as one, eve.websocket("/chat/cake") as other:
                await one.send("hello")
                assert await other.receive() == "ada: hello"

    asyncio.run(main())


def test_a_close_has_its_code():
    client = app.test_client()
    client.post("/login/ada")

    with client.websocket("/chat/tea") as ws:
        ws.close(4000)
        with pytest.raises(WebSocketDisconnect) as closed:
            ws.receive()

    assert closed.value.code == 4000
