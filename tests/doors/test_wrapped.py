"""Middleware of guests that looks at an answer as it starts, or stands where the whole app is called."""

from __future__ import annotations

import asyncio

import carboy
from carboy.gateways.bridge import wsgi_as_asgi


def test_start_response_of_middleware_is_called_in_the_context(app, client, coloured):
    """What wraps wsgi_app sees the current request when the answer starts; teardown functions run after that."""
    order = []
    inner = app.wsgi_app

    def traced(environ, start_response):
        def start(status, headers, exc_info=None):
            order.append(f"{status} {carboy.request.path} {carboy.request.environ['trial']}")
            return start_response(status, [*headers, ("X-Traced", "yes")])

        environ["trial"] = "mark"
        return inner(environ, start)

    app.wsgi_app = traced
    app.teardown_request(lambda error: order.append(f"teardown {error!r}"))

    @app.get("/bottle")
    @coloured
    def bottle():
        return {"bottle": 1}

    @app.get("/broken")
    @coloured
    def broken():
        raise KeyError("b")

    answer = client.get("/bottle")
    assert (answer.json, answer.headers["X-Traced"]) == ({"bottle": 1}, "yes")
    assert order == ["200 OK /bottle mark", "teardown None"]
    del order[:]
    assert client.get("/broken").status_code == 500
    assert order == ["500 INTERNAL SERVER ERROR /broken mark", "teardown KeyError('b')"]


def test_call_replaced_on_a_class_by_a_wsgi_callable_counts_behind_asgi(root, make_client, coloured):
    """A guest that knows only WSGI puts a function in the place of `__call__`: it is called once behind each door."""

    class Traced(carboy.Carboy):
        pass

    calls = []
    original = Traced.__call__

    def traced(self, environ, start_response):
        calls.append(environ["PATH_INFO"])
        return original(self, environ, start_response)

    Traced.__call__ = traced
    app = Traced("board", root_path=str(root))

    @app.get("/bottle")
    @coloured
    def bottle():
        return "bottle"

    client = make_client(app)
    assert client.get("/bottle").text == "bottle"
    assert calls == ["/bottle"]


def test_send_of_a_server_may_give_any_awaitable():
    """WSGI middleware behind ASGI sends through a `send` whose awaitable is no coroutine, as some servers have it."""
    sent = []

    class Sending:
        def __init__(self, message):
            self.message = message

        def __await__(self):
            sent.append(self.message)
            yield from ()

    async def receive():
        return {"type": "http.request"}

    def hello(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    asyncio.run(wsgi_as_asgi(hello, scope, receive, Sending, None))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert b"".join(message.get("body", b"") for message in sent) == b"hello"
