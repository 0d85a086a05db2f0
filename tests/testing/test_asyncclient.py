"""The async client: on the test's own loop, with lifespan, cookies, streams, and requests at the same time."""

from __future__ import annotations

import asyncio
import time

import pytest

from carboy import redirect, request, session
from carboy.testing.asyncclient import AsyncClient


def test_requests_are_awaited(app, coloured):
    """Every verb is a coroutine that gives a whole response."""

    @app.route("/", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    @coloured
    def index():
        return f"{request.method} {request.get_data(as_text=True)}"

    async def test():
        client = AsyncClient(app)
        assert (await client.get("/")).text == "GET "
        for verb in ("post", "put", "patch", "delete"):
            assert (await getattr(client, verb)("/", data="x")).text == f"{verb.upper()} x"
        assert (await client.head("/")).data == b""
        assert (await client.options("/")).status_code == 200
        assert (await client.open("/", method="PUT", data="y")).text == "PUT y"

    asyncio.run(test())


def test_async_views_run_on_the_loop_of_the_test(app):
    """An async view shares the loop, and so the locks and tasks, of its test."""

    @app.get("/")
    async def index():
        loops.append(asyncio.get_running_loop())
        return "ok"

    loops = []

    async def test():
        await AsyncClient(app).get("/")
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(test())


def test_requests_run_at_the_same_time(app):
    """Two hundred requests that sleep are answered in little more than one sleep."""

    @app.get("/<int:number>")
    async def index(number):
        await asyncio.sleep(0.3)
        return str(number)

    async def test():
        client = AsyncClient(app)
        await client.get("/0")
        begun = time.monotonic()
        answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(200)))
        assert time.monotonic() - begun < 10
        assert [answer.text for answer in answers] == [str(number) for number in range(200)]

    asyncio.run(test())


def test_cookies_and_sessions_are_kept(app, coloured):
    """Cookies go from answer to request; the session can be opened between them."""

    @app.get("/set")
    @coloured
    def put():
        session["word"] = "kept"
        return "ok"

    @app.get("/get")
    @coloured
    def get():
        return str(session.get("word"))

    async def test():
        client = AsyncClient(app)
        await client.get("/set")
        assert (await client.get("/get")).text == "kept"
        async with client.session_transaction() as opened:
            opened["word"] = "changed"
        assert (await client.get("/get")).text == "changed"
        client.delete_cookie("session")
        assert (await client.get("/get")).text == "None"

    asyncio.run(test())


def test_redirects_are_followed(app, coloured):
    """With follow_redirects the last answer is given, and its history; a loop is told."""

    @app.route("/form", methods=["GET", "POST"])
    @coloured
    def form():
        return redirect("/done")

    @app.get("/done")
    @coloured
    def done():
        return request.method

    @app.get("/loop")
    @coloured
    def loop():
        return redirect("/loop")

    async def test():
        client = AsyncClient(app)
        response = await client.post("/form", data={"a": "b"}, follow_redirects=True)
        assert response.text == "GET"
        assert [one.status_code for one in response.history] == [302]
        assert response.request.path == "/done"
        with pytest.raises(Exception, match="loop"):
            await client.get("/loop", follow_redirects=True)

    asyncio.run(test())


def test_error_of_a_view_is_raised(app, coloured):
    """With TESTING, what a view raises is raised where it was awaited."""
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=None)

    @app.get("/")
    @coloured
    def index():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(AsyncClient(app).get("/"))


def test_stream_is_read_as_it_comes(app):
    """A stream's pieces are there one by one, and leaving the block ends it."""
    ended = []

    @app.get("/")
    async def index():
        async def pieces():
            try:
                number = 0
                while True:
                    yield str(number)
                    number += 1
                    await asyncio.sleep(0)
            finally:
                ended.append(True)

        return app.response_class(pieces())

    async def test():
        seen = []
        async with AsyncClient(app).stream("/") as response:
            assert response.status_code == 200
            async for chunk in response.chunks:
                seen.append(chunk)
                if len(seen) == 3:
                    break
        assert seen == [b"0", b"1", b"2"]

    asyncio.run(test())
    assert ended == [True]


def test_lifespan_runs_around_the_block(app):
    """In async with the app is started before the first request and stopped after the last."""
    seen = []

    @app.lifespan
    async def span(app):
        seen.append("start")
        yield
        seen.append("stop")

    @app.get("/")
    def index():
        seen.append("request")
        return "ok"

    async def test():
        async with AsyncClient(app) as client:
            await client.get("/")

    asyncio.run(test())
    assert seen == ["start", "request", "stop"]


def test_failed_start_is_raised(app):
    """An app that does not start says why, and nothing is sent to it."""

    @app.lifespan
    async def span(app):
        raise OSError("no database")
        yield

    async def test():
        async with AsyncClient(app):
            raise AssertionError("must not get here")

    with pytest.raises(Exception, match="no database"):
        asyncio.run(test())


def test_application_without_a_lifespan_is_served(app):
    """A plain ASGI application that raises on the lifespan scope is served without one."""

    async def plain(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"plain"})

    app.asgi_app = plain

    async def test():
        async with AsyncClient(app) as client:
            assert (await client.get("/")).text == "plain"

    asyncio.run(test())
