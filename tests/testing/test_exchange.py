"""The ASGI and RSGI doors, with applications of a few lines."""

from __future__ import annotations

import asyncio
import threading

import pytest
from werkzeug.test import Client

from carboy.testing.crossing import DoorViolation
from carboy.testing.doors import DOORS, door_named, through_asgi, through_rsgi


async def echo(scope, receive, send):
    """An ASGI application which answers with what it got."""
    body, messages, more = b"", 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
        messages += 1
    after = asyncio.ensure_future(receive())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-messages", str(messages).encode())]})
    await send({"type": "http.response.body", "body": body})
    assert (await after)["type"] == "http.disconnect"


def answers(*messages):
    """An ASGI application which sends these messages."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


START = {"type": "http.response.start", "status": 200, "headers": []}


def test_body_is_fed_in_pieces_and_followed_by_the_disconnect():
    """An application gets the body in several messages, and hears of the end when it has answered."""
    response = Client(through_asgi(echo)).post("/", data=b"abcdefg")

    assert response.data == b"abcdefg"
    assert int(response.headers["X-Messages"]) > 1


def test_scope_is_a_servers():
    """The scope has the members and types of the ASGI specification."""
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await echo(scope, receive, send)

    client = Client(through_asgi(app))
    client.get("/root%20x?q=1", base_url="https://h.example:444/root", environ_base={"REMOTE_ADDR": "192.0.2.1"})

    assert seen["type"] == "http"
    assert seen["scheme"] == "https"
    assert seen["method"] == "GET"
    assert seen["raw_path"] == b"/root/root%20x"
    assert seen["path"] == "/root/root x"
    assert seen["root_path"] == "/root"
    assert seen["query_string"] == b"q=1"
    assert seen["server"] == ("h.example", 444)
    assert seen["client"] == ("192.0.2.1", 50000)
    assert (b"host", b"h.example:444") in seen["headers"]


def test_error_of_the_application_is_raised_in_the_test():
    """What an application lets out comes to whoever sent the request."""

    async def app(scope, receive, send):
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        Client(through_asgi(app)).get("/")


@pytest.mark.parametrize(
    ("app", "what"),
    [
        (answers(), "without answering"),
        (answers(START), "in the middle"),
        (answers(START, START), "twice"),
        (answers({"type": "http.response.body", "body": b""}), "before the answer has started"),
        (answers(START, {"type": "http.response.body"}, {"type": "http.response.body"}), "after the end"),
        (answers(START, {"type": "http.response.body", "body": "text"}), "no bytes"),
        (answers({**START, "headers": [("a", "b")]}), "pairs of bytes"),
        (answers({**START, "headers": [(b"a", b"b\r\nc: d")]}), "line break"),
        (answers({**START, "status": "200"}), "no number"),
        (answers({**START, "headers": [(b"content-length", b"3")]}, {"type": "http.response.body"}), "has 0 bytes"),
        (answers({"type": "websocket.accept"}), "no such message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_application_that_breaks_the_rules_is_told(app, what):
    """What a real server would break off for is an error that says what was wrong."""
    with pytest.raises(DoorViolation, match=what):
        Client(through_asgi(app)).get("/").get_data()


def test_reader_that_is_behind_holds_the_application_back():
    """An application cannot run far ahead of its reader."""
    sent = []

    async def app(scope, receive, send):
        await send(START)
        for number in range(100):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent.append(number)
        await send({"type": "http.response.body"})

    response = Client(through_asgi(app)).get("/")
    body = iter(response.response)
    next(body)

    assert len(sent) < 10
    assert b"".join(body) == b"x" * 99
    assert len(sent) == 100


def test_client_that_leaves_is_noticed():
    """When the answer is closed early, the application hears of it and can end."""
    ended = threading.Event()

    async def app(scope, receive, send):
        await receive()
        await send(START)
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0)
        if gone.result()["type"] == "http.disconnect":
            ended.set()

    response = Client(through_asgi(app)).get("/")
    next(iter(response.response))
    response.close()

    assert ended.is_set()


def test_request_that_breaks_off_is_a_disconnect():
    """Where the body ends before its announced length, the application hears that the client has left."""
    seen = []

    async def app(scope, receive, send):
        while True:
            message = await receive()
            seen.append(message["type"])
            if message["type"] == "http.disconnect":
                break
        await send(START)
        await send({"type": "http.response.body", "body": b""})

    Client(through_asgi(app)).post("/", data=b"abc", environ_overrides={"CONTENT_LENGTH": "100"})

    assert seen[-1] == "http.disconnect"


def test_file_is_sent_by_its_path(tmp_path):
    """The door offers http.response.pathsend and sends the file."""
    (tmp_path / "file").write_bytes(b"content")
    app = answers(START, {"type": "http.response.pathsend", "path": str(tmp_path / "file")})

    assert Client(through_asgi(app)).get("/").data == b"content"


def test_unknown_door_is_an_error_that_names_the_others():
    """A door that is none is refused, with the names of those that are."""
    with pytest.raises(ValueError, match=r"'spdy'.*wsgi, asgi, rsgi, cgi, fastcgi"):
        door_named("spdy")
    assert list(DOORS) == ["wsgi", "asgi", "rsgi", "cgi", "fastcgi"]


class RSGI:
    """An RSGI application made of one function."""

    def __init__(self, function):
        self.function = function

    async def __rsgi__(self, scope, protocol):
        return await self.function(scope, protocol)


def test_rsgi_scope_is_granians():
    """The scope has granian's members: a decoded path, lower-case headers, all values of a name."""
    seen = []

    async def app(scope, protocol):
        seen.append((scope.proto, scope.method, scope.scheme, scope.path, scope.query_string, scope.authority))
        seen.append((scope.server, scope.client, scope.http_version))
        headers = scope.headers
        seen.append((headers.get("Host"), headers.get_all("cookie"), headers.get("none", 7), "X-ODD" in headers))
        seen.append([name for name, _ in headers.items()])
        protocol.response_empty(204, [])

    client = Client(through_rsgi(RSGI(app)))
    environ = {"REMOTE_ADDR": "192.0.2.1", "HTTP_COOKIE": "a=1; b=2", "HTTP_X_ODD": "\xe9"}
    client._cookies = None
    response = client.get("/a%20b?c=%20", environ_base=environ)

    assert response.status == "204 No Content"
    assert seen[0] == ("http", "GET", "http", "/a b", "c=%20", None)
    assert seen[1] == ("localhost:80", "192.0.2.1:50000", "1.1")
    assert seen[2] == ("localhost", ["a=1", "b=2"], 7, True)
    assert "x-odd" not in seen[3]


@pytest.mark.parametrize("how", ["whole", "pieces"])
def test_rsgi_body_is_read_once(how):
    """The body may be awaited or iterated, and then it is gone."""

    async def app(scope, protocol):
        body = await protocol() if how == "whole" else b"".join([piece async for piece in protocol])
        with pytest.raises(RuntimeError, match="read already"):
            await protocol()
        protocol.response_bytes(200, [], body)

    assert Client(through_rsgi(RSGI(app))).post("/", data=b"abcdefg").data == b"abcdefg"


def test_rsgi_answers_in_each_way(tmp_path):
    """Text, bytes, a file, a part of one, and a stream are all sent."""
    (tmp_path / "file").write_bytes(b"0123456789")
    path = str(tmp_path / "file")

    async def app(scope, protocol):
        match scope.path:
            case "/str":
                protocol.response_str(200, [("x", "é")], "é")
            case "/file":
                protocol.response_file(200, [], path)
            case "/part":
                protocol.response_file_range(206, [], path, 2, 5)
            case "/stream":
                transport = protocol.response_stream(200, [])
                await transport.send_bytes(b"a")
                await transport.send_str("b")

    client = Client(through_rsgi(RSGI(app)))

    assert client.get("/str").data == "é".encode()
    assert client.get("/file").data == b"0123456789"
    assert client.get("/part").data == b"234"
    assert client.get("/stream").data == b"ab"
    with pytest.raises(DoorViolation, match="without answering"):
        client.get("/nothing")


def test_application_that_does_not_notice_the_client_leaving_is_told(monkeypatch):
    """An application that goes on for nobody is an error: no server would end it."""
    monkeypatch.setattr("carboy.testing.exchange.GRACE", 0.1)

    async def app(scope, receive, send):
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0)

    response = Client(through_asgi(app)).get("/")
    next(iter(response.response))

    with pytest.raises(DoorViolation, match="heed the disconnect"):
        response.close()
