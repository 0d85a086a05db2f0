"""The production door around small applications, without a server: what it adds, refuses, and leaves alone."""

import asyncio
import gc
import time
import weakref

import pytest

import carboy
from carboy.core.deadline import FLIGHT
from carboy.server.door import production
from carboy.server.errors import OptionError
from carboy.server.options import Options
from carboy.server.request_id import is_sane


async def plain(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
    await send({"type": "http.response.body", "body": b"fine"})


def scope_of(*headers, kind="http", **more):
    return {
        "type": kind, "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "http_version": "1.1", "scheme": "http",
        "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "root_path": "", "state": {},
        **more,
    }  # fmt: skip


class Wire:
    """Both ends of an ASGI request."""

    def __init__(self, *events):
        self.events = list(events)
        self.sent = []

    async def receive(self):
        if self.events:
            return self.events.pop(0)
        await asyncio.get_running_loop().create_future()

    async def send(self, event):
        self.sent.append(event)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])


def ask(app, scope=None, *events, options=None, behind=None):
    wire = Wire(*events)
    asyncio.run(production(app, options or Options(), behind)(scope or scope_of(), wire.receive, wire.send))
    return wire


def piece(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_answer_and_request_have_the_same_id():
    """The id is a field of the answer, and a header of the request that the application sees."""
    seen = []

    async def app(scope, receive, send):
        seen.append(dict(scope["headers"])[b"x-request-id"])
        await plain(scope, receive, send)

    wire = ask(app)

    assert wire.headers[b"x-request-id"] == seen[0]
    assert is_sane(seen[0])


def test_no_ids_when_off():
    """--request-ids off adds nothing to either side."""
    wire = ask(plain, options=Options(request_ids="off"))

    assert wire.headers == {b"x-app": b"1"}


def test_headers_of_any_shape_are_taken():
    """An application may give its headers as a tuple, or leave them out."""

    async def tuples(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": ((b"x-app", b"1"),)})
        await send({"type": "http.response.body"})

    async def without(scope, receive, send):
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    assert set(ask(tuples).headers) == {b"x-app", b"x-request-id"}
    assert set(ask(without).headers) == {b"x-request-id"}


def test_a_request_leaves_nothing_for_the_collector():
    """The flight of a request that is over is freed at once: reference counts alone do it."""
    flights = []

    async def app(scope, receive, send):
        flights.append(weakref.ref(scope[FLIGHT]))
        await plain(scope, receive, send)

    async def main():
        door = production(app, Options())
        wire = Wire()
        await door(scope_of(), wire.receive, wire.send)
        return flights[0]()

    gc.disable()
    try:
        assert asyncio.run(main()) is None
    finally:
        gc.enable()


def test_errors_of_the_application_pass():
    """What the application raises reaches the server unchanged."""

    async def app(scope, receive, send):
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        ask(app)


def test_connection_field_is_not_said_in_http_2():
    """RFC 9113 §8.2.2: a refused request of HTTP/2 ends without `connection`."""
    second = ask(plain, scope_of((b"host", b"other"), http_version="2"))
    first = ask(plain, scope_of((b"host", b"other")))

    assert second.status == first.status == 400
    assert b"connection" not in second.headers
    assert first.headers[b"connection"] == b"close"


def test_head_requests_are_refused_without_a_body():
    """A refusal of HEAD has the length of its text and no text."""
    wire = ask(plain, scope_of((b"host", b"other"), method="HEAD"))

    assert wire.sent[1]["body"] == b""
    assert wire.headers[b"content-length"] != b"0"


@pytest.mark.parametrize(
    ("option", "value"),
    [("trusted_hosts", "a/b"), ("trusted_hosts", "a:80"), ("trusted_proxies", "proxy.example"), ("proxy_headers", "x-real-ip")],
)
def test_options_that_do_not_read_are_told(option, value):
    """Hosts with ports, proxies that are no networks, headers that tell nothing: an error that names the flag."""
    with pytest.raises(OptionError, match=option.replace("_", "-")):
        production(plain, Options(**{option: value}))


def test_websocket_with_a_bad_host_is_refused():
    """A handshake for a host that is not served never reaches the application."""

    async def app(scope, receive, send):
        raise AssertionError("reached")

    wire = ask(app, scope_of(kind="websocket"), {"type": "websocket.connect"}, options=Options(trusted_hosts="shop.example"))

    assert [each["type"] for each in wire.sent] == ["websocket.close"]


def test_websocket_behind_a_proxy_is_secure():
    """X-Forwarded-Proto: https makes a WebSocket's scheme wss."""
    schemes = []

    async def app(scope, receive, send):
        schemes.append((scope["scheme"], scope["client"][0]))

    told = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"203.0.113.7"))
    ask(app, scope_of(*told, kind="websocket", scheme="ws"), options=Options(trusted_proxies="127.0.0.1"))

    assert schemes == [("wss", "203.0.113.7")]


def test_prefix_stands_before_the_path():
    """ASGI: `path` and `raw_path` begin with `root_path`, whatever of it the proxy has taken off."""
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await plain(scope, receive, send)

    scope = scope_of((b"x-forwarded-prefix", b"/shop"), path="/shop/a b", raw_path=b"/shop/a%20b", root_path="/v1")
    ask(app, scope, options=Options(trusted_proxies="127.0.0.1"))

    assert (seen["root_path"], seen["path"], seen["raw_path"]) == ("/shop/v1", "/shop/shop/a b", b"/shop/shop/a%20b")
    assert seen["carboy.proxy"] == (("127.0.0.1", 1), "http")


def test_plain_application_gets_no_answer_out_for_half_a_body():
    """It sees `http.disconnect`; an answer that it makes all the same is replaced by the 400."""

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await plain(scope, receive, send)

    wire = ask(app, scope_of((b"content-length", b"10")), piece(b"abc"), {"type": "http.disconnect"})

    assert wire.status == 400
    assert wire.headers[b"connection"] == b"close"


def test_plain_application_is_limited():
    """A chunked body that passes --max-body is given up for an application that does not count."""

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    wire = ask(app, scope_of((b"transfer-encoding", b"chunked")), piece(b"x" * 60), piece(b"x" * 60), options=Options(max_body=100))

    assert wire.status == 413


def test_max_body_is_the_default_of_a_carboy_application():
    """Given by the operator it is the app's MAX_BODY_SIZE; not given, it changes nothing."""
    untouched, limited = carboy.Carboy(__name__), carboy.Carboy(__name__)

    production(untouched, Options())
    production(limited, Options.load({"max_body": "1K"}))

    assert untouched.config["MAX_BODY_SIZE"] == 16 * 1024 * 1024
    assert limited.config["MAX_BODY_SIZE"] == 1024


def test_deadline_of_a_route_counts_also_when_longer():
    """A route's `timeout=` is set on the flight before its view, in both colours."""
    app = carboy.Carboy(__name__)

    @app.get("/async", timeout=2.5)
    async def waits():
        return str(carboy.request.environ["asgi.scope"][FLIGHT].timeout)

    @app.get("/def", timeout=0)
    def blocks():
        return str(carboy.request.environ["asgi.scope"][FLIGHT].timeout)

    @app.get("/none")
    def none():
        return str(carboy.request.environ["asgi.scope"][FLIGHT].timeout)

    told = [ask(app, scope_of(path=path, raw_path=path.encode())).sent[1]["body"] for path in ("/async", "/def", "/none")]

    assert told == [b"2.5", b"0", b"60.0"]


def test_view_that_answers_its_cancelling_is_heard():
    """An overdue view may catch the cancelling and answer for itself."""

    async def app(scope, receive, send):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await plain(scope, receive, send)

    begun = time.monotonic()
    wire = ask(app, options=Options(request_timeout=0.2))

    assert wire.status == 200
    assert time.monotonic() - begun < 2


def test_cancelling_by_others_is_not_swallowed():
    """A task that the server cancels ends cancelled, although the watch cancels too."""

    async def app(scope, receive, send):
        await asyncio.sleep(5)

    async def main():
        wire = Wire()
        task = asyncio.get_running_loop().create_task(production(app, Options())(scope_of(), wire.receive, wire.send))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return wire.sent

    assert asyncio.run(main()) == []


def test_bodies_of_http_2_are_watched_without_a_length():
    """HTTP/2 needs no field that tells of a body; the limit holds all the same."""

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await plain(scope, receive, send)

    events = (piece(b"x" * 60), piece(b"x" * 60), piece(b"", False))
    options = Options(max_body=100, http="auto")

    assert ask(app, scope_of(method="POST", http_version="2"), *events, options=options).status == 413
    assert ask(app, scope_of(method="POST", http_version="2"), piece(b"x"), piece(b"", False), options=options).status == 200


@pytest.mark.parametrize("length", [b"content-length", b"Content-Length", b"x-other"])
def test_large_answers_go_out_in_pieces(length):
    """Piece by piece where their length was told, so that they stay chunked or not as they were; the bytes are the same."""
    body = bytes(range(256)) * 8192

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(length, str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    sent = ask(app).sent[1:]

    assert b"".join(each["body"] for each in sent) == body
    assert (len(sent) > 1) == (length.lower() == b"content-length")
    assert not sent[-1].get("more_body")
