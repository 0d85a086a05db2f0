"""How far a request walks: frames from the door to the view, and calls of the framework, for hello world with a path parameter.

`sys.setprofile` counts; there is no timing in it. The ceilings are the counts of today: they may be lowered, not raised.
"""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import Any

import pytest

import carboy

#: Libraries that the framework stands on; their calls are its own.
HOUSE = str(Path(carboy.__file__).parent)
LIBRARIES = tuple(f"/site-packages/{name}/" for name in ("werkzeug", "jinja2", "markupsafe", "itsdangerous", "blinker", "click", "msgspec"))

#: (door, the view's colour) → most framework calls, and frames from the door's call to the view.
CEILINGS = {
    ("wsgi", "sync"): (12, 3),
    ("asgi", "async"): (15, 2),
    ("asgi", "inline"): (15, 2),
    ("rsgi", "async"): (15, 2),
}
#: The same where a session is read and written between two hooks, the second of which sets a header; through ASGI.
MOST_WITH_SESSION = 121
#: The same for a static file, and for its 304.
MOST_OF_FILE, MOST_OF_304 = 52, 36
#: What the design promises.
MOST_CALLS = 40
MOST_FRAMES = 4


def is_ours(filename: str) -> bool:
    """Whether a frame belongs to the framework or to a library it stands on."""
    return filename.startswith(HOUSE) or any(part in filename for part in LIBRARIES)


class Walk:
    """Counts one request."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.frames: list[str] = []
        self.entered: set[Any] = set()

    def view_reached(self) -> None:
        """Called in the view: what stands between it and the door."""
        frame: Any = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            if is_ours(code.co_filename):
                self.frames.append(named(code))
            frame = frame.f_back

    def profile(self, frame: Any, event: str, argument: Any) -> None:
        # A coroutine that is resumed is entered again, in the same frame: it counts once.
        if event == "call" and frame not in self.entered and is_ours(frame.f_code.co_filename):
            self.entered.add(frame)
            self.calls.append(named(frame.f_code))


def named(code: Any) -> str:
    name = code.co_filename
    start = name.find("/carboy/") if name.startswith(HOUSE) else name.find("/site-packages/")
    return f"{name[start:].lstrip('/')}:{code.co_firstlineno} {code.co_qualname}"


def app_of(walk: Walk, colour: str) -> carboy.Carboy:
    app = carboy.Carboy("corridor")

    def hello(number: int) -> str:
        walk.view_reached()
        return f"Hello, {number}!"

    async def ahello(number: int) -> str:
        walk.view_reached()
        return f"Hello, {number}!"

    app.get("/u/<int:number>", endpoint="hello", blocking=colour == "sync")(ahello if colour == "async" else hello)
    return app


def walk_wsgi(app: carboy.Carboy, walk: Walk) -> bytes:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/u/7",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "HTTP_ACCEPT": "*/*",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    got: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        got.append((status, headers))

    sys.setprofile(walk.profile)
    try:
        body = app(environ, start_response)
        answer = b"".join(body)
    finally:
        sys.setprofile(None)
    assert got[0][0] == "200 OK"
    return answer


def walk_asgi(app: carboy.Carboy, walk: Walk, path: str = "/u/7", *more: tuple[bytes, bytes]) -> bytes:
    sent = asgi_events(app, walk, path, *more)
    assert sent[0]["status"] == 200
    return b"".join(message.get("body", b"") for message in sent[1:])


def asgi_events(app: carboy.Carboy, walk: Walk, path: str, *more: tuple[bytes, bytes]) -> list[Any]:
    """What the app sends for a GET with these headers besides the usual ones."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"accept", b"*/*"), *more],
        "extensions": {"http.response.pathsend": {}},
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async def serve() -> None:
        sys.setprofile(walk.profile)
        try:
            await app(scope, receive, send)
        finally:
            sys.setprofile(None)

    asyncio.run(serve())
    return sent


class Headers(dict):  # type: ignore[type-arg]
    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


class Scope:
    proto = "http"
    http_version = "1.1"
    method = "GET"
    scheme = "http"
    path = "/u/7"
    query_string = ""
    authority = None
    client = "127.0.0.1:50000"
    server = "127.0.0.1:80"
    headers = Headers(host="localhost", accept="*/*")


class Protocol:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def response_bytes(self, status: int, headers: Any, body: bytes) -> None:
        self.sent.append((status, headers, body))


def walk_rsgi(app: carboy.Carboy, walk: Walk) -> bytes:
    protocol = Protocol()

    async def serve() -> None:
        sys.setprofile(walk.profile)
        try:
            await app.__rsgi__(Scope(), protocol)
        finally:
            sys.setprofile(None)

    asyncio.run(serve())
    assert protocol.sent[0][0] == 200
    return bytes(protocol.sent[0][2])


WALKS = {"wsgi": walk_wsgi, "asgi": walk_asgi, "rsgi": walk_rsgi}


@pytest.mark.parametrize(("door", "colour"), list(CEILINGS))
def test_hello_walks_no_further_than_it_did(door: str, colour: str) -> None:
    """Hello world with a path parameter takes no more framework calls, and no more frames to the view, than recorded."""
    warm = Walk()
    app = app_of(warm, colour)
    walk = Walk()
    WALKS[door](app, warm)  # compiles the plan
    warm.__dict__.update(walk.__dict__)

    answer = WALKS[door](app, warm)

    most_calls, most_frames = CEILINGS[door, colour]
    listed = "\n".join(warm.calls) + "\n\nframes, the view's first:\n" + "\n".join(warm.frames)
    assert answer == b"Hello, 7!"
    assert len(warm.calls) <= most_calls <= MOST_CALLS, f"{len(warm.calls)} framework calls, {most_calls} were enough:\n{listed}"
    assert len(warm.frames) <= most_frames <= MOST_FRAMES, f"{len(warm.frames)} frames, {most_frames} were enough:\n{listed}"


def test_session_walks_no_further_than_it_did() -> None:
    """Between the browser's cookie and the next one, two hooks and a header: no more framework calls than recorded."""
    walk = Walk()
    app = carboy.Carboy("corridor")
    app.secret_key = "sixteen letters or more"

    @app.before_request
    async def before() -> None:
        carboy.request.before = "1"  # type: ignore[attr-defined]

    @app.after_request
    async def after(response: carboy.Response) -> carboy.Response:
        response.headers["X-Before"] = carboy.request.before  # type: ignore[attr-defined]
        return response

    @app.get("/visits")
    async def visits() -> Any:
        carboy.session["visits"] = carboy.session.get("visits", 0) + 1
        return {"visits": carboy.session["visits"]}

    cookie = dict(asgi_events(app, walk, "/visits")[0]["headers"])[b"set-cookie"].partition(b";")[0]
    walk_asgi(app, walk, "/visits", (b"cookie", cookie))
    walk.calls.clear()

    answer = walk_asgi(app, walk, "/visits", (b"cookie", cookie))

    assert answer == b'{"visits":2}\n'
    assert len(walk.calls) <= MOST_WITH_SESSION, "\n".join([f"{len(walk.calls)} framework calls:", *walk.calls])


def test_static_file_walks_no_further_than_it_did(tmp_path: Path) -> None:
    """A file that is remembered, and the 304 of it: no more framework calls than recorded."""
    walk = Walk()
    (tmp_path / "it.txt").write_text("text")
    app = carboy.Carboy("corridor", static_folder=str(tmp_path), static_url_path="/static")

    first = asgi_events(app, walk, "/static/it.txt")
    etag = dict(first[0]["headers"])[b"etag"]
    walk.calls.clear()
    asgi_events(app, walk, "/static/it.txt")
    whole = list(walk.calls)
    walk.calls.clear()
    again = asgi_events(app, walk, "/static/it.txt", (b"if-none-match", etag))

    assert (first[0]["status"], again[0]["status"]) == (200, 304)
    assert len(whole) <= MOST_OF_FILE, "\n".join([f"{len(whole)} framework calls:", *whole])
    assert len(walk.calls) <= MOST_OF_304, "\n".join([f"{len(walk.calls)} framework calls:", *walk.calls])


def test_the_count_counts() -> None:
    """The profile sees the framework's calls, each once though it is suspended: the test above can fail."""
    walk = Walk()
    app = app_of(walk, "async")

    @app.before_request
    async def pause() -> None:
        await asyncio.sleep(0)

    walk_asgi(app, walk)
    walk.calls.clear()
    walk_asgi(app, walk)

    names = [call.rpartition(" ")[2] for call in walk.calls]
    assert (names.count("run"), names.count("App.find")) == (1, 1)
