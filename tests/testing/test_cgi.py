"""The CGI and FastCGI doors, with WSGI applications of a few lines."""

from __future__ import annotations

import threading

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from carboy.testing.doors import through_cgi, through_fastcgi

pytestmark = pytest.mark.parametrize("through", [through_cgi, through_fastcgi])


def test_request_and_answer_come_through(through):
    """Path, query, headers, body, status and headers arrive as they were sent."""

    @Request.application
    def app(request):
        seen = [request.path, request.script_root, request.url, request.headers["X-Word"], request.cookies["a"]]
        return Response("|".join(seen).encode() + request.data, 201, {"X-Back": "yes"})

    client = Client(through(app))
    client.set_cookie("a", "ä", domain="h.example")
    response = client.post("/é x?q=1", base_url="https://h.example:81/root", headers={"X-Word": "w"}, data=b"\xff" * 1000)

    assert (response.status_code, response.headers["X-Back"]) == (201, "yes")
    assert response.data == "/é x|/root|https://h.example:81/root/é%20x?q=1|w|ä".encode() + b"\xff" * 1000


def test_error_of_the_application_is_raised_in_the_test(through):
    """What an application lets out comes to whoever sent the request, before its answer or in it."""

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/now":
            raise ZeroDivisionError("now")
        start_response("200 OK", [])
        yield b"x"
        raise ZeroDivisionError("later")

    def early(environ, start_response):
        raise ZeroDivisionError("now")

    with pytest.raises(ZeroDivisionError, match="now"):
        Client(through(early)).get("/")
    with pytest.raises(ZeroDivisionError, match="later"):
        Client(through(app)).get("/").get_data()


def test_answer_arrives_while_it_is_made(through):
    """The first piece is there before the second one exists."""
    arrived = threading.Event()

    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"first"
        yield b"second" if arrived.wait(10) else b"too late"

    body = iter(Client(through(app)).get("/").response)

    assert next(body) == b"first"
    arrived.set()
    assert b"".join(body) == b"second"


def test_client_that_leaves_ends_the_answer(through):
    """An answer that is closed early is closed in the application too."""
    closed = threading.Event()

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 70_000
        finally:
            closed.set()

    response = Client(through(app)).get("/")
    next(iter(response.response))
    response.close()

    assert closed.wait(5)


def test_requests_at_once_are_told_apart(through):
    """Of several requests at one time, each comes to its own application and back to its own client."""
    together = threading.Barrier(3, timeout=10)
    answers = []

    def ask(word):
        @Request.application
        def app(request):
            together.wait()
            return Response(word)

        answers.append(Client(through(app)).get("/").text == word)

    threads = [threading.Thread(target=ask, args=(word,)) for word in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [True, True, True]
