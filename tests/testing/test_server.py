"""The live server: a real one, in a thread of the test."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import urllib.error
import urllib.request

import pytest

from carboy import request
from carboy.testing.server import LiveServer


def fetch(url, data=None):
    with urllib.request.urlopen(url, data, timeout=10) as response:
        return response.status, response.read()


def test_app_is_served_over_a_socket(app, coloured):
    """A request over HTTP is answered by the very app of the test."""
    seen = []

    @app.route("/here", methods=["POST"])
    @coloured
    def here():
        seen.append(request.get_data())
        return f"{request.path} {request.args['x']} {request.host}", 201

    with LiveServer(app) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        status, body = fetch(f"{server.url}/here?x=1", b"body" * 100_000)

    assert (status, body) == (201, f"/here 1 127.0.0.1:{server.port}".encode())
    assert seen == [b"body" * 100_000]


def test_server_is_gone_after_the_block(app):
    """After the block nobody listens, and the URL is refused."""
    with LiveServer(app) as server:
        port = server.port

    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    with pytest.raises(RuntimeError, match="does not run"):
        server.url  # noqa: B018  # asking is the test


def test_server_starts_again(app):
    """A server that was stopped may be started again; one that runs may not."""
    app.add_url_rule("/", view_func=lambda: "ok", endpoint="index")
    server = LiveServer(app)

    for _ in range(2):
        server.start()
        assert fetch(server.url + "/") == (200, b"ok")
        with pytest.raises(RuntimeError, match="runs already"):
            server.start()
        server.stop()
    server.stop()


def test_lifespan_runs(app):
    """The app is started before the first request and stopped with the server."""
    seen = []

    @app.lifespan
    async def span(app):
        seen.append("start")
        yield
        seen.append("stop")

    with LiveServer(app):
        assert seen == ["start"]
    assert seen == ["start", "stop"]


def test_app_that_does_not_start_is_told(app):
    """Where the app's startup fails, so does start(), and says why."""

    @app.lifespan
    async def span(app):
        raise OSError("no database")
        yield

    with pytest.raises(RuntimeError, match="was not served"):
        LiveServer(app).start()


def test_requests_run_at_the_same_time(app, coloured):
    """Views of both colours are served while others wait."""
    together = threading.Barrier(3, timeout=10)

    @app.get("/")
    def index():
        together.wait()
        return "ok"

    answers = []
    with LiveServer(app) as server:
        threads = [threading.Thread(target=lambda: answers.append(fetch(server.url + "/"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == [(200, b"ok")] * 3


def test_stream_that_breaks_off_is_seen(app, coloured):
    """An error in the middle of an answer breaks the connection off, where it can be seen."""

    def pieces():
        yield b"first"
        raise ZeroDivisionError

    @app.get("/")
    @coloured
    def index():
        return app.response_class(pieces())

    with LiveServer(app) as server, pytest.raises((http.client.IncompleteRead, urllib.error.URLError, ConnectionError)):
        fetch(server.url + "/")


def test_stream_ends_when_the_client_leaves(app, colour):
    """A stream without an end is closed when its client hangs up, whatever its colour."""
    closed = threading.Event()

    def pieces():
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    async def async_pieces():
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            closed.set()

    app.add_url_rule("/", view_func=lambda: app.response_class(pieces() if colour == "sync" else async_pieces()), endpoint="index")

    with LiveServer(app) as server:
        with socket.create_connection((server.host, server.port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert client.recv(1000)
        assert closed.wait(5)


def test_log_of_the_test_run_is_left_alone(app, caplog):
    """Starting a server does not take handlers or levels away from other loggers."""
    with LiveServer(app):
        app.logger.warning("heard")

    assert "heard" in caplog.text
