"""Requests are counted once, whatever becomes of them; answers of a leaving worker close their connection."""

import pytest

from carboy.server.counting import counted
from carboy.server.granian_doors import ClosingProtocol, closing_send
from carboy.server.tally import Tally


def call(app, tally):
    started = []
    body = counted(app, tally)({}, lambda status, headers, exc_info=None: started.append((status, headers)))
    return started, body


def test_list_is_over_when_it_is_returned():
    """A whole answer needs no close."""
    tally = Tally()

    _, body = call(lambda environ, start: [b"x"], tally)

    assert body == [b"x"]
    assert (tally.started, tally.in_flight) == (1, 0)


def test_stream_is_over_when_it_is_closed():
    """A streamed answer is in flight until the server closes it; closing twice counts once; its own close is called."""
    tally = Tally()
    closed = []

    class Body:
        def __iter__(self):
            return iter([b"x"])

        def close(self):
            closed.append(True)

    _, body = call(lambda environ, start: Body(), tally)
    assert tally.in_flight == 1
    assert list(body) == [b"x"]
    body.close()
    body.close()

    assert tally.in_flight == 0
    assert closed


def test_error_is_an_end_too():
    """An application that raises is not in flight any more."""
    tally = Tally()

    def app(environ, start):
        raise LookupError

    with pytest.raises(LookupError):
        call(app, tally)

    assert (tally.started, tally.in_flight) == (1, 0)


def test_leaving_worker_closes_wsgi_connections():
    """`Connection: close` replaces what the application said."""
    tally = Tally()
    tally.drain()

    def app(environ, start):
        start("200 OK", [("Connection", "keep-alive"), ("X", "y")])
        return [b""]

    started, _ = call(app, tally)

    assert started == [("200 OK", [("X", "y"), ("connection", "close")])]


def test_leaving_worker_closes_asgi_connections_but_not_http2():
    """On HTTP/1 the start event gets the header; HTTP/2 forbids it."""
    sent = []
    start = {"type": "http.response.start", "status": 200, "headers": [(b"Connection", b"keep-alive"), (b"x", b"y")]}

    closing_send(sent.append, {"http_version": "1.1"})(start)
    closing_send(sent.append, {"http_version": "1.1"})({"type": "http.response.body"})
    closing_send(sent.append, {"http_version": "2"})(start)

    assert sent[0]["headers"] == [(b"x", b"y"), (b"connection", b"close")]
    assert sent[1] == {"type": "http.response.body"}
    assert sent[2] is start


def test_leaving_worker_closes_rsgi_connections():
    """Every way to answer gets the header; other members pass."""

    class Inner:
        status = 7

        def response_str(self, status, headers, body):
            return status, headers, body

    protocol = ClosingProtocol(Inner())

    assert protocol.response_str(200, [("a", "b")], "x") == (200, [("a", "b"), ("connection", "close")], "x")
    assert protocol.status == 7


def test_answer_to_a_handshake_keeps_its_connection_field():
    """`Connection: upgrade` is what makes it one (RFC 6455 §4.2.2); the socket may leave later."""
    sent = []
    start = {"type": "http.response.start", "status": 101, "headers": [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]}

    closing_send(sent.append, {"http_version": "1.1"})(start)

    assert sent == [start]
