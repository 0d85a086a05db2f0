"""Answers that are made while they are sent."""

from __future__ import annotations

import threading

import pytest

from carboy import Response, g, request, stream_with_context

SPOOLED = "the RSGI door collects a stream before it sends it: granian's RSGI has no back-pressure"


def test_generator_is_streamed(app, client, coloured):
    """A view may return a generator; its pieces are the body."""

    @app.get("/")
    @coloured
    def index():
        return (f"{number}," for number in range(100))

    response = client.get("/")

    assert response.text == "".join(f"{number}," for number in range(100))
    assert "Content-Length" not in response.headers


def test_pieces_arrive_while_others_are_made(app, client, coloured, door):
    """The client has the first piece before the second one exists."""
    if door == "rsgi":
        pytest.skip(SPOOLED)
    arrived = threading.Event()

    def pieces():
        yield b"first"
        yield b"second" if arrived.wait(10) else b"nobody has read the first"

    @app.get("/")
    @coloured
    def index():
        return Response(pieces())

    body = iter(client.get("/").response)

    assert next(body) == b"first"
    arrived.set()
    assert b"".join(body) == b"second"


def test_stream_keeps_its_context(app, client, coloured):
    """stream_with_context keeps request and g for as long as the stream runs; teardown waits for its end."""
    seen = []

    @app.get("/<word>")
    @coloured
    def index(word):
        g.word = word

        def pieces():
            yield request.path
            yield " "
            yield g.word
            seen.append("end of the stream")

        return Response(stream_with_context(pieces()))

    @app.teardown_request
    def teardown(error):
        seen.append("teardown")

    response = client.get("/jam")

    assert response.text == "/jam jam"
    response.close()
    assert seen == ["end of the stream", "teardown"]


def test_stream_with_context_decorates_a_generator(app, client, coloured):
    """stream_with_context is a decorator as well."""

    @app.get("/")
    @coloured
    def index():
        @stream_with_context
        def pieces(word):
            yield word
            yield request.args["name"]

        return Response(pieces("Hello "))

    assert client.get("/?name=World").text == "Hello World"


def test_generator_is_closed_when_the_client_leaves(app, client, coloured, door):
    """A stream that nobody reads any more is ended, and its generator cleaned up."""
    if door == "rsgi":
        pytest.skip(SPOOLED)
    closed = threading.Event()

    def pieces():
        try:
            while True:
                yield b"x" * 70_000
        finally:
            closed.set()

    @app.get("/")
    @coloured
    def index():
        return Response(pieces())

    response = client.get("/")
    body = iter(response.response)
    assert next(body)
    response.close()

    assert closed.wait(5)


def test_error_in_a_stream_is_seen_by_the_client(app, client, coloured):
    """An answer that breaks off in the middle does not look like a whole one."""

    class BrokenOff(Exception):
        pass

    def pieces():
        yield b"first"
        raise BrokenOff

    @app.get("/")
    @coloured
    def index():
        return Response(pieces())

    with pytest.raises((BrokenOff, RuntimeError)):
        client.get("/").get_data()


def test_empty_stream_is_an_empty_answer(app, client, coloured):
    """A generator without pieces answers with nothing."""

    @app.get("/")
    @coloured
    def index():
        return Response(iter(()))

    response = client.get("/")

    assert (response.status_code, response.data) == (200, b"")


def test_head_of_a_stream_does_not_run_it(app, client, coloured):
    """For HEAD a stream is closed, not read."""
    seen = []

    def pieces():
        seen.append("run")
        yield b"x"

    @app.get("/")
    @coloured
    def index():
        return Response(pieces())

    assert client.head("/").data == b""
    assert seen == []


def test_large_stream_arrives_whole(app, client, coloured):
    """Five megabytes in pieces of many sizes arrive as they were sent."""
    sizes = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000] * 5

    @app.get("/")
    @coloured
    def index():
        return Response(bytes([number % 256]) * size for number, size in enumerate(sizes))

    data = client.get("/").data

    assert data == b"".join(bytes([number % 256]) * size for number, size in enumerate(sizes))
