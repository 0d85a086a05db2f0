"""What stands around a socket, in process: the log, debug mode, mounts, middleware, replaced verbs, settings."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from carboy import Carboy, Handler, SetupError, WebSocket, WebSocketDisconnect, request
from carboy.gateways.socket import MOVES, CrossedWire, Socket, State, Terms, Wire
from carboy.gateways.websocket import threads_of
from carboy.testing.websocket import WebSocketRefused


@pytest.fixture
def app() -> Carboy:
    app = Carboy("sockets")
    app.config.update(SECRET_KEY="a key for tests", PROPAGATE_EXCEPTIONS=False)
    return app


def echo(app: Carboy, rule: str = "/echo", **options: Any) -> None:
    @app.websocket(rule, **options)
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)


def refused(app: Carboy, path: str, **kwargs: Any) -> Any:
    with pytest.raises(WebSocketRefused) as caught:
        with app.test_client().websocket(path, **kwargs):
            pass
    return caught.value.response


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("handled", [True, False])
def test_error_is_logged_once(app: Carboy, caplog: pytest.LogCaptureFixture, accepted: bool, handled: bool) -> None:
    """One record with a traceback; none where a handler's answer reaches the peer, as with a page."""

    @app.websocket("/fail")
    async def fail(ws: WebSocket) -> None:
        if accepted:
            await ws.accept()
        raise LookupError("here")

    if handled:
        app.register_error_handler(LookupError, lambda error: ("handled", 409))

    with caplog.at_level(logging.ERROR):
        if accepted:
            with app.test_client().websocket("/fail") as ws:
                with pytest.raises(WebSocketDisconnect) as closed:
                    ws.receive()
            assert closed.value.code == 1011
        else:
            assert refused(app, "/fail").status_code == (409 if handled else 500)

    tracebacks = [record for record in caplog.records if record.exc_info and record.exc_info[0] is LookupError]
    assert len(tracebacks) == (0 if handled and not accepted else 1)


@pytest.mark.parametrize("how", ["disconnect", "http", "invalid"])
def test_what_is_the_clients_is_not_logged(app: Carboy, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """A peer that leaves, an abort, an invalid message: no error of the application."""

    @app.websocket("/x")
    async def x(ws: WebSocket) -> None:
        await ws.accept()
        if how == "http":
            from carboy import abort

            abort(403)
        await ws.receive_json()

    with caplog.at_level(logging.DEBUG):
        with app.test_client().websocket("/x") as ws:
            if how == "invalid":
                ws.send("{")
                with pytest.raises(WebSocketDisconnect):
                    ws.receive()

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_errors_propagate_to_the_test(app: Carboy) -> None:
    """With `TESTING` the test that receives, or leaves its block, gets the view's error."""
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=None)

    @app.websocket("/fail")
    async def fail(ws: WebSocket) -> None:
        await ws.receive()
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"), app.test_client().websocket("/fail") as ws:
        ws.send("go")
        ws.receive()
    assert ws.close_code == 1011
    with pytest.raises(LookupError, match="here"), app.test_client().websocket("/fail") as ws:
        ws.send("go")


def test_mounted_asgi_application_gets_its_sockets(app: Carboy) -> None:
    """A mount takes handshakes below its prefix; a WSGI application has none."""
    inner = Carboy("inner")
    echo(inner)
    app.mount("/inner", inner, kind="asgi")
    app.mount("/old", lambda environ, start: [], kind="wsgi")
    echo(app)

    for path in ("/inner/echo", "/echo"):
        with app.test_client().websocket(path) as ws:
            ws.send(path)
            assert ws.receive() == path
    assert refused(app, "/old/echo").status_code == 404


def test_middleware_sees_the_handshake(app: Carboy) -> None:
    """`app.asgi_app = Middleware(app.asgi_app)` stands around sockets too; WSGI middleware cannot, and is not asked."""
    echo(app)
    seen = []
    inner, wsgi = app.asgi_app, app.wsgi_app

    async def around(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        await inner(scope, receive, send)

    app.asgi_app = around
    app.wsgi_app = lambda environ, start: wsgi(environ, start)

    with app.test_client().websocket("/echo") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    assert seen == ["websocket"]


def test_replaced_verbs_of_pages_leave_sockets_alone() -> None:
    """A subclass that replaces `dispatch_request` and `full_dispatch_request` still has async sockets."""

    class Old(Carboy):
        def dispatch_request(self) -> Any:
            return f"dispatched: {super().dispatch_request()}"

        def full_dispatch_request(self) -> Any:
            return super().full_dispatch_request()

    app = Old("old")
    echo(app)
    app.get("/page")(lambda: "page")

    with app.test_client().websocket("/echo") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    assert app.test_client().get("/page").text == "dispatched: page"


def test_layers_stand_around_the_whole_socket(app: Carboy) -> None:
    """What a layer does before its yield is done before the view, the rest after it."""
    order = []

    class Around:
        name = "around"
        requires = ()

        def setup(self, fit: Any) -> None:
            def layer(ctx: Any) -> Any:
                order.append("open")
                yield
                order.append(f"closed {ctx.response.status_code}")

            fit.layer(layer)

    app.fit(Around())
    echo(app)

    with app.test_client().websocket("/echo") as ws:
        ws.send("hello")
        ws.receive()
        assert order == ["open"]
    assert order == ["open", "closed 101"]


def test_origins_of_the_config(app: Carboy) -> None:
    """`WEBSOCKET_ORIGINS` is for all routes that say nothing of their own."""
    app.config["WEBSOCKET_ORIGINS"] = ["https://partner.example"]
    echo(app)
    echo(app, "/closed", endpoint="closed", origins=[])

    with app.test_client().websocket("/echo", headers={"Origin": "https://partner.example"}):
        pass
    assert refused(app, "/closed", headers={"Origin": "https://partner.example"}).status_code == 403


def test_url_of_a_socket_behind_tls_is_wss(app: Carboy) -> None:
    """The scheme follows that of the request, or the config's outside of one."""
    echo(app)
    app.get("/url")(lambda: app.url_for("echo", _external=True))
    app.config.update(SERVER_NAME="board.example", PREFERRED_URL_SCHEME="https")

    assert app.test_client().get("/url", base_url="https://board.example").text == "wss://board.example/echo"
    assert app.test_client().get("/url", base_url="http://board.example").text == "ws://board.example/echo"
    with app.app_context():
        assert app.url_for("echo") == "wss://board.example/echo"


def test_origin_is_compared_with_the_host_of_the_request(app: Carboy) -> None:
    """The host is the one that the request says, its port that of the origin's scheme where none is written."""
    echo(app)
    client = app.test_client()

    for base, origin in (("https://board.example", "https://board.example"), ("http://board.example:8000", "http://board.example:8000")):
        with client.websocket("/echo", base_url=base, headers={"Origin": origin}):
            pass
    # A proxy ends TLS and does not say so: the host is right all the same.
    with client.websocket("/echo", base_url="http://board.example", headers={"Origin": "https://board.example"}):
        pass
    assert refused(app, "/echo", base_url="https://board.example", headers={"Origin": "https://board.example:8443"}).status_code == 403


@pytest.mark.parametrize("origins", ["board.example", ["https://a.example/page"], ["ftp://a.example"], ["wss://a.example"], "https://a.example:99999"])
def test_origin_that_is_none_is_a_setup_error(app: Carboy, origins: Any) -> None:
    """A name without a scheme would never match; it is said before the first handshake."""
    echo(app, origins=origins)

    with pytest.raises(SetupError, match="is no origin"):
        app.freeze()


def test_view_that_wants_too_much_is_a_setup_error(app: Carboy) -> None:
    """A parameter that nobody fills is found at freeze, for sockets as for pages; a page has no `ws`."""

    @app.websocket("/x")
    async def x(ws: WebSocket, room: str) -> None: ...

    with pytest.raises(SetupError, match="asks for room"):
        app.freeze()

    other = Carboy("other")

    @other.get("/y")
    async def y(ws: WebSocket) -> str:
        return ""

    with pytest.raises(SetupError, match="asks for ws"):
        other.freeze()


def test_class_without_the_method_is_found(app: Carboy) -> None:
    """The start-up check names a class that cannot answer a socket."""

    class Page(Handler):
        def get(self) -> str:
            return ""

    app.websocket("/x")(Page)

    found = [text for _, check in app.checks if (text := check(app))]
    assert any("has no method websocket" in text for text in found)


def test_one_url_for_a_page_and_a_socket(app: Carboy) -> None:
    """A handshake goes to the one, a GET to the other."""
    echo(app, "/chat", endpoint="chat-socket")
    app.get("/chat")(lambda: "the page")

    with app.test_client().websocket("/chat") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    for door in ("wsgi", "asgi", "rsgi"):
        assert app.test_client(door=door).get("/chat").text == "the page"


@pytest.mark.parametrize(("door", "status"), [("asgi", 426), ("wsgi", 400), ("rsgi", 400), ("cgi", 400), ("fastcgi", 400)])
def test_page_of_a_socket(app: Carboy, door: str, status: int) -> None:
    """426 where an upgrade is possible, 400 at a door that carries no sockets, also where the request says Upgrade."""
    echo(app)
    client = app.test_client(door=door)

    for headers in ({}, {"Connection": "Upgrade", "Upgrade": "websocket"}):
        response = client.get("/echo", headers=headers)
        assert response.status_code == status
        assert response.headers.get("Upgrade") == ("websocket" if status == 426 else None)


def test_session_that_a_page_made(app: Carboy) -> None:
    """The client's cookies go with the handshake, and those that it sets are kept."""
    from carboy import session

    app.get("/login")(lambda: session.update(user="ada") or "")

    @app.websocket("/who")
    async def who(ws: WebSocket, session: Any) -> None:
        session["seen"] = True
        await ws.send(session["user"])

    client = app.test_client()
    client.get("/login")
    with client.websocket("/who") as ws:
        assert ws.receive() == "ada"
    with client.session_transaction() as kept:
        assert dict(kept) == {"user": "ada", "seen": True}


@pytest.mark.parametrize("late", [True, False])
def test_session_changed_after_the_accept_is_told(app: Carboy, caplog: pytest.LogCaptureFixture, late: bool) -> None:
    """A change that no cookie carries is lost, and the log says so."""

    @app.websocket("/late")
    async def change(ws: WebSocket, session: Any) -> None:
        session["early"] = 1
        await ws.accept()
        if late:
            session["late"] = 1

    client = app.test_client()
    with client.websocket("/late"):
        pass

    with client.session_transaction() as kept:
        assert dict(kept) == {"early": 1}
    assert ["after the accept of /late" in record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [True] * late


def test_options_are_those_of_sockets(app: Carboy) -> None:
    """An option that a socket does not have is a mistake, and so is one of sockets on a page."""
    with pytest.raises(TypeError, match="the WebSocket '/x' takes no max_body; it takes cancel_on_disconnect"):
        app.websocket("/x", max_body=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="max_message"):
        app.get("/y", max_message=1)(lambda: "")


def test_class_of_sockets_may_be_ones_own(app: Carboy) -> None:
    """`app.websocket_class`: what views are given, by name and by its annotation."""
    app.websocket_class = Numbered

    @app.websocket("/a")
    async def a(ws: Numbered) -> None:
        await ws.send_number(7)

    @app.websocket("/b")
    async def b(ws: Any) -> None:
        await ws.send_number(8)

    for path, number in (("/a", 7), ("/b", 8)):
        with app.test_client().websocket(path) as ws:
            assert ws.receive_json() == {"number": number}


class Numbered(WebSocket):
    async def send_number(self, number: int) -> None:
        await self.send({"number": number})


def test_async_client_and_lifespan(app: Carboy) -> None:
    """The async client's sockets share the loop and the lifespan of the test."""
    echo(app)
    loops = []
    app.lifespan(lambda app: loops.append("started"))

    @app.websocket("/loop")
    async def loop(ws: WebSocket) -> None:
        await ws.send(asyncio.get_running_loop() is loops[-1])

    async def main() -> None:
        async with app.async_test_client() as client:
            loops.append(asyncio.get_running_loop())
            async with client.websocket("/echo", subprotocols=["a"]) as ws:
                await ws.send({"a": 1})
                assert await ws.receive_json() == {"a": 1}
            async with client.websocket("/loop") as ws:
                assert await ws.receive() == "true"
                assert [message async for message in ws] == []
            with pytest.raises(WebSocketRefused):
                async with client.websocket("/nowhere"):
                    pass

    asyncio.run(main())
    assert loops[0] == "started"


class Store:
    pass


def test_service_reaches_the_view(app: Carboy) -> None:
    """A view asks for a provided type, as a page's does; it is closed with the socket."""
    closed = []

    class Stores:
        name = "stores"
        requires = ()

        def setup(self, fit: Any) -> None:
            def make() -> Any:
                yield Store()
                closed.append(True)

            fit.provide(Store, make)

    app.fit(Stores())

    @app.websocket("/store")
    async def store(ws: WebSocket, store: Store) -> None:
        await ws.send(type(store).__name__)
        await ws.receive()

    with app.test_client().websocket("/store") as ws:
        assert ws.receive() == "Store"
        assert closed == []
    assert closed == [True]


def test_response_hook_may_read_the_request(app: Carboy) -> None:
    """At the accept the request is current in hooks, in both colours."""
    seen = []

    @app.after_request
    async def after(response: Any) -> Any:
        seen.append((request.path, response.status_code))
        return response

    @app.websocket("/a")
    async def a(ws: WebSocket) -> None:
        await ws.accept()

    @app.websocket("/b")
    def b(ws: Any) -> None:
        ws.accept()

    for path in ("/a", "/b"):
        with app.test_client().websocket(path):
            pass
    assert seen == [("/a", 101), ("/b", 101)]


# -- the parts below ----------------------------------------------------------------------------------


def test_every_state_has_its_moves() -> None:
    """The table knows each state, and leads to no other."""
    assert set(MOVES) == set(State)
    assert {after for moves in MOVES.values() for after in moves.values()} <= set(State)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000])
def test_code_that_is_never_sent_is_an_error(code: int) -> None:
    """RFC 6455 §7.4.1."""

    async def main() -> None:
        socket = Socket(Wire(_never, _ignore), Terms(), (), _no_headers)
        await socket.accept()
        with pytest.raises(ValueError, match="no code to close"):
            await socket.close(code)
        with pytest.raises(ValueError, match="at most 123 bytes"):
            await socket.close(1000, "x" * 124)
        assert socket.state is State.OPEN
        await socket.close(1000, "x" * 123)
        await socket.close()
        with pytest.raises(WebSocketDisconnect):
            await socket.send("late")
        with pytest.raises(WebSocketDisconnect):
            await socket.accept()

    asyncio.run(main())


@pytest.mark.parametrize("headers", [{"Upgrade": "x"}, [("sec-websocket-protocol", "x")], {"X-A": "a\r\nX-B: b"}])
def test_header_of_the_handshake_cannot_be_set(headers: Any) -> None:
    """What the server writes itself, and what would end a line, is refused before anything is sent."""

    async def main() -> None:
        socket = Socket(Wire(_never, _ignore), Terms(), (), _no_headers)
        with pytest.raises(ValueError, match="header"):
            await socket.accept(headers=headers)
        assert socket.state is State.CONNECTING

    asyncio.run(main())


def test_nothing_is_read_ahead_but_one_message() -> None:
    """While the view waits for something else one message is asked for, and no second one."""
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "websocket.connect" if asked == 1 else "websocket.receive", "text": "x"}

    async def main() -> None:
        app = Carboy("x")
        done = asyncio.Event()

        @app.websocket("/x")
        async def x(ws: WebSocket) -> None:
            await ws.accept()
            for _ in range(5):
                await asyncio.sleep(0.001)
            assert asked == 2
            await ws.receive()
            done.set()

        scope = {"type": "websocket", "path": "/x", "raw_path": b"/x", "query_string": b"", "headers": [], "scheme": "ws"}
        await app(scope, receive, _ignore)
        assert done.is_set()

    asyncio.run(main())


def test_closed_loop_ends_a_thread() -> None:
    """A thread that outlives its server's loop is told that the socket is closed."""

    async def make() -> CrossedWire:
        return CrossedWire(Wire(_never, _ignore))

    wire = asyncio.run(make())
    verb = wire.receive(None)

    with pytest.raises(WebSocketDisconnect):
        verb.send(None)


async def _never() -> Any:
    await asyncio.Event().wait()


async def _ignore(event: Any) -> None:
    pass


async def _no_headers() -> Any:
    return []


def test_equipment_stands_around_a_socket(app: Carboy, caplog: pytest.LogCaptureFixture) -> None:
    """Security headers go out with the accept and with the refusal; compression and caching find nothing to do."""
    from carboy.batteries.caching import Caching
    from carboy.batteries.compress import Compression
    from carboy.batteries.security import Security
    from carboy.observe.extension import Observe

    for equipment in (Compression(), Caching(), Security(), Observe()):
        app.fit(equipment)
    echo(app)

    with app.test_client().websocket("/echo", headers={"Accept-Encoding": "gzip"}) as ws:
        ws.send("hello " * 1000)
        assert ws.receive() == "hello " * 1000
        assert ws.headers["X-Content-Type-Options"] == "nosniff"
        assert not {"Content-Encoding", "Content-Type", "Content-Length", "ETag"} & set(ws.headers.keys())
    assert refused(app, "/nowhere").headers["X-Content-Type-Options"] == "nosniff"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_code_is_told_where_a_send_fails(app: Carboy) -> None:
    """A server that cannot send raises OSError; with which code the peer has gone, its next event says."""
    app.get("/")(lambda: "")
    told = []

    @app.websocket("/x")
    async def x(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.send("late")
        except WebSocketDisconnect as gone:
            told.append((gone.code, gone.reason, ws.close_code))

    async def main(disconnect: Any) -> None:
        events = [{"type": "websocket.connect"}]

        async def receive() -> Any:
            if events:
                return events.pop()
            if disconnect is None:
                await asyncio.Event().wait()
            return disconnect

        async def send(event: Any) -> None:
            if event["type"] == "websocket.send":
                raise OSError

        scope = {"type": "websocket", "path": "/x", "raw_path": b"/x", "query_string": b"", "headers": [], "scheme": "ws"}
        await app(scope, receive, send)

    asyncio.run(main({"type": "websocket.disconnect", "code": 4009, "reason": "gone"}))
    asyncio.run(main(None))

    assert told == [(4009, "gone", 4009), (1006, "", 1006)]


def test_threads_are_given_back(app: Carboy) -> None:
    """Each loop that a process has had leaves no thread counted as taken, also where it ended before the view did."""

    @app.websocket("/slow")
    def slow(ws: Any) -> None:
        try:
            ws.receive()
        finally:
            time.sleep(0.05)

    async def leave_it() -> None:
        client = app.async_test_client()
        session = client.websocket("/slow")
        await session.open()

    for _ in range(3):
        asyncio.run(leave_it())

    threads = threads_of(app, 64)
    end = time.monotonic() + 5
    while threads.busy and time.monotonic() < end:
        time.sleep(0.01)
    assert threads.busy == 0


def test_two_tasks_may_speak_first(app: Carboy) -> None:
    """One begins to send while the other begins to receive: the handshake is accepted once, and both go on."""

    @app.websocket("/both")
    async def both(ws: WebSocket) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ws.send("hello"))
            group.create_task(ws.send("again"))
            await ws.send(f"you said {await ws.receive()}")

    with app.test_client().websocket("/both") as ws:
        ws.send("hi")
        heard = {ws.receive() for _ in range(3)}

    assert heard == {"hello", "again", "you said hi"}


def test_a_cancelled_accept_is_taken_up_by_the_next(app: Carboy) -> None:
    """A task that is cancelled while it accepts leaves the handshake to the others."""

    @app.after_request
    async def slow(response: Any) -> Any:
        await asyncio.sleep(0.05)
        return response

    @app.websocket("/late")
    async def late(ws: WebSocket) -> None:
        first = asyncio.create_task(ws.send("never"))
        second = asyncio.create_task(ws.send("hello"))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait([first, second])
        second.result()

    with app.test_client().websocket("/late") as ws:
        assert ws.receive() == "hello"
