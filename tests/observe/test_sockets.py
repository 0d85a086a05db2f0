"""A WebSocket at ASGI's events, behind any server: what is counted, and which code it ended with."""

import asyncio
import json

import pytest

from carboy import Carboy
from carboy.observe import Observe
from carboy.observe.metrics import exposition
from carboy.observe.sockets import class_of, size_of

SCOPE = {
    "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": "/chat/7", "raw_path": b"/chat/7?key=secret",
    "query_string": b"key=secret", "root_path": "", "headers": [(b"host", b"localhost"), (b"user-agent", b"test")], "client": ("10.0.0.7", 1234),
    "server": ("localhost", 80), "subprotocols": [], "extensions": {"websocket.http.response": {}},
}  # fmt: skip


def text(*messages):
    return [{"type": "websocket.receive", "text": each} for each in messages]


def gone(code=1001, reason="bye"):
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


class Served:
    """An application behind a watched door; `__call__` opens a socket that sends *events*, and runs to its end."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.app = Carboy("sockets", static_folder=None)
        self.observe = self.app.fit(Observe(log="json", log_file=path))
        self.entry = self.observe.asgi(self.app)
        self.answers: list[dict] = []

    def __call__(self, *events, send_fails=None, path="/chat/7", entry=None):
        queue = [{"type": "websocket.connect"}, *events]

        async def receive():
            if not queue:
                await asyncio.get_running_loop().create_future()
            return queue.pop(0)

        async def send(event):
            if send_fails is not None and event["type"] == "websocket.send":
                raise send_fails
            self.answers.append(event)

        async def main():
            async with asyncio.timeout(5):
                await (entry or self.entry)({**SCOPE, "path": path, "raw_path": path.encode() + b"?key=secret"}, receive, send)

        asyncio.run(main())

    def metrics(self) -> dict[str, float]:
        lines = exposition(self.observe.observer.memory).splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def lines(self) -> list[dict]:
        self.observe.observer.log.flush()
        with open(self.path) as file:
            return [json.loads(line) for line in file]


@pytest.fixture
def served(tmp_path):
    """An application that echoes, observed."""
    made = Served(str(tmp_path / "log"))

    @made.app.websocket("/chat/<int:room>")
    async def chat(ws, room):
        async for message in ws:
            if message == "boom":
                raise RuntimeError("on purpose")
            if message == "close":
                await ws.close(4001, "enough")
                return
            if message == "return":
                return
            await ws.send(message)

    @made.app.websocket("/refused")
    async def refused(ws):
        return "no", 401

    yield made
    made.observe.observer.stop()


def closes(served: Served) -> dict[str, float]:
    start = "carboy_websocket_closes_total"
    return {name.split('code="')[1][:-2]: value for name, value in served.metrics().items() if name.startswith(start)}


def test_messages_and_bytes_are_counted_in_both_directions(served) -> None:
    """Bytes are those of the wire: UTF-8 for text."""
    served(*text("häh", "x"), {"type": "websocket.receive", "bytes": b"\x00" * 100}, gone())

    found = served.metrics()
    label = 'route="/chat/<int:room>"'
    for direction in ("received", "sent"):
        assert found[f'carboy_websocket_messages_total{{{label},direction="{direction}"}}'] == 3
        assert found[f'carboy_websocket_message_bytes_total{{{label},direction="{direction}"}}'] == 4 + 1 + 100
    assert found[f"carboy_websocket_connections_total{{{label}}}"] == 1
    assert found[f"carboy_websocket_connections_open{{{label}}}"] == 0


def test_handshake_is_a_request_and_the_end_a_line(served) -> None:
    """Nothing of the query is in either."""
    served(*text("x"), gone())

    handshake, end = served.lines()
    assert (handshake["status"], handshake["route"], handshake["client"]) == (101, "/chat/<int:room>", "10.0.0.7")
    assert "websocket" not in handshake
    assert end["websocket"] == {"code": 1001, "reason": "bye", "received": 1, "received_bytes": 1, "sent": 1}
    assert end["path"] == "/chat/7"
    assert end["user_agent"] == "test"
    found = served.metrics()
    assert found['carboy_http_requests_total{method="GET",route="/chat/<int:room>",status="1xx"}'] == 1
    assert found["carboy_http_requests_begun_total"] == 1
    assert found["carboy_http_requests_in_flight"] == 0


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ((gone(1000),), "1000"),
        ((gone(1006),), "1006"),
        (({"type": "websocket.disconnect"},), "1005"),
        ((gone(4999),), "4xxx"),
        ((gone("many"),), "1005"),
        (text("close"), "4xxx"),
        (text("return"), "1000"),
    ],
)
def test_code_is_that_of_whoever_closes(served, events, code) -> None:
    """Peer, view, or the end of the view."""
    served(*events)

    assert closes(served) == {code: 1}


def test_failing_view_is_1011(served) -> None:
    """What the peer is told is what is counted."""
    served(*text("boom"))

    assert closes(served) == {"1011": 1}
    assert served.answers[-1]["code"] == 1011


def test_peer_that_cannot_be_sent_to_is_1006(served) -> None:
    """Where nothing else is heard of it."""

    async def foreign(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "x"})

    with pytest.raises(OSError, match="gone"):
        served(send_fails=OSError("gone"), entry=served.observe.asgi(foreign))

    assert closes(served) == {"1006": 1}
    assert served.metrics()['carboy_websocket_connections_open{route="(none)"}'] == 0
    assert 'carboy_websocket_messages_total{route="(none)",direction="sent"}' in served.metrics()
    assert served.metrics()['carboy_websocket_messages_total{route="(none)",direction="sent"}'] == 0


@pytest.mark.parametrize(("path", "status"), [("/refused", 401), ("/nowhere", 404)])
def test_refused_handshake_is_a_request_and_no_socket(served, path, status) -> None:
    """One line, no close."""
    served(path=path)

    (line,) = served.lines()
    assert line["status"] == status
    found = served.metrics()
    assert not any(name.startswith("carboy_websocket") for name in found)
    assert found["carboy_http_requests_begun_total"] == 1
    assert found["carboy_http_requests_in_flight"] == 0


def test_client_that_leaves_before_the_answer_is_no_socket(served) -> None:
    """It is counted as nginx counts it."""

    async def foreign(scope, receive, send):
        await receive()
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        served(entry=served.observe.asgi(foreign))

    (line,) = served.lines()
    assert line["status"] == 499


def test_line_for_people_ends_with_the_socket(tmp_path) -> None:
    """And a reason cannot break it."""
    from carboy.observe.log import Clock, Closed, Noted, plain_line

    noted = Noted(0, 5_000_000, "GET", b"/chat", "/chat", 101, 12, "10.0.0.7")
    line = plain_line(Closed(noted, 4001, 'evil"\n\x1b', 3, 40, 2), Clock(), 1)

    assert line.endswith(b'websocket 4001 "evil\\u0022\\u000a\\u001b" received 3 (40 bytes) sent 2')
    assert b"\n" not in line and b"\x1b" not in line


def test_labels_of_codes_are_few() -> None:
    """A peer may send 3000 to 4999 as it likes."""
    labels = {class_of(code) for code in (None, *range(-5, 70000))}

    assert labels == {*map(str, range(1000, 1016)), "3xxx", "4xxx", "other"}


def test_size_of_text_is_that_of_its_utf8() -> None:
    """A lone surrogate is the application's mistake, and breaks no count."""
    assert [size_of(each) for each in ("", "abc", "é", "€", "𝄞", "\ud800")] == [0, 3, 2, 3, 4, 3]
