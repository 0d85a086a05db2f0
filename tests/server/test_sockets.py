"""The handshakes of a worker, without granian: whatever an application does, each gets one answer."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from carboy.server.options import Options
from carboy.server.sockets import Sockets
from carboy.server.tally import Tally

from .test_websocket import HEADERS


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket, socket.socket]]:
    """A listening socket, the accepted end and the client's end of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        with accepted:
            yield listening, accepted, client


class Handshake:
    """One handshake on its way through `welcome`, and what was sent to the client."""

    def __init__(self, ends: Any) -> None:
        listening, _, self.client = ends
        self.sockets = Sockets(Options(), listening, 16, Tally())
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    async def run(self, app: Any) -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "scheme": "http", "path": "/", "raw_path": b"/", "headers": HEADERS,
            "client": self.client.getsockname(), "server": ("127.0.0.1", "80"),
        }  # fmt: skip
        await asyncio.wait_for(self.sockets.welcome(app, scope, self.receive, self.send), 5)

    @property
    def statuses(self) -> list[int]:
        return [event["status"] for event in self.sent if event["type"] == "http.response.start"]


def test_application_that_is_cancelled_before_its_answer_is_an_error(ends: Any) -> None:
    """A cancellation out of the application's own inside is a failure as any: the handshake does not wait for ever."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    handshake = Handshake(ends)

    with pytest.raises(RuntimeError, match="cancelled before"):
        asyncio.run(handshake.run(app))


def test_application_that_is_slow_to_answer_is_cancelled_when_the_worker_leaves(ends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client is told to come again, rather than left without an answer."""
    monkeypatch.setattr("carboy.server.sockets.GRACE", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    handshake = Handshake(ends)

    async def scenario() -> None:
        begun = asyncio.ensure_future(handshake.run(app))
        await asyncio.sleep(0.3)
        handshake.sockets.tally.drain()
        await handshake.sockets.leave(1012)
        await begun

    asyncio.run(scenario())

    assert handshake.statuses == [503]


def test_refused_connection_is_let_go_at_once(ends: Any) -> None:
    """What an application does after its refusal keeps no hold of the connection."""
    gone = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        before = len(os.listdir("/proc/self/fd"))
        await send({"type": "websocket.close"})
        gone.append(before - len(os.listdir("/proc/self/fd")))

    handshake = Handshake(ends)

    asyncio.run(handshake.run(app))

    assert handshake.statuses == [403]
    assert gone == [1]


@pytest.mark.parametrize("kind", ["websocket.close", "websocket.accept"])
def test_refusal_is_the_only_answer(ends: Any, kind: str) -> None:
    """After a refusal nothing more goes to the client, and the application is told."""
    told = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})
        with pytest.raises(RuntimeError, match="after a refusal") as caught:
            await send({"type": kind})
        told.append(caught.value)

    handshake = Handshake(ends)

    asyncio.run(handshake.run(app))

    assert handshake.statuses == [403]
    assert len(told) == 1
