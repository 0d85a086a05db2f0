"""One process that times calls when it is asked to: the worker of `core.py`.

It reads lines `case times` and answers each with the processor time of a call in µs. Carboy and Flask each have such a
process, with their own environments, and `core.py` asks them in turn: what disturbs one round disturbs both.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

#: Takes a number of calls, gives the seconds of processor time they took.
Work = Callable[[int], float]

HEADERS = [
    ("host", "127.0.0.1:8000"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br"),
]
ORDER = {"order": 17, "customer": "Ada", "lines": [{"item": f"part-{n}", "count": n, "price": 9.95} for n in range(8)]}
ROWS = [{"name": f"<row {n}>", "value": n} for n in range(12)]
PAGE = "<ul>{% for row in rows %}<li>{{ row.name }}: {{ row.value }}</li>{% endfor %}</ul>"


def environ_of(method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> dict[str, Any]:
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["CONTENT_TYPE"] = "application/json"
    return environ


def by_wsgi(
    app: Any,
    target: str,
    *,
    method: str = "GET",
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    status: int = 200,
    expect: bytes | None = None,
) -> Work:
    """Calls through WSGI; the answer is checked before anything is timed."""
    template = environ_of(method, target, HEADERS if headers is None else headers, body)
    seen: list[str] = []

    def start_response(status_line: str, _headers: Any, _exc_info: Any = None) -> None:
        seen.append(status_line)

    def call() -> bytes:
        environ = template.copy()
        if body:
            environ["wsgi.input"] = io.BytesIO(body)
        result = app(environ, start_response)
        found = b"".join(result)
        close = getattr(result, "close", None)
        if close is not None:
            close()
        return found

    found = call()
    if int(seen[0][:3]) != status or (expect is not None and found != expect):
        raise AssertionError(f"{method} {target} gave {seen[0]} {found[:300]!r}")

    def work(times: int) -> float:
        seen.clear()
        start = process_time()
        for _ in range(times):
            call()
        return process_time() - start

    return work


def scope_of(method: str, target: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "extensions": {"http.response.pathsend": {}},
        "state": {},
    }


def asgi_caller(app: Any, target: str, method: str, headers: list[tuple[str, str]], body: bytes) -> Callable[[list[Any]], Any]:
    template = scope_of(method, target, headers)
    request = {"type": "http.request", "body": body, "more_body": False}

    async def receive() -> dict[str, Any]:
        return request

    def call(sent: list[Any]) -> Any:
        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        return app(template.copy(), receive, send)

    return call


def _checked(sent: list[Any], status: int, expect: bytes | None, target: str) -> None:
    found = b"".join(message.get("body", b"") for message in sent[1:])
    if sent[0]["status"] != status or (expect is not None and found != expect):
        raise AssertionError(f"{target} gave {sent[0]} {found[:300]!r}")


def by_asgi(
    app: Any,
    target: str,
    *,
    method: str = "GET",
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    status: int = 200,
    expect: bytes | None = None,
) -> Work:
    """Calls through ASGI, one after the other and without a loop: nothing on this way may suspend."""
    headers = list(HEADERS if headers is None else headers)
    if body:
        headers += [("content-length", str(len(body))), ("content-type", "application/json")]
    caller = asgi_caller(app, target, method, headers, body)

    def call() -> list[Any]:
        sent: list[Any] = []
        try:
            caller(sent).send(None)
        except StopIteration:
            return sent
        raise AssertionError(f"{target} suspends")

    _checked(call(), status, expect, target)

    def work(times: int) -> float:
        start = process_time()
        for _ in range(times):
            call()
        return process_time() - start

    return work


def on_loop(app: Any, target: str, *, in_flight: int = 32, expect: bytes | None = None) -> Work:
    """Calls through ASGI on a running loop (uvloop where there is one), some of them at the same time."""
    import asyncio

    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    caller = asgi_caller(app, target, "GET", HEADERS, b"")
    loop = new_event_loop()

    async def once() -> None:
        sent: list[Any] = []
        await caller(sent)
        _checked(sent, 200, expect, target)

    loop.run_until_complete(once())

    async def connection(times: int) -> None:
        for _ in range(times):
            # A server makes a task of each request.
            await asyncio.get_running_loop().create_task(caller([]))

    async def all_connections(times: int) -> None:
        await asyncio.gather(*(connection(times // in_flight) for _ in range(in_flight)))

    def work(times: int) -> float:
        start = process_time()
        loop.run_until_complete(all_connections(max(times, in_flight)))
        return process_time() - start

    return work


class RsgiHeaders:
    """As granian's: a mapping with several values a name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs
        self.names = dict(pairs)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def items(self) -> list[tuple[str, str]]:
        return self.pairs


class RsgiScope:
    proto = "http"
    http_version = "1.1"
    scheme = "http"
    server = "127.0.0.1:8000"
    client = "127.0.0.1:50000"
    authority = None
    method = "GET"

    def __init__(self, target: str) -> None:
        self.path, _, self.query_string = target.partition("?")
        self.headers = RsgiHeaders(HEADERS)


class RsgiProtocol:
    def __init__(self) -> None:
        self.sent: tuple[int, Any, bytes] = (0, None, b"")

    def response_bytes(self, status: int, headers: Any, body: bytes) -> None:
        self.sent = status, headers, body


def by_rsgi(app: Any, target: str, *, expect: bytes) -> Work:
    """Calls through RSGI, as `by_asgi`."""
    scope = RsgiScope(target)

    def call() -> tuple[int, Any, bytes]:
        protocol = RsgiProtocol()
        try:
            app(scope, protocol).send(None)
        except StopIteration:
            return protocol.sent
        raise AssertionError(f"{target} suspends")

    status, _, found = call()
    assert (status, found) == (200, expect), (status, found)

    def work(times: int) -> float:
        start = process_time()
        for _ in range(times):
            call()
        return process_time() - start

    return work


def plain(function: Callable[[], Any]) -> Work:
    """Calls of a function, the cost of the loop included."""

    def work(times: int) -> float:
        start = process_time()
        for _ in range(times):
            function()
        return process_time() - start

    return work


# -- what nothing can be faster than ----------------------------------------------------------------


def bare_wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = json.dumps({"hello": "world"}, separators=(",", ":")).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def bare_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = json.dumps({"hello": "world"}, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def bare_rsgi(scope: Any, protocol: Any) -> None:
    body = json.dumps({"hello": "world"}, separators=(",", ":")).encode()
    protocol.response_bytes(200, [("content-type", "application/json"), ("content-length", str(len(body)))], body)


HELLO = b'{"hello":"world"}'


def flask_cases() -> dict[str, Callable[[], Work]]:
    from flask import Flask, render_template, request, session

    app = Flask(__name__, template_folder=str(_templates()))
    app.secret_key = "a secret of thirty-two characters"
    session_app = app

    @app.get("/json")
    def hello() -> Any:
        return {"hello": "world"}

    @app.get("/users/<int:user>")
    def user(user: int) -> Any:
        return {"user": user, "q": request.args["q"], "page": int(request.args["page"])}

    @app.post("/orders")
    def order() -> Any:
        return request.get_json()

    @app.get("/page")
    def page() -> Any:
        return render_template("page.html", rows=ROWS)

    @app.get("/visits")
    def visits() -> Any:
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"]}

    for n in range(200):
        app.add_url_rule(f"/other{n}/<name>", f"other{n}", lambda name: {"hello": name})
    body = json.dumps(ORDER).encode()
    return {
        "bare wsgi": lambda: by_wsgi(bare_wsgi, "/json", expect=HELLO),
        "wsgi json": lambda: by_wsgi(app, "/json"),
        "wsgi params": lambda: by_wsgi(app, "/users/42?q=x&page=2"),
        "wsgi body": lambda: by_wsgi(app, "/orders", method="POST", body=body),
        "wsgi template": lambda: by_wsgi(app, "/page"),
        "wsgi session written": lambda: by_wsgi(session_app, "/visits"),
    }


def _templates() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    (folder / "page.html").write_text(PAGE)
    return folder


def _many(count: int, asynchronous: bool = False) -> Any:
    from carboy import Carboy

    app = Carboy(__name__, static_folder=None)

    @app.get("/json")
    def hello() -> Any:
        return {"hello": "world"}

    @app.get("/users/<int:user>")
    def user(user: int) -> Any:
        return {"user": user}

    for n in range(count - 2):
        app.add_url_rule(f"/other{n}/<name>", f"other{n}", lambda name: {"hello": name})
    return app


def carboy_cases() -> dict[str, Callable[[], Work]]:
    from carboy import Carboy, Response, jsonify, render_template, request, session
    from carboy.core.ctx import Context
    from carboy.core.request import Request
    from carboy.gateways.cgi import answer

    root = _templates()
    (root / "static").mkdir()
    (root / "static" / "site.css").write_text("body { color: black }\n" * 4000)

    def make(**options: Any) -> Any:
        """An app with every workload, in both colours."""
        app = Carboy(__name__, template_folder=str(root), static_folder=str(root / "static"), **options)

        @app.get("/json")
        def hello() -> Any:
            return {"hello": "world"}

        @app.get("/async/json")
        async def hello_async() -> Any:
            return {"hello": "world"}

        @app.get("/inline/json", blocking=False)
        def hello_inline() -> Any:
            return {"hello": "world"}

        @app.get("/users/<int:user>")
        def user(user: int) -> Any:
            return {"user": user, "q": request.args["q"], "page": int(request.args["page"])}

        @app.get("/async/users/<int:user>")
        async def user_async(user: int) -> Any:
            return {"user": user, "q": request.args["q"], "page": int(request.args["page"])}

        @app.post("/orders")
        def order() -> Any:
            return request.get_json()

        @app.post("/async/orders")
        async def order_async() -> Any:
            return request.get_json()

        @app.post("/upload")
        def upload() -> Any:
            return str(len(request.get_data()))

        @app.post("/async/upload")
        async def upload_async() -> Any:
            return str(len(request.get_data()))

        @app.get("/page")
        def page() -> Any:
            return render_template("page.html", rows=ROWS)

        @app.get("/async/page")
        async def page_async() -> Any:
            return render_template("page.html", rows=ROWS)

        kinds: dict[str, Callable[[], Any]] = {
            "str": lambda: "hello",
            "bytes": lambda: b"hello",
            "list": lambda: [1, 2, 3],
            "tuple": lambda: ({"hello": "world"}, 201),
            "tuple-headers": lambda: ("hello", 200, {"X-Made-By": "bench"}),
            "jsonify": lambda: jsonify(hello="world"),
            "response": lambda: Response("hello"),
        }
        for kind, view in kinds.items():
            app.add_url_rule(f"/kinds/{kind}", kind, view)
        for n in range(200):
            app.add_url_rule(f"/other{n}/<name>", f"other{n}", lambda name: {"hello": name})
        return app

    app = make()

    def hooked(before: int, after: int) -> Any:
        app = make()
        for _ in range(before):
            app.before_request(lambda: None)
        for _ in range(after):
            app.after_request(lambda response: response)
        return app

    keyed = make()
    keyed.secret_key = "a secret of thirty-two characters"

    @keyed.get("/visit")
    def visit() -> Any:
        return {"visits": session.get("visits", 0)}

    @keyed.get("/count")
    def count() -> Any:
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"]}

    cookie = keyed.test_client().get("/count").headers["Set-Cookie"].partition(";")[0]
    with_cookie = [*HEADERS, ("cookie", cookie)]
    stale = [*HEADERS, ("if-none-match", keyed.test_client().get("/static/site.css").headers["ETag"])]
    body = json.dumps(ORDER).encode()
    environ = environ_of("GET", "/json", HEADERS)

    def match(target: str) -> Work:
        table = app.plans.table
        assert table.match("", target, "GET") is not None
        return plain(lambda: table.match("", target, "GET"))

    def match_among(count: int, target: str) -> Work:
        table = _many(count).plans.table
        assert table.match("", target, "GET") is not None
        return plain(lambda: table.match("", target, "GET"))

    def by_cgi(target: str, expect: bytes) -> Work:
        """The way of the CGI and FastCGI doors, from the environ to the bytes for the web server."""
        sent: list[bytes] = []
        assert answer(app, environ_of("GET", target, HEADERS), sent.append) and b"".join(sent).endswith(expect)
        template = environ_of("GET", target, HEADERS)
        return plain(lambda: answer(app, template.copy(), len))

    def context() -> Work:
        shallow = Request(environ.copy())

        def push_and_pop() -> None:
            ctx = Context(app, shallow)
            ctx.is_matched = True
            ctx.push()
            ctx.pop(None)

        app.plans  # noqa: B018  # made by reading it
        return plain(push_and_pop)

    def headers(count: int) -> list[tuple[str, str]]:
        return [*HEADERS, *((f"x-header-{n}", f"value {n}") for n in range(count - len(HEADERS)))]

    cases: dict[str, Callable[[], Work]] = {
        "bare wsgi": lambda: by_wsgi(bare_wsgi, "/json", expect=HELLO),
        "wsgi json": lambda: by_wsgi(app, "/json"),
        "wsgi params": lambda: by_wsgi(app, "/users/42?q=x&page=2"),
        "wsgi body": lambda: by_wsgi(app, "/orders", method="POST", body=body),
        "wsgi template": lambda: by_wsgi(app, "/page"),
        "wsgi static 304": lambda: by_wsgi(app, "/static/site.css", headers=stale, status=304),
        "wsgi miss (404)": lambda: by_wsgi(app, "/nothing", status=404),
        "bare asgi": lambda: by_asgi(bare_asgi, "/json", expect=HELLO),
        "asgi json": lambda: by_asgi(app, "/async/json"),
        "asgi json, def, blocking=False": lambda: by_asgi(app, "/inline/json"),
        "asgi params": lambda: by_asgi(app, "/async/users/42?q=x&page=2"),
        "asgi body": lambda: by_asgi(app, "/async/orders", method="POST", body=body),
        "asgi template": lambda: by_asgi(app, "/async/page"),
        "asgi static 304": lambda: by_asgi(app, "/static/site.css", headers=stale, status=304),
        "loop bare asgi": lambda: on_loop(bare_asgi, "/json", expect=HELLO),
        "loop async view": lambda: on_loop(app, "/async/json"),
        "loop sync view": lambda: on_loop(app, "/json"),
        "bare rsgi": lambda: by_rsgi(bare_rsgi, "/json", expect=HELLO),
        "rsgi json": lambda: by_rsgi(app.__rsgi__, "/async/json", expect=wsgi_text(app, "/json")),
        "rsgi params": lambda: by_rsgi(app.__rsgi__, "/async/users/42?q=x&page=2", expect=wsgi_text(app, "/users/42?q=x&page=2")),
        "rsgi template": lambda: by_rsgi(app.__rsgi__, "/async/page", expect=wsgi_text(app, "/page")),
        "cgi and fastcgi json": lambda: by_cgi("/json", wsgi_text(app, "/json")),
        "match fixed": lambda: match("/json"),
        "match int": lambda: match("/users/42"),
        "request": lambda: plain(lambda: Request(environ)),
        "request, headers read": lambda: plain(lambda: Request(environ).headers["Host"]),
        "request, query read": lambda: plain(lambda: Request(environ).args),
        "context": context,
        "hooks none": lambda: by_wsgi(hooked(0, 0), "/json"),
        "hooks 1 before": lambda: by_wsgi(hooked(1, 0), "/json"),
        "hooks 5 before": lambda: by_wsgi(hooked(5, 0), "/json"),
        "hooks 20 before": lambda: by_wsgi(hooked(20, 0), "/json"),
        "hooks 1 after": lambda: by_wsgi(hooked(0, 1), "/json"),
        "hooks 5 after": lambda: by_wsgi(hooked(0, 5), "/json"),
        "hooks 20 after": lambda: by_wsgi(hooked(0, 20), "/json"),
        "session untouched": lambda: by_wsgi(keyed, "/json"),
        "session untouched, with cookie": lambda: by_wsgi(keyed, "/json", headers=with_cookie),
        "session read": lambda: by_wsgi(keyed, "/visit", headers=with_cookie),
        "session written": lambda: by_wsgi(keyed, "/count", headers=with_cookie),
    }
    for kind in ("str", "bytes", "list", "tuple", "tuple-headers", "jsonify", "response"):
        status = 201 if kind == "tuple" else 200
        cases[f"answer {kind}"] = lambda kind=kind, status=status: by_wsgi(app, f"/kinds/{kind}", status=status)
    for count_ in (10, 100, 1000, 10000):
        cases[f"routes {count_}, fixed"] = lambda count_=count_: by_wsgi(_many(count_), "/json")
        cases[f"routes {count_}, int"] = lambda count_=count_: by_wsgi(_many(count_), "/users/42")
        cases[f"match among {count_}, fixed"] = lambda count_=count_: match_among(count_, "/json")
        cases[f"match among {count_}, int"] = lambda count_=count_: match_among(count_, "/users/42")
        cases[f"match among {count_}, the last"] = lambda count_=count_: match_among(count_, f"/other{count_ - 3}/x")
    for count_ in (4, 20, 60):
        cases[f"headers {count_}, wsgi"] = lambda count_=count_: by_wsgi(app, "/json", headers=headers(count_))
        cases[f"headers {count_}, asgi"] = lambda count_=count_: by_asgi(app, "/async/json", headers=headers(count_))
    for size in (100, 10_000, 1_000_000):
        cases[f"body {size:,} B, wsgi"] = lambda size=size: by_wsgi(app, "/upload", method="POST", body=b"x" * size)
        cases[f"body {size:,} B, asgi"] = lambda size=size: by_asgi(app, "/async/upload", method="POST", body=b"x" * size)
    return cases


def wsgi_text(app: Any, target: str) -> bytes:
    """The whole answer to a request, through WSGI."""
    return b"".join(app(environ_of("GET", target, HEADERS), lambda *_: None))


def serve(cases: dict[str, Callable[[], Work]]) -> None:
    """Answer lines `case<TAB>times` until the input ends."""
    print(json.dumps(list(cases)), flush=True)
    made: dict[str, Work] = {}
    for line in sys.stdin:
        name, times = line.rstrip("\n").split("\t")
        if name not in made:
            made[name] = cases[name]()
            made[name](200)
            # What was made stays: without this, each collection would walk ten thousand routes.
            gc.collect()
            gc.freeze()
        print(json.dumps(made[name](int(times)) / int(times) * 1e6), flush=True)


if __name__ == "__main__":
    serve({"carboy": carboy_cases, "flask": flask_cases}[sys.argv[1]]())
