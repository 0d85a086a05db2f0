"""What type checkers know of WebSockets: checked by mypy and pyright, not run."""

from dataclasses import dataclass
from typing import assert_type

from carboy import Blueprint, Carboy, WebSocket
from carboy.realtime.websocket import BlockingWebSocket


@dataclass
class Point:
    x: int


app = Carboy(__name__)
part = Blueprint("part", __name__)


@app.websocket("/chat/<room>", subprotocols=["v1"], origins="*", max_message=1024, receive_timeout=1.5, cancel_on_disconnect=False)
async def chat(ws: WebSocket, room: str) -> None:
    await ws.accept(subprotocol="v1", headers={"X-A": "b"})
    await ws.accept(headers=[("X-A", "b")])
    assert_type(await ws.receive(), str | bytes)
    assert_type(await ws.receive_text(), str)
    assert_type(await ws.receive_bytes(), bytes)
    assert_type(await ws.receive_as(Point), Point)
    async for message in ws:
        assert_type(message, str | bytes)
    async for point in ws.messages(Point):
        assert_type(point, Point)
    await ws.send({"a": 1})
    await ws.join("room", history=3, convert=lambda message: message.data)
    await ws.close(1000, "bye")
    assert_type(ws.subprotocol, str | None)
    assert_type(ws.close_code, int | None)


@part.websocket("/chat", endpoint="part-chat", defaults={"room": "x"})
def blocking(ws: BlockingWebSocket) -> None:
    ws.accept(subprotocol="v1")
    assert_type(ws.receive(), str | bytes)
    assert_type(ws.receive_text(), str)
    assert_type(ws.receive_bytes(), bytes)
    assert_type(ws.receive_as(Point), Point)
    for message in ws:
        assert_type(message, str | bytes)
    for point in ws.messages(Point):
        assert_type(point, Point)
    ws.send({"a": 1})
    ws.join("room", after="1-0")
    ws.close()


app.websocket("/typo", max_mesage=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
