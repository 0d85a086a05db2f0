"""Middleware around an app, of either protocol, whichever door the request came through."""

from __future__ import annotations

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from carboy import request


class StampWSGI:
    """WSGI middleware: adds to the environ, and a header to the answer."""

    def __init__(self, application, word):
        self.application = application
        self.word = word

    def __call__(self, environ, start_response):
        environ["board.words"] = [*environ.get("board.words", []), self.word]

        def stamped(status, headers, exc_info=None):
            return start_response(status, [*headers, ("X-Stamp", self.word)], exc_info)

        return self.application(environ, stamped)


class StampASGI:
    """ASGI middleware: adds a header to the request and one to the answer."""

    def __init__(self, application, word):
        self.application = application
        self.word = word

    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-stamp", self.word.encode())]}
            await send(message)

        scope = {**scope, "headers": [*scope["headers"], (b"x-word", self.word.encode())]}
        await self.application(scope, receive, stamped)


def test_wsgi_middleware_is_passed_on_every_door(app, client, coloured):
    """What is put around app.wsgi_app sees every request and every answer, outermost first."""

    @app.post("/here")
    @coloured
    def here():
        return {"words": request.environ["board.words"], "body": request.get_data(as_text=True), "path": request.path}

    app.wsgi_app = StampWSGI(app.wsgi_app, "inner")
    app.wsgi_app = StampWSGI(app.wsgi_app, "outer")

    response = client.post("/here?x=1", data=b"body" * 1000)

    assert response.json == {"words": ["outer", "inner"], "body": "body" * 1000, "path": "/here"}
    assert response.headers.getlist("X-Stamp") == ["inner", "outer"]


def test_wsgi_middleware_may_answer_itself(app, client, coloured):
    """Middleware that does not call the app answers alone."""

    def gate(environ, start_response):
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"closed ", b"today"]

    @app.get("/")
    @coloured
    def index():
        raise AssertionError("the app must not be reached")

    app.wsgi_app = gate

    response = client.get("/")

    assert (response.status_code, response.text) == (403, "closed today")


def test_proxy_fix_works_on_every_door(app, client, coloured):
    """Werkzeug's ProxyFix, as everyone puts it around wsgi_app, gives the client's own scheme, host and address."""

    @app.get("/")
    @coloured
    def index():
        return {"url": request.url, "remote": request.remote_addr}

    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    headers = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "board.example",
        "X-Forwarded-Prefix": "/board",
    }

    assert client.get("/", headers=headers).json == {"url": "https://board.example/board/", "remote": "203.0.113.9"}


def test_wsgi_middleware_lets_streams_through(app, client, coloured):
    """A stream behind middleware is still a stream, and whole."""

    @app.get("/")
    @coloured
    def index():
        return (f"{number}," for number in range(50))

    app.wsgi_app = StampWSGI(app.wsgi_app, "x")

    response = client.get("/")

    assert response.text == "".join(f"{number}," for number in range(50))
    assert response.headers["X-Stamp"] == "x"


def test_asgi_middleware_is_passed_on_every_door(app, client, coloured):
    """What is put around app.asgi_app sees every request and every answer, also behind a WSGI server."""

    @app.post("/here")
    @coloured
    def here():
        return {"word": request.headers["X-Word"], "body": request.get_data(as_text=True), "query": request.args["x"]}

    app.asgi_app = StampASGI(app.asgi_app, "asgi")

    response = client.post("/here?x=1", data=b"body" * 1000)

    assert response.json == {"word": "asgi", "body": "body" * 1000, "query": "1"}
    assert response.headers["X-Stamp"] == "asgi"


def test_middleware_of_both_protocols_may_be_mixed(app, client, coloured):
    """An app with middleware of both kinds has each request pass through each of them, once."""

    @app.get("/")
    @coloured
    def index():
        return {"words": request.environ["board.words"], "word": request.headers["X-Word"]}

    app.wsgi_app = StampWSGI(app.wsgi_app, "wsgi")
    app.asgi_app = StampASGI(app.asgi_app, "asgi")

    response = client.get("/")

    assert response.json == {"words": ["wsgi"], "word": "asgi"}
    assert sorted(response.headers.getlist("X-Stamp")) == ["asgi", "wsgi"]


def test_error_comes_through_middleware(app, client, coloured):
    """With TESTING, an error of the view is raised in the test, also from behind middleware."""
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=None)

    @app.get("/")
    @coloured
    def index():
        raise ZeroDivisionError

    app.wsgi_app = StampWSGI(app.wsgi_app, "x")

    with pytest.raises(ZeroDivisionError):
        client.get("/")
