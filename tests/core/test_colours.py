"""Both colours, on every door: `def` and `async def` in every place of a request, around views of either colour.

What is asked of each: the order, one context object, context variables that reach the view, errors from every place,
one hop to a thread where one is enough, and nothing left behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import carboy
from carboy import (
    Carboy,
    after_this_request,
    g,
    got_request_exception,
    render_template_string,
    request,
    request_started,
    stream_with_context,
)
from carboy.core.ctx import app_var, request_var
from carboy.pipeline import offload, portal
from carboy.pipeline.drive import drive
from carboy.pipeline.threads import ThreadPool

DOORS = ("wsgi", "asgi", "rsgi")
COLOURS = ("sync", "async")
word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="unset")

View = Callable[..., Any]


def tint(colour: str, function: View) -> View:
    """The function, or an `async def` that gives way to the loop and then does the same."""
    if colour == "sync":
        return function

    @functools.wraps(function)
    async def twin(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return twin


@pytest.fixture(params=DOORS)
def door(request):
    """Doors with a loop, and one without; CGI and FastCGI stand on the latter."""
    return request.param


@pytest.fixture(params=COLOURS)
def view_colour(request):
    return request.param


@pytest.fixture(params=COLOURS)
def hook_colour(request):
    return request.param


@pytest.fixture
def app():
    app = Carboy("colours")
    app.config.update(SECRET_KEY="a key for tests", PROPAGATE_EXCEPTIONS=False)
    app.logger.disabled = True
    return app


def ask(app: Carboy, door: str, target: str = "/", **kwargs: Any) -> Any:
    return app.test_client(door=door).open(target, **kwargs)


# -- order, context, variables ---------------------------------------------------------------------------


@pytest.mark.parametrize("hooks", list(itertools.product(COLOURS, repeat=3)), ids="-".join)
def test_mixed_hooks_keep_their_order_and_share_one_context(app, door, view_colour, hooks):
    """Whatever colours neighbours have: declared order, and the very same context, `g` and request in each."""
    seen: list[str] = []
    contexts: set[int] = set()

    def noting(name: str, colour: str, result: Callable[..., Any] = lambda *args: None) -> View:
        def hook(*args: Any) -> Any:
            seen.append(name)
            contexts.add(id(request_var.get()))
            contexts.add(id(app_var.get()))
            g.setdefault("trail", []).append(name)
            return result(*args)

        return tint(colour, hook)

    for number, colour in enumerate(hooks):
        app.before_request(noting(f"before {number}", colour))
        app.after_request(noting(f"after {number}", colour, lambda response: response))
        app.teardown_request(noting(f"teardown {number}", colour))
        app.teardown_appcontext(noting(f"end {number}", colour))
    app.url_value_preprocessor(noting("values", "sync"))
    app.get("/")(noting("view", view_colour, lambda: ",".join(g.trail)))

    response = ask(app, door)

    befores = ["values", *(f"before {number}" for number in range(3))]
    assert response.text == ",".join([*befores, "view"])
    assert seen == [
        *befores,
        "view",
        *(f"{name} {number}" for name in ("after", "teardown", "end") for number in (2, 1, 0)),
    ]
    assert len(contexts) == 1


def test_context_variables_reach_what_comes_later(app, door, view_colour, hook_colour):
    """A context variable set by a hook is seen by the view, by after hooks and by teardown."""
    seen = []
    app.before_request(tint(hook_colour, lambda: word.set("set by a hook") and None))
    app.after_request(tint(hook_colour, lambda response: seen.append(word.get()) or response))
    app.teardown_request(tint(hook_colour, lambda error: seen.append(word.get())))
    app.get("/")(tint(view_colour, lambda: word.get()))

    # A sync app behind WSGI runs where its caller does: what it sets stays there.
    response = contextvars.copy_context().run(ask, app, door)

    assert response.text == "set by a hook"
    assert seen == ["set by a hook"] * 2


def test_before_hook_answers_early(app, door, view_colour, hook_colour):
    """The first hook that returns something answers: no later hook, no view; after hooks and teardown do run."""
    seen = []
    app.before_request(tint("async", lambda: seen.append("first")))
    app.before_request(tint(hook_colour, lambda: ("early", 202)))
    app.before_request(tint("sync", lambda: seen.append("later")))
    app.after_request(tint(hook_colour, lambda response: seen.append("after") or response))
    app.teardown_request(tint(hook_colour, lambda error: seen.append(("teardown", error))))
    app.get("/")(tint(view_colour, lambda: seen.append("view")))

    response = ask(app, door)

    assert (response.status_code, response.text) == (202, "early")
    assert seen == ["first", "after", ("teardown", None)]


def test_after_this_request_takes_both_colours(app, door, view_colour, hook_colour):
    """Functions left by the request run on its response, before the declared hooks."""
    app.after_request(tint(hook_colour, lambda response: mark(response, "declared")))

    def mark(response: Any, name: str) -> Any:
        response.headers.add("X-Mark", name)
        return response

    def view() -> str:
        after_this_request(tint(hook_colour, lambda response: mark(response, "first")))
        after_this_request(tint("sync", lambda response: mark(response, "second")))
        return "ok"

    app.get("/")(tint(view_colour, view))

    assert ask(app, door).headers.getlist("X-Mark") == ["first", "second", "declared"]


@pytest.mark.parametrize("late", [False, True], ids=["declared", "left by the request"])
def test_after_hook_that_forgets_its_return_is_told(app, door, view_colour, hook_colour, late):
    """An after hook that returns nothing is an error that names it; the client gets a 500, teardown runs."""
    seen: list[Any] = []
    told: list[str] = []

    def forgetful(response: Any) -> None:
        response.headers["X-Mark"] = "set"

    if not late:
        app.after_request(tint(hook_colour, forgetful))
    app.teardown_request(lambda error: seen.append(type(error)))
    app.get("/")(tint(view_colour, lambda: (late and after_this_request(tint(hook_colour, forgetful)) and None) or "ok"))

    def tell(sender: Any, exception: Exception, **_: Any) -> None:
        told.append(str(exception))

    with got_request_exception.connected_to(tell, app):
        response = ask(app, door)

    assert response.status_code == 500
    assert "forgetful" in told[0]
    assert __file__ in told[0]
    assert seen == [TypeError]


def test_context_processors_take_both_colours(app, door, view_colour, hook_colour):
    """What context processors give is in the template, whichever colour they and the view have."""
    app.context_processor(tint(hook_colour, lambda: {"who": request.args["who"]}))
    app.get("/")(tint(view_colour, lambda: render_template_string("Hello, {{ who }}!")))

    assert ask(app, door, "/?who=you").text == "Hello, you!"


def test_signals_take_both_colours(app, door, view_colour, hook_colour):
    """Receivers of either colour are called, with the context there."""
    seen = []

    def receive(sender: Any, **_: Any) -> None:
        seen.append(request.path)

    receiver = tint(hook_colour, receive)
    app.get("/")(tint(view_colour, lambda: "ok"))

    with request_started.connected_to(receiver, app):
        ask(app, door)

    assert seen == ["/"]


# -- errors ----------------------------------------------------------------------------------------------


class Oops(Exception):
    """An error of the test's own."""


PLACES = ("before", "view", "after", "after this", "handler", "teardown")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("handled", [False, True], ids=["unhandled", "handled"])
def test_error_from_every_place_ends_as_it_should(app, door, view_colour, hook_colour, place, handled):
    """Errors up to the view go to their handler; later ones make a 500; teardown runs once in any case, and last."""
    seen: list[Any] = []
    told: list[str] = []

    def fails(here: str, result: Any = None) -> Any:
        if place == here or (place == "handler" and here == "view"):
            raise Oops(here)
        return result

    app.before_request(tint(hook_colour, lambda: fails("before")))

    def view() -> Any:
        after_this_request(tint(hook_colour, lambda response: fails("after this", response)))
        return fails("view", "ok")

    app.get("/")(tint(view_colour, view))
    app.after_request(tint(hook_colour, lambda response: fails("after", response)))
    app.after_request(tint(hook_colour, lambda response: seen.append("after") or response))
    app.teardown_request(tint(hook_colour, lambda error: seen.append(("teardown", type(error).__name__))))
    app.teardown_request(tint(hook_colour, lambda error: fails("teardown")))
    app.teardown_appcontext(tint(hook_colour, lambda error: seen.append("end")))
    if handled or place == "handler":

        def handler(error: Exception) -> Any:
            if place == "handler":
                raise ZeroDivisionError
            return f"handled {error}", 409

        app.register_error_handler(Oops, tint(hook_colour, handler))

    def tell(sender: Any, exception: Exception, **_: Any) -> None:
        told.append(type(exception).__name__)

    with got_request_exception.connected_to(tell, app):
        if place == "teardown":
            with pytest.raises(Oops):
                ask(app, door)
            assert seen[-2:] == [("teardown", "NoneType"), "end"]
            return
        response = ask(app, door)

    if place in ("before", "view") and handled:
        assert (response.status_code, response.text) == (409, f"handled {place}")
        assert seen == ["after", ("teardown", "NoneType"), "end"]
        assert told == []
    else:
        wanted = "ZeroDivisionError" if place == "handler" else "Oops"
        assert response.status_code == 500
        assert told == [wanted]
        assert [each for each in seen if each != "after"] == [("teardown", wanted), "end"]
    assert request_var.get(None) is None


def test_http_errors_are_handled_in_both_colours(app, door, view_colour, hook_colour):
    """`abort` and a miss meet the handler of their code."""
    app.register_error_handler(404, tint(hook_colour, lambda error: (f"no {request.path}", 404)))
    app.register_error_handler(409, tint(hook_colour, lambda error: ("conflict", 409)))
    app.get("/")(tint(view_colour, lambda: carboy.abort(409)))

    assert ask(app, door).text == "conflict"
    assert ask(app, door, "/nowhere").text == "no /nowhere"


class Stop(BaseException):
    """What is no Exception: nobody may swallow it."""


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("door", ["wsgi", "asgi"])
def test_base_exceptions_pass_and_teardown_runs(app, door, view_colour, kind):
    """What is no Exception is not turned into a 500: teardown sees it, and it goes on out of the door."""
    if kind is KeyboardInterrupt and (door == "asgi" or view_colour == "async"):
        pytest.skip("asyncio itself takes a KeyboardInterrupt out of its task, into the test run")
    seen: list[Any] = []

    def view() -> Any:
        raise kind("enough")

    app.register_error_handler(Exception, lambda error: "swallowed")
    app.teardown_request(lambda error: seen.append(type(error)))
    app.get("/")(tint(view_colour, view))

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        ask(app, door)

    assert seen == [kind]
    # A portal and a future tell of a cancellation in words of their own.
    assert isinstance(caught.value, kind) or kind in (asyncio.CancelledError, GeneratorExit)
    assert request_var.get(None) is None


def test_cancelled_request_runs_its_teardown_once(app):
    """A client's request that is cancelled while its view waits ends its context, once, with the cancellation."""
    seen: list[Any] = []
    started = threading.Event()

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        seen.append(type(error))

    @app.get("/")
    async def index() -> str:
        started.set()
        await asyncio.sleep(30)
        return "never"

    async def main() -> None:
        task = asyncio.create_task(app(scope_of("/"), never, ignore))
        while not started.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert seen == [asyncio.CancelledError]


# -- layers ----------------------------------------------------------------------------------------------


def layered(app: Carboy, *layers: Any) -> None:
    class Layers:
        name = "layers"
        requires = ()

        def setup(self, fit: Any) -> None:
            for layer in layers:
                fit.layer(layer)

    app.fit(Layers())


def test_layer_may_change_the_response_as_it_closes(app, door, view_colour):
    """What a layer finds behind its yield is a whole Response, also where the view returned plain text."""

    def stamp(ctx: Any) -> Iterator[None]:
        yield
        ctx.response.headers["X-Stamp"] = "closed"

    layered(app, stamp)

    @app.get("/")
    def index() -> str:
        return "plain"

    response = app.test_client(door=door).get("/")

    assert (response.text, response.headers["X-Stamp"]) == ("plain", "closed")


def test_layers_open_in_order_and_close_in_reverse(app, door, view_colour):
    """A layer stands around hooks, view and after hooks; the context is there on both sides of its yield."""
    seen: list[str] = []

    def layer(name: str) -> Any:
        def around(ctx: Any) -> Iterator[None]:
            assert request_var.get() is ctx
            seen.append(f"{name} opens")
            yield
            assert request_var.get() is ctx
            seen.append(f"{name} closes {ctx.response is not None}")

        return around

    layered(app, layer("outer"), layer("inner"))
    app.before_request(lambda: seen.append("before"))
    app.after_request(lambda response: seen.append("after") or response)
    app.get("/")(tint(view_colour, lambda: seen.append("view") or "ok"))

    assert ask(app, door).text == "ok"
    assert seen == ["outer opens", "inner opens", "before", "view", "after", "inner closes True", "outer closes True"]


def test_layer_swallows_an_error(app, door, view_colour):
    """A layer that catches the error and sets a response answers; outer layers see no error."""
    seen = []

    def outer(ctx: Any) -> Iterator[None]:
        yield
        seen.append("no error")

    def swallows(ctx: Any) -> Iterator[None]:
        try:
            yield
        except Oops as error:
            ctx.response = ctx.app.make_response((f"layer: {error}", 410))

    def view() -> Any:
        raise Oops("view")

    layered(app, outer, swallows)
    app.get("/")(tint(view_colour, view))

    response = ask(app, door)

    assert (response.status_code, response.text, seen) == (410, "layer: view", ["no error"])


def test_layer_that_swallows_and_answers_nothing_is_told(app, door, view_colour):
    """An error swallowed without a response is a 500, not silence."""

    def swallows(ctx: Any) -> Iterator[None]:
        try:
            yield
        except Oops:
            pass

    def view() -> Any:
        raise Oops

    layered(app, swallows)
    app.get("/")(tint(view_colour, view))

    assert ask(app, door).status_code == 500


@pytest.mark.parametrize("fault", ["replaces", "yields twice", "fails at once", "never yields"])
def test_faulty_layers_make_an_error_and_close_the_others(app, door, view_colour, fault):
    """A layer that raises, yields twice or not at all makes a 500; the layers around it are closed, teardown runs."""
    seen: list[Any] = []

    def outer(ctx: Any) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            seen.append(type(error))
            raise

    def inner(ctx: Any) -> Iterator[None]:
        if fault == "fails at once":
            raise Oops
        if fault == "never yields":
            return
        yield
        if fault == "replaces":
            raise Oops
        yield

    layered(app, outer, inner)
    app.teardown_request(lambda error: seen.append("teardown"))
    app.get("/")(tint(view_colour, lambda: "ok"))

    assert ask(app, door).status_code == 500
    assert seen[-1] == "teardown"
    assert len(seen) == 2 or fault in ("fails at once", "never yields")


# -- hops ------------------------------------------------------------------------------------------------


@pytest.fixture
def hops(monkeypatch):
    """The functions that were sent to a thread, by the thread that sent them."""
    sent: list[Any] = []
    enqueue = ThreadPool.enqueue

    def counting(self: Any, loop: Any, function: Any, *rest: Any) -> Any:
        sent.append(function)
        return enqueue(self, loop, function, *rest)

    monkeypatch.setattr(ThreadPool, "enqueue", counting)
    return sent


ASYNC_DOORS = ("asgi", "rsgi")


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_sync_plan_is_one_hop(app, door, hops):
    """A `def` view with its hooks, response and teardown is one journey in one thread."""
    threads = set()

    def here(*args: Any) -> Any:
        threads.add(threading.get_ident())
        return args[0] if args else None

    app.before_request(here)
    app.before_request(lambda: here())
    app.after_request(here)
    app.teardown_request(lambda error: here())
    app.get("/")(lambda: here() or "ok")

    assert ask(app, door).text == "ok"
    assert len(hops) == 1
    assert len(threads) == 1


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_neighbouring_sync_hooks_of_an_async_view_share_a_hop(app, door, hops):
    """In an async plan: one hop for each run of neighbouring sync hooks, none for async ones."""
    for _ in range(3):
        app.before_request(tint("sync", lambda: None))
    app.before_request(tint("async", lambda: None))
    for _ in range(2):
        app.before_request(tint("sync", lambda: None))
    for _ in range(4):
        app.after_request(tint("sync", lambda response: response))

    @app.get("/")
    async def index() -> str:
        return "ok"

    assert ask(app, door).text == "ok"
    assert len(hops) == 3


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_async_plan_without_sync_hooks_needs_no_thread(app, door, hops):
    """Async view, async hooks: everything runs on the loop."""
    app.before_request(tint("async", lambda: None))
    app.after_request(tint("async", lambda response: response))
    app.teardown_request(tint("async", lambda error: None))

    @app.get("/")
    async def index() -> str:
        return "ok"

    assert ask(app, door).text == "ok"
    assert hops == []


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_view_that_never_blocks_runs_on_the_loop(app, door, hops):
    """`blocking=False` on a `def`: no hop, and a running loop around it; its blocking hooks still go to a thread."""
    seen = []

    def view() -> str:
        seen.append(asyncio.get_running_loop())
        return "ok"

    app.get("/", blocking=False)(view)
    app.get("/misses", blocking=False)(lambda: carboy.abort(404))

    assert ask(app, door).text == "ok"
    assert ask(app, door, "/misses").status_code == 404
    assert (len(seen), hops) == (1, [])


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_static_files_need_no_thread(app, door, hops, tmp_path):
    """Those of a blueprint as those of the app; one that has its own view of them may block."""
    (tmp_path / "it.txt").write_text("ok")

    class Own(carboy.Blueprint):
        def send_static_file(self, filename: str) -> Any:
            return super().send_static_file(filename)

    plain = carboy.Blueprint("plain", __name__, url_prefix="/plain", static_folder=str(tmp_path), static_url_path="/")
    app.register_blueprint(plain)
    app.register_blueprint(Own("own", __name__, url_prefix="/own", static_folder=str(tmp_path), static_url_path="/"))

    assert ask(app, door, "/plain/it.txt").text == "ok"
    before = len(hops)
    assert ask(app, door, "/own/it.txt").text == "ok"
    assert drive in hops[before:]
    assert drive not in hops[:before]


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_hooks_of_a_view_that_never_blocks_may_block(app, door, hops):
    """`blocking=False` speaks for the view alone."""
    seen = []

    def before() -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        seen.append("before")

    app.before_request(before)
    app.get("/", blocking=False)(lambda: "ok")

    assert ask(app, door).text == "ok"
    assert (seen, len(hops)) == (["before"], 1)


def test_sync_plan_behind_wsgi_makes_no_event_loop(app, monkeypatch):
    """Nothing of asyncio is started for a sync app behind a sync server."""

    def refuse(*args: Any) -> Any:
        raise AssertionError("an event loop was made")

    monkeypatch.setattr(asyncio, "new_event_loop", refuse)
    monkeypatch.setattr(asyncio.events, "new_event_loop", refuse)
    monkeypatch.setattr(portal, "portal", portal.Portal())
    threads = threading.active_count()
    app.before_request(lambda: None)
    app.after_request(lambda response: response)
    app.teardown_request(lambda error: None)
    app.register_error_handler(Oops, lambda error: "handled")
    app.get("/")(lambda: "ok")

    @app.get("/oops")
    def oops() -> Any:
        raise Oops

    @app.get("/stream")
    def stream() -> Any:
        return (f"{number}" for number in range(3))

    assert [ask(app, "wsgi", target).text for target in ("/", "/oops", "/stream")] == ["ok", "handled", "012"]
    assert ask(app, "wsgi", "/nowhere").status_code == 404
    assert threading.active_count() == threads


def test_async_work_of_a_sync_view_runs_on_the_server_s_loop(app):
    """On an async door, an async hook of a sync route runs on the loop that serves, so its connections can be shared."""
    loops = []

    @app.before_request
    async def before() -> None:
        loops.append(asyncio.get_running_loop())

    @app.get("/")
    def index() -> str:
        return "ok"

    async def main() -> None:
        await app(scope_of("/"), never, ignore)
        loops.append(asyncio.get_running_loop())

    asyncio.run(main())

    assert loops[0] is loops[1]


# -- bodies ----------------------------------------------------------------------------------------------


def test_streamed_body_arrives_whole_and_within_its_limit(app, door, view_colour):
    """`stream=True`: the view reads all that was sent, in either colour; a body over the limit is a 413."""

    def read() -> Any:
        size = 0
        while chunk := request.stream.read(7000):
            size += len(chunk)
        return {"size": size, "first": request.args.get("x")}

    async def read_chunks() -> Any:
        size = 0
        async for chunk in request.chunks():
            size += len(chunk)
        return {"size": size, "first": request.args.get("x")}

    app.post("/", stream=True, max_body=100_000)(read_chunks if view_colour == "async" else tint(view_colour, read))

    assert ask(app, door, "/?x=1", method="POST", data=b"x" * 99_999).json == {"size": 99_999, "first": "1"}
    assert ask(app, door, "/", method="POST", data=b"").json == {"size": 0, "first": None}
    assert ask(app, door, "/", method="POST", data=b"x" * 100_001).status_code == 413


def test_streamed_body_is_read_as_it_comes(app):
    """A sync view with `stream=True` begins before its body is whole, and is told when the client goes."""
    seen: list[Any] = []
    pieces = iter([b"first ", b"second ", None])
    begun = threading.Event()

    @app.post("/", stream=True)
    def view() -> str:
        try:
            while piece := request.stream.read1():
                seen.append(piece)
                begun.set()
        except Exception as error:
            seen.append(type(error).__name__)
            raise
        return "ok"

    async def receive() -> Any:
        piece = next(pieces)
        if piece is None:
            return {"type": "http.disconnect"}
        if piece.startswith(b"second"):
            while not begun.is_set():
                await asyncio.sleep(0.001)
        return {"type": "http.request", "body": piece, "more_body": True}

    scope = {**scope_of("/"), "method": "POST", "headers": [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]}
    asyncio.run(app(scope, receive, ignore))

    assert seen == [b"first ", b"second ", "ClientDisconnected"]


# -- nothing is left behind ------------------------------------------------------------------------------


def scope_of(path: str, query: bytes = b"") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
    }


async def never() -> Any:
    await asyncio.Event().wait()


async def ignore(message: Any) -> None:
    pass


def mixed(app: Carboy) -> list[str]:
    """Pages of both colours, that answer, fail, miss and stream."""
    app.before_request(tint("sync", lambda: setattr(g, "tag", request.args.get("tag"))))
    app.before_request(tint("async", lambda: None))
    app.teardown_request(tint("async", lambda error: None))

    def echo() -> str:
        return f"{g.tag} {request.args.get('tag')}"

    def fail() -> Any:
        raise Oops

    def stream() -> Any:
        return stream_with_context(f"{request.args['tag']} " for _ in range(3))

    targets = []
    for colour in COLOURS:
        for function in (echo, fail, stream):
            target = f"/{colour}/{function.__name__}"
            app.add_url_rule(target, target, tint(colour, function))
            targets.append(target)
    return [*targets, "/nowhere"]


def count_threads() -> int:
    """Threads but those that pull streams: they wait for the next one, as many as streams were open at once."""
    return sum(not thread.name.startswith("carboy-stream") for thread in threading.enumerate())


@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_left_after_many_requests(app, door):
    """After 2,000 mixed requests: no current context, no more threads than the pool may have, no context kept alive."""
    targets = mixed(app)
    client = app.test_client(door=door)
    for target in targets:
        client.get(target, query_string={"tag": "warm"})
    gc.collect()
    contexts = sum(type(each).__name__ == "Context" for each in gc.get_objects())
    threads = count_threads()
    pool = len(offload.pool.threads)

    for number, target in zip(range(2000 // len(DOORS)), itertools.cycle(targets), strict=False):
        client.get(target, query_string={"tag": number}).close()

    assert (request_var.get(None), app_var.get(None)) == (None, None)
    # One client at a time keeps one thread of the pool busy; a second may have been made while the first was on its way back.
    assert count_threads() - threads <= len(offload.pool.threads) - pool <= 2
    gc.collect()
    # What a waiting thread has done last may still be known to it.
    assert sum(type(each).__name__ == "Context" for each in gc.get_objects()) - contexts <= len(offload.pool.threads)


def test_g_never_crosses_between_concurrent_requests(app):
    """500 requests at once, of both colours: each sees its own `g` and request to the end, and the client gets its own answer."""
    def before() -> None:
        g.tag = request.args["tag"]

    app.before_request(tint("sync", before))
    app.before_request(tint("async", lambda: word.set(request.args["tag"]) and None))

    def told() -> str:
        return f"{g.tag} {request.args['tag']} {word.get()} {request_var.get().g.tag}"

    @app.get("/sync")
    def sync_view() -> str:
        threading.Event().wait(0.001)
        return told()

    @app.get("/async")
    async def async_view() -> str:
        first = told()
        await asyncio.sleep(0.01)
        assert told() == first
        return first

    ended: list[str] = []
    app.teardown_request(tint("async", lambda error: ended.append(g.tag)))

    async def one(number: int) -> str:
        body = b""

        async def send(message: Any) -> None:
            nonlocal body
            body += message.get("body", b"")

        await app(scope_of("/sync" if number % 2 else "/async", b"tag=%d" % number), never, send)
        return body.decode()

    async def main() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(500)))

    answers = asyncio.run(main())

    assert answers == [f"{number} {number} {number} {number}" for number in range(500)]
    assert sorted(map(int, ended)) == list(range(500))


# -- streams ---------------------------------------------------------------------------------------------


def streaming(app: Carboy, view_colour: str, flow_colour: str, seen: list[str]) -> None:
    """A page that streams with its context; what its generator and the teardown functions see."""

    def sync_flow() -> Iterator[str]:
        try:
            for number in range(1000):
                yield f"{number} {request.args['name']} {g.tag}\n"
        finally:
            seen.append(f"flow ends, {request.path}")

    async def async_flow() -> Any:
        try:
            for number in range(1000):
                await asyncio.sleep(0)
                yield f"{number} {request.args['name']} {g.tag}\n"
        finally:
            seen.append(f"flow ends, {request.path}")

    def view() -> Any:
        g.tag = "mine"
        return stream_with_context(sync_flow() if flow_colour == "sync" else async_flow())

    app.get("/stream")(tint(view_colour, view))
    app.teardown_request(lambda error: seen.append("teardown"))
    app.teardown_appcontext(lambda error: seen.append("end"))


@pytest.mark.parametrize("flow_colour", COLOURS)
def test_stream_keeps_its_context_and_tears_down_at_its_end(app, door, view_colour, flow_colour):
    """A stream sees request and `g` to its last item; teardown runs once, after it."""
    seen: list[str] = []
    streaming(app, view_colour, flow_colour, seen)

    response = ask(app, door, "/stream?name=you")

    assert response.text == "".join(f"{number} you mine\n" for number in range(1000))
    response.close()
    assert seen == ["flow ends, /stream", "teardown", "end"]
    assert request_var.get(None) is None


@pytest.mark.parametrize("flow_colour", COLOURS)
@pytest.mark.parametrize("door", ["wsgi", "asgi"])
def test_stream_ends_when_its_client_goes(app, door, view_colour, flow_colour):
    """A client that leaves in the middle: the generator's `finally` runs with its context, then teardown, once."""
    seen: list[str] = []
    streaming(app, view_colour, flow_colour, seen)
    client = app.test_client(door=door)

    response = client.get("/stream?name=you", buffered=False)
    flow = iter(response.response)
    next(flow)
    response.close()

    deadline = 200
    while len(seen) < 3 and deadline:
        threading.Event().wait(0.01)
        deadline -= 1
    assert seen == ["flow ends, /stream", "teardown", "end"]
    assert request_var.get(None) is None


@pytest.mark.parametrize("flow_colour", COLOURS)
def test_stream_that_fails_ends_its_context(app, door, view_colour, flow_colour):
    """An error in the middle of a stream reaches teardown, once."""
    seen: list[Any] = []

    def sync_flow() -> Iterator[str]:
        yield "first"
        raise Oops(request.path)

    async def async_flow() -> Any:
        yield "first"
        raise Oops(request.path)

    app.teardown_request(lambda error: seen.append(type(error)))
    app.get("/")(tint(view_colour, lambda: stream_with_context(sync_flow() if flow_colour == "sync" else async_flow())))

    with pytest.raises(Exception):  # noqa: B017, PT011  # each door tells it in its own way
        ask(app, door).get_data()

    assert seen == [Oops]


def test_token_of_a_sync_hook_may_be_used_by_a_later_one(app, client, coloured):
    """A context variable set in before_request is reset in teardown with its token, and is not left to the next request."""
    word = contextvars.ContextVar("word", default="")
    seen = []

    @app.before_request
    def begin():
        seen.append(word.get())
        carboy.g.token = word.set("mine")

    @app.teardown_request
    def end(error):
        word.reset(carboy.g.token)
        seen.append(word.get())

    @app.get("/")
    @coloured
    def view():
        return word.get()

    for _ in range(3):
        assert client.get("/").text == "mine"
    assert seen == [""] * 6


@pytest.mark.parametrize("has_teardown", [False, True])
def test_services_of_a_request_end_with_it(app, door, view_colour, has_teardown):
    """A generator factory is resumed at the end, in either colour, whether there are teardown functions or not."""
    ended = []

    class Pool:
        pass

    def make():
        yield Pool()
        ended.append("ended")

    class Pools:
        name = "pools"
        requires = ()

        def setup(self, fit):
            fit.provide(Pool, make)

    app.fit(Pools())
    if has_teardown:
        app.teardown_request(lambda exc: ended.append("teardown"))
    app.get("/")(tint(view_colour, lambda: type(app.service(Pool)).__name__))

    assert ask(app, door).text == "Pool"
    assert "ended" in ended
