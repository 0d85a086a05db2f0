"""Events as they stand on the wire, and event streams through every door."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from carboy import g, request, session
from carboy.realtime.sse import Event, EventStream

# -- one event ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (Event("hello"), b"data: hello\n\n"),
        (Event("two\nlines"), b"data: two\ndata: lines\n\n"),
        (Event("a\r\nb\rc\n"), b"data: a\ndata: b\ndata: c\ndata: \n\n"),
        (Event("one\u2028line\x0b\x85of\x1cit"), "data: one\u2028line\x0b\x85of\x1cit\n\n".encode()),
        (Event(""), b"data: \n\n"),
        (Event(" leading"), b"data:  leading\n\n"),
        (Event({"price": 3, "text": "a\nb"}), b'data: {"price": 3, "text": "a\\nb"}\n\n'),
        (Event([1, None]), b"data: [1, null]\n\n"),
        (Event("x", event="offer", id="17", retry=2500), b"event: offer\nid: 17\nretry: 2500\ndata: x\n\n"),
        (Event(None, id=""), b"id: \n\n"),
        (Event("žluťoučký"), "data: žluťoučký\n\n".encode()),
    ],
)
def test_event_on_the_wire(event: Event, wire: bytes) -> None:
    """Fields in lines, a line for each line of the data, a blank line at the end."""
    assert event.encode() == wire


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"event": "a\nb"}, ValueError),
        ({"event": "a\rdata: forged"}, ValueError),
        ({"id": "1\n2"}, ValueError),
        ({"id": "1\0"}, ValueError),
        ({"id": 17}, TypeError),
        ({"event": b"x"}, TypeError),
        ({"retry": -1}, ValueError),
        ({"retry": 2.5}, TypeError),
        ({"retry": True}, TypeError),
    ],
)
def test_event_that_would_break_the_stream_up_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    """A line break in a name or id could forge another field."""
    with pytest.raises(error, match=f"Event\\({next(iter(fields))}="):
        Event("x", **fields)


async def _coroutine() -> None: ...


@pytest.mark.parametrize("source", ["text", b"bytes", {"a": 1}, 3, None])
def test_stream_of_something_else_is_refused(source: Any) -> None:
    """What cannot be a source is told at once, not in the middle of the answer."""
    with pytest.raises(TypeError, match="takes an async or a plain generator"):
        EventStream(source)


def test_generator_that_was_not_called_is_told_so() -> None:
    """The commonest slip has its own hint."""

    async def events() -> AsyncIterator[str]:
        yield "x"

    with pytest.raises(TypeError, match=r"call it, EventStream\(events\(\)\)"):
        EventStream(events)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="without a `yield`"):
        EventStream(_coroutine())  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"heartbeat": 0}, {"heartbeat": -1.0}, {"heartbeat": float("inf")}, {"retry": -5}])
def test_spans_that_are_none_are_refused(options: dict[str, Any]) -> None:
    """Seconds and milliseconds are numbers from their least on."""
    with pytest.raises(ValueError, match="EventStream"):
        EventStream(iter(()), **options)


# -- through the doors ----------------------------------------------------------------------------


@pytest.fixture(params=["async generator", "plain generator"])
def generated(request: pytest.FixtureRequest) -> Any:
    """Turn a plain generator function into one of this run's kind."""
    if request.param == "plain generator":
        return lambda function: function

    def twin_of(function: Any) -> Any:
        async def twin(*args: Any) -> AsyncIterator[Any]:
            flow = function(*args)
            try:
                for item in flow:
                    await asyncio.sleep(0)
                    yield item
            finally:
                flow.close()

        return twin

    return twin_of


def frames_of(response: Any) -> Iterator[bytes]:
    """The frames, without the comments."""
    rest = b""
    for piece in response.response:
        rest += piece
        while b"\n\n" in rest:
            frame, _, rest = rest.partition(b"\n\n")
            if not frame.startswith(b":"):
                yield frame


def begun(client: Any, first: bytes) -> Any:
    """Ask for the stream and read its heartbeat and its first event; the response, to be left with `close`."""
    response = client.get("/")
    pieces = iter(response.response)
    assert pieces is response.response, "the rest is not lost with this name"
    assert [next(pieces), next(pieces)] == [b":\n\n", first]
    return response


def serve_numbers(app: Any, coloured: Any, generated: Any, ended: Callable[[], object]) -> None:
    """A stream with no end in sight, whose generator tells when it is closed."""

    @generated
    def events():
        try:
            for number in range(100_000):
                yield str(number)
        finally:
            ended()

    @app.get("/")
    @coloured
    def index():
        return EventStream(events())


def test_events_of_every_kind_arrive(app, client, coloured, generated):
    """Text, JSON by the app's provider and events, whatever kind view and generator are."""

    @generated
    def events():
        yield "hello"
        yield {"b": 1, "a": [2]}
        yield [1, 2]
        yield Event({"x": None}, event="offer", id="17")

    @app.get("/")
    @coloured
    def index():
        return EventStream(events(), retry=3000)

    response = client.get("/")

    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert list(frames_of(response)) == [
        b"retry: 3000", b"data: hello", b'data: {"a": [2], "b": 1}', b"data: [1, 2]", b'event: offer\nid: 17\ndata: {"x": null}',
    ]  # fmt: skip


def test_request_session_and_g_are_there_until_teardown(app, client, coloured, generated):
    """The generator sees the view's context, and teardown waits for its end."""
    seen = []

    @generated
    def events():
        yield request.path
        yield session["user"]
        yield g.word
        seen.append("end of the stream")

    @app.get("/<word>")
    @coloured
    def index(word):
        g.word = word
        session["user"] = "Ana"
        return EventStream(events())

    @app.teardown_request
    def teardown(error):
        seen.append(("teardown", error))

    response = client.get("/jam")

    assert list(frames_of(response)) == [b"data: /jam", b"data: Ana", b"data: jam"]
    response.close()
    assert seen == ["end of the stream", ("teardown", None)]


def test_last_event_id_is_what_the_browser_saw(app, client, coloured):
    """`request.last_event_id`, None at the first connection."""

    @app.get("/")
    @coloured
    def index():
        return {"id": request.last_event_id}

    assert client.get("/").json == {"id": None}
    assert client.get("/", headers={"Last-Event-ID": "17"}).json == {"id": "17"}


def test_last_event_id_is_utf8(app, make_client, door):
    """Browsers send an id as UTF-8; granian's RSGI keeps such a header to itself."""
    if door == "rsgi":
        pytest.skip("granian's RSGI gives no header value that is not ASCII")

    @app.get("/")
    def index():
        return {"id": request.last_event_id}

    client = make_client(app)
    sent = "ž".encode().decode("latin1")

    assert client.get("/", headers={"Last-Event-ID": sent}).json == {"id": "ž"}


def test_heartbeat_leaves_the_source_alone(app, client, coloured, generated):
    """While the source is silent comments go out, and its next event comes all the same."""
    go = threading.Event()

    async def events() -> AsyncIterator[str]:
        yield "first"
        while not go.is_set():
            await asyncio.sleep(0.005)
        yield "second"

    def plain() -> Iterator[str]:
        yield "first"
        go.wait(10)
        yield "second"

    source = plain if generated(plain) is plain else events

    @app.get("/")
    @coloured
    def index():
        return EventStream(source(), heartbeat=0.02)

    pieces = iter(client.get("/").response)

    assert next(pieces) == b":\n\n"  # the headers go out with it, before there is any event
    assert next(pieces) == b"data: first\n\n"
    assert next(pieces) == b":\n\n"
    assert next(pieces) == b":\n\n"
    go.set()
    assert b"".join(pieces).replace(b":\n\n", b"") == b"data: second\n\n"


def test_stream_is_closed_when_the_client_leaves(app, client, coloured, generated):
    """The generator's `finally` runs, then teardown."""
    seen = []
    closed = threading.Event()
    serve_numbers(app, coloured, generated, lambda: seen.append("finally"))

    @app.teardown_request
    def teardown(error):
        seen.append("teardown")
        closed.set()

    begun(client, b"data: 0\n\n").close()

    assert closed.wait(5)
    assert seen == ["finally", "teardown"]


def test_async_source_that_waits_is_closed_at_once(app, client, coloured, door):
    """A client that goes while the source waits ends the wait, within a tenth of a second."""
    if door in ("wsgi", "cgi", "fastcgi"):
        pytest.skip("a sync door sees that its client has gone when it writes: at the next heartbeat")
    closed = threading.Event()

    async def events() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.sleep(60)
        finally:
            closed.set()

    @app.get("/")
    @coloured
    def index():
        return EventStream(events())

    response = begun(client, b"data: first\n\n")
    began = time.monotonic()
    response.close()

    assert closed.wait(5)
    assert time.monotonic() - began < 0.5, "a busy machine may be late, not by as much"


def test_plain_source_that_sleeps_is_closed_when_its_step_ends(app, client, coloured, door):
    """Its thread cannot be interrupted; nobody waits for it, and it is closed where it runs."""
    if door in ("wsgi", "cgi", "fastcgi"):
        pytest.skip("a sync door sees that its client has gone when it writes: at the next heartbeat")
    wake, closed = threading.Event(), threading.Event()
    threads = []

    def events() -> Iterator[str]:
        try:
            yield "first"
            wake.wait(10)
            threads.append(threading.current_thread())
            yield "nobody reads this"
        finally:
            threads.append(threading.current_thread())
            closed.set()

    @app.get("/")
    @coloured
    def index():
        return EventStream(events())

    response = begun(client, b"data: first\n\n")
    time.sleep(0.1)  # the next step has begun
    response.close()
    assert not closed.is_set()
    wake.set()

    assert closed.wait(5)
    assert threads[0] is threads[1]


def test_error_in_the_source_breaks_the_answer_off(app, client, coloured, generated):
    """The browser sees a broken connection and reconnects; the server's log has the error."""

    @generated
    def events():
        yield "first"
        raise ValueError("the source is dry")

    @app.get("/")
    @coloured
    def index():
        return EventStream(events())

    with pytest.raises((ValueError, RuntimeError)):
        client.get("/").get_data()


def test_item_that_is_no_event_breaks_the_answer_off(app, client, generated):
    """A number is no text; what a source may give is said."""

    @generated
    def events():
        yield 17

    @app.get("/")
    def index():
        return EventStream(events())

    with pytest.raises((TypeError, RuntimeError)):
        client.get("/").get_data()


def test_head_runs_no_source(app, client, coloured, generated):
    """The headers alone, and teardown."""
    seen = []

    @generated
    def events():
        seen.append("run")
        yield "x"

    @app.get("/")
    @coloured
    def index():
        return EventStream(events())

    @app.teardown_request
    def teardown(error):
        seen.append("teardown")

    response = client.head("/")
    response.close()

    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.data == b""
    assert seen == ["teardown"]


def test_stream_is_a_response_that_hooks_may_change(app, client, coloured):
    """Headers, cookies and the session as with any response."""

    @app.get("/")
    @coloured
    def index():
        session["seen"] = True
        stream = EventStream(iter(["x"]), headers={"X-Kind": "events", "Cache-Control": "no-cache"})
        stream.set_cookie("a", "b")
        return stream

    @app.after_request
    def after(response):
        response.headers["X-After"] = "1"
        return response

    headers = client.get("/").headers

    assert headers["X-Kind"] == "events"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-After"] == "1"
    assert {cookie.partition("=")[0] for cookie in headers.getlist("Set-Cookie")} == {"a", "session"}


def test_context_variables_of_the_view_are_seen(app, client, coloured, generated):
    """What a hook or the view binds (a log's request id) is there in the source, whatever its kind."""
    bound: contextvars.ContextVar[str] = contextvars.ContextVar("bound", default="nothing")

    @generated
    def events():
        yield bound.get()
        yield bound.get()

    @app.get("/")
    @coloured
    def index():
        bound.set("the view's")
        return EventStream(events())

    assert list(frames_of(client.get("/"))) == [b"data: the view's"] * 2


def test_source_is_asked_no_faster_than_it_is_read(app, client, coloured, generated):
    """A client that does not read keeps the source where it is."""
    made = []

    @generated
    def events():
        for number in range(1_000):
            made.append(number)
            yield "x" * 100_000

    @app.get("/")
    @coloured
    def index():
        return EventStream(events())

    response = client.get("/")
    pieces = iter(response.response)
    next(pieces)
    next(pieces)
    time.sleep(0.2)
    ahead = len(made)
    response.close()

    assert ahead < 200, "doors and pipes hold some megabytes, not the hundred that there are"


def test_rsgi_ends_a_stream_that_may_not_be_read(app):
    """Granian's RSGI queues what is sent without a bound, so a stream ends there after a megabyte, with a whole event."""

    @app.get("/")
    def index():
        return EventStream("x" * 10_000 for _ in range(1_000))

    data = app.test_client(door="rsgi").get("/").data

    assert 1024 * 1024 <= len(data) < 1024 * 1024 + 20_000
    assert data.endswith(b"x\n\n")


def test_compression_leaves_event_streams_alone(app, client, coloured, generated):
    """Each event goes out as it is, when it is made."""
    from carboy.batteries.compress import Compression

    app.fit(Compression())

    @generated
    def events():
        yield "x" * 10_000

    @app.get("/")
    @coloured
    def index():
        return EventStream(events())

    response = client.get("/", headers={"Accept-Encoding": "gzip, br, zstd"})

    assert "Content-Encoding" not in response.headers
    assert response.text.endswith("x\n\n")


def test_middleware_leaves_event_streams_what_they_are(app, client, coloured, generated, door):
    """Events arrive as they are made, and the generator is closed with its client, behind WSGI middleware too."""
    closed = threading.Event()
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start_response: inner(environ, start_response)
    serve_numbers(app, coloured, generated, closed.set)

    begun(client, b"data: 0\n\n").close()

    assert closed.wait(5)


def test_asgi_middleware_leaves_event_streams_what_they_are(app, make_client, door):
    """The same behind ASGI middleware; through RSGI a stream ends there too before it fills the memory."""
    inner = app.asgi_app

    async def around(scope, receive, send):
        await inner(scope, receive, send)

    app.asgi_app = around

    @app.get("/")
    async def index():
        async def events():
            for _ in range(1_000):
                yield "x" * 10_000

        return EventStream(events())

    data = make_client(app).get("/").data

    assert data.endswith(b"x\n\n")
    if door == "rsgi":
        assert 1024 * 1024 <= len(data) < 1024 * 1024 + 200_000
    else:
        assert data.count(b"data:") == 1_000


def test_sources_that_are_no_generators(app, client, coloured):
    """Anything that can be iterated, with `for` or with `async for`."""

    class Few:
        def __init__(self):
            self.left = 2

        def __aiter__(self):
            return self.items()

        async def items(self):
            while self.left:
                self.left -= 1
                yield request.path

    @app.get("/async")
    @coloured
    def asynchronous():
        return EventStream(Few())

    @app.get("/plain")
    @coloured
    def plain():
        return EventStream(["a", "b"])

    assert list(frames_of(client.get("/async"))) == [b"data: /async"] * 2
    assert list(frames_of(client.get("/plain"))) == [b"data: a", b"data: b"]
