"""The watchers, on each door and in both colours: the same facts of the same requests."""

import json
import time
from types import SimpleNamespace

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from carboy import Carboy
from carboy.observe import Observe
from carboy.observe.doors import watch_asgi, watch_rsgi, watch_wsgi
from carboy.observe.memory import LINES_LOST, SHED
from carboy.observe.observer import Observer
from carboy.testing.asgi import ASGIExchange
from carboy.testing.exchange import over_loop
from carboy.testing.rsgi import RSGIExchange

WATCHED = {
    "asgi": lambda app, observer: over_loop(lambda environ: ASGIExchange(watch_asgi(app, observer), environ)),
    "wsgi": watch_wsgi,
    "rsgi": lambda app, observer: over_loop(lambda environ: RSGIExchange(SimpleNamespace(__rsgi__=watch_rsgi(app.__rsgi__, observer)), environ)),
}


def make_app(colour: str) -> Carboy:
    app = Carboy("observed", static_folder=None)

    def view(f):
        if colour == "sync":
            return f

        async def awaited(**values):
            return f(**values)

        awaited.__name__ = f.__name__
        return awaited

    def user(id):
        return f"user {id}"

    def stream():
        return (f"{number}\n" for number in range(5)), {"Content-Type": "text/plain"}

    def boom():
        raise RuntimeError("on purpose")

    def post():
        return {"made": True}, 201

    app.get("/users/<int:id>")(view(user))
    app.get("/stream")(view(stream))
    app.get("/boom")(view(boom))
    app.post("/things")(view(post))
    return app


class Observed:
    """An application behind a watched door, and what was noted of its requests."""

    def __init__(self, door: str, colour: str, path: str, **settings) -> None:
        self.path = path
        self.app = make_app(colour)
        self.observe = self.app.fit(Observe(log="json", log_file=path, **settings))
        self.observer: Observer = self.observe.observer
        self.entry = WATCHED[door](self.app, self.observer)

    def request(self, path: str, **kwargs) -> tuple[int, bytes]:
        environ = EnvironBuilder(path, **kwargs).get_environ()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = "10.1.2.3", "4321"
        body, status, _ = run_wsgi_app(self.entry, environ, buffered=True)
        received = b"".join(body)
        getattr(body, "close", lambda: None)()
        return int(status[:3]), received

    def lines(self) -> list[dict]:
        log = self.observer.log
        assert log is not None
        until = time.monotonic() + 5
        with open(self.path) as file:
            while True:
                log.flush()
                file.seek(0)
                lines = [json.loads(line) for line in file]
                if lines or time.monotonic() > until:
                    return lines
                time.sleep(0.01)

    def counted(self) -> dict[tuple[str, str], list[int]]:
        memory, slot = self.observer.memory, self.observer.slot
        assert memory is not None and slot is not None
        return {name: entry.classes for name, entry in memory.entries(slot.number) if any(entry.classes)}


@pytest.fixture(params=["sync", "async"])
def colour(request) -> str:
    """Views by `def` or by `async def`."""
    return request.param


@pytest.fixture(params=sorted(WATCHED))
def door(request) -> str:
    """Each door of a server."""
    return request.param


@pytest.fixture
def observed(door, colour, tmp_path):
    """Make an observed application; it is stopped after the test."""
    made: list[Observed] = []

    def make(**settings) -> Observed:
        made.append(Observed(door, colour, str(tmp_path / "access.log"), **settings))
        return made[-1]

    yield make
    for each in made:
        each.observer.stop()


def test_request_is_logged_with_its_route(observed) -> None:
    """Method, path, rule, status, bytes, client, agent, id and trace."""
    seen = observed()
    trace = "0af7651916cd43dd8448eb211c80319c"

    assert seen.request(
        "/users/7?token=secret",
        headers={"User-Agent": "probe/1", "X-Request-ID": "id-9", "Traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    ) == (200, b"user 7")
    (line,) = seen.lines()

    assert line.pop("ms") < 5000
    assert line.pop("pid")
    assert line.pop("time")
    assert line == {
        "method": "GET", "path": "/users/7", "route": "/users/<int:id>", "status": 200, "bytes": 6, "client": "10.1.2.3",
        "user_agent": "probe/1", "request_id": "id-9", "trace_id": trace,
    }  # fmt: skip


def test_requests_are_counted_by_route_never_by_path(observed) -> None:
    """Misses are one label, whatever their paths."""
    seen = observed()

    for number in range(3):
        seen.request(f"/users/{number}")
        seen.request(f"/nowhere/{number}")
    seen.request("/things", method="POST")
    seen.request("/things", method="GET")

    assert seen.counted() == {
        ("GET", "/users/<int:id>"): [0, 3, 0, 0, 0],
        ("GET", "(none)"): [0, 0, 0, 4, 0],
        ("POST", "/things"): [0, 1, 0, 0, 0],
    }


def test_failing_view_is_a_500_of_its_route(observed) -> None:
    """An error that nobody answers counts where it happened."""
    seen = observed()

    status, _ = seen.request("/boom")
    (line,) = seen.lines()

    assert status == 500
    assert (line["status"], line["route"]) == (500, "/boom")
    assert seen.counted() == {("GET", "/boom"): [0, 0, 0, 0, 1]}


def test_streamed_bytes_are_counted_to_the_end(observed) -> None:
    """A stream is one request, ended by its last byte, and not called aborted."""
    seen = observed()

    assert seen.request("/stream") == (200, b"0\n1\n2\n3\n4\n")
    (line,) = seen.lines()

    assert line["bytes"] == 10
    assert "aborted" not in line


def test_own_pages_are_answered_at_the_door_and_not_counted(observed) -> None:
    """Health and metrics on the public port, where asked for."""
    seen = observed(health_prefix="/-/", metrics_path="/metrics")
    seen.request("/users/1")

    health = [seen.request(f"/-/{name}")[0] for name in ("livez", "readyz", "startupz")]
    head = seen.request("/-/livez", method="HEAD")
    posted, _ = seen.request("/-/livez", method="POST")
    status, metrics = seen.request("/metrics")

    assert health == [200, 200, 200]
    assert head == (200, b"")
    assert posted == 404
    assert status == 200
    assert b'carboy_http_requests_total{method="GET",route="/users/<int:id>",status="2xx"} 1' in metrics
    assert b"livez" not in metrics


def test_nothing_of_ours_is_there_unless_asked_for(observed) -> None:
    """The default shows no page to the public."""
    seen = observed()

    assert [seen.request(path)[0] for path in ("/livez", "/readyz", "/startupz", "/metrics")] == [404] * 4


def test_in_flight_returns_to_nought(observed) -> None:
    """What begins ends, whatever became of it."""
    seen = observed()
    for path in ("/users/1", "/boom", "/nowhere", "/stream"):
        seen.request(path)
    memory = seen.observer.memory
    assert memory is not None

    (reading,) = memory.readings()

    assert (reading.in_flight, reading.ended, reading.words[LINES_LOST]) == (0, 4, 0)


def asgi_answer(app, *events):
    async def plain(scope, receive, send):
        for event in events:
            if isinstance(event, BaseException):
                raise event
            await send(event)

    return watch_asgi(plain, app)


async def call(watched) -> None:
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "client": None, "scheme": "http"}

    async def receive():
        return {"type": "http.disconnect"}

    async def send(event):
        pass

    await watched(scope, receive, send)


START = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.mark.parametrize(
    ("events", "status", "aborted"),
    [
        ([START, {"type": "http.response.body", "body": b"abc"}], 200, False),
        ([START, {"type": "http.response.body", "body": b"abc", "more_body": True}], 200, True),
        ([START, RuntimeError("mid-way")], 200, True),
        ([RuntimeError("before")], 500, False),
        ([], 499, False),
    ],
    ids=["whole", "broken off", "raised mid-way", "raised before", "client left"],
)
def test_how_an_answer_ended_is_told(tmp_path, events, status, aborted) -> None:
    """An answer that broke off is named so; without one it is 500 or 499."""
    import asyncio

    observer = Observer(Observe(log="json", log_file=str(tmp_path / "l")).observer.settings)
    watched = asgi_answer(observer, *events)

    async def main() -> None:
        try:
            await call(watched)
        except RuntimeError:
            pass

    asyncio.run(main())
    observer.stop()
    line = json.loads((tmp_path / "l").read_text())

    assert (line["status"], line.get("aborted", False)) == (status, aborted)


def test_refusals_at_the_door_count_as_shed() -> None:
    """503 with Retry-After from outside the application; an application's own 503 is its answer."""
    import asyncio

    observer = Observer(Observe().observer.settings)
    refused = asgi_answer(observer, {**START, "status": 503, "headers": [(b"retry-after", b"1")]}, {"type": "http.response.body"})
    answered = asgi_answer(observer, {**START, "status": 503}, {"type": "http.response.body"})

    asyncio.run(call(refused))
    asyncio.run(call(answered))
    slot = observer.slot
    assert slot is not None

    assert slot.words[slot.start + SHED] == 1
    observer.stop()
