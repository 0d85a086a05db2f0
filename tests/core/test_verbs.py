"""Every method that extensions and subclasses replace takes effect, however it is replaced, on every door and in both colours.

Each verb is replaced by one that notes the call and then does what the original does. The answer and all that the
hooks saw must be those of an app with nothing replaced: nothing runs twice, nothing is left out. `calls` is how often
Flask 3.1 calls the verb for the same request.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import carboy
from carboy import Blueprint, Carboy, abort, g, redirect, render_template, request, session, url_for

DOORS = ("wsgi", "asgi", "rsgi")
COLOURS = ("sync", "async")
WAYS = ("subclass", "instance before", "instance after", "class")


class OutOfStock(Exception):
    """A mistake of the scene's own."""


def build(cls: type[Carboy], colour: str, root: str, events: list[Any]) -> Carboy:
    """The scene: a page for each verb to be needed, and hooks that note what happens."""
    app = cls("scene", root_path=root)
    app.config.update(SECRET_KEY="a key for tests", PROPAGATE_EXCEPTIONS=False)
    app.logger.disabled = True

    def coloured(function: Callable[..., Any]) -> Callable[..., Any]:
        if colour == "sync":
            return function

        @functools.wraps(function)
        async def twin(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        return twin

    def note(word: str) -> Callable[..., Any]:
        @coloured
        def hook(*args: Any) -> Any:
            events.append((word, request.path, g.get("trace")))
            g.trace = word
            return args[0] if word.startswith("after") else None

        return hook

    shop = Blueprint("shop", __name__, url_prefix="/shop")
    app.before_request(note("before"))
    app.after_request(note("after"))
    app.teardown_request(note("teardown"))
    app.teardown_appcontext(lambda error: events.append(("end", type(error).__name__)))
    shop.before_request(note("before shop"))
    shop.after_request(note("after shop"))
    shop.teardown_request(note("teardown shop"))

    @app.url_value_preprocessor
    def values_seen(endpoint: Any, values: Any) -> None:
        events.append(("values", endpoint, dict(values or {})))

    @app.url_defaults
    def defaults(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "shop.item":
            values.setdefault("number", 5)

    @app.errorhandler(OutOfStock)
    @coloured
    def sold_out(error: OutOfStock) -> Any:
        events.append("sold out")
        return f"sold out: {error}", 409

    @app.errorhandler(410)
    @coloured
    def gone(error: Any) -> Any:
        events.append("gone")
        return "long gone", 410

    @app.context_processor
    def names() -> dict[str, Any]:
        return {"who": "world"}

    @shop.get("/<int:number>")
    @coloured
    def item(number: int) -> Any:
        session["seen"] = number
        return {"number": number, "url": url_for(".item"), "trace": g.trace}

    @shop.get("/stock")
    @coloured
    def stock() -> Any:
        raise OutOfStock("apples")

    @shop.get("/broken")
    @coloured
    def broken() -> Any:
        raise ZeroDivisionError

    @app.post("/small", max_body=10)
    @coloured
    def small() -> Any:
        return {"size": len(request.get_data())}

    @app.get("/gone")
    @coloured
    def gone_page() -> Any:
        abort(410)

    @app.get("/page")
    @coloured
    def page() -> Any:
        return render_template("page.html")

    @app.get("/to")
    @coloured
    def to() -> Any:
        return redirect("/shop/7", 303)

    @app.get("/nolink")
    @coloured
    def nolink() -> Any:
        return url_for("no.such")

    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/missing/{endpoint}")
    app.register_blueprint(shop)
    return app


@dataclass(frozen=True)
class Verb:
    """A method, and a request that needs it.

    Attributes:
        calls: how often it is called for one request; None where the number is not a contract.
        ways: how it can be replaced so that it makes a difference.
        colours: of views that need it.
    """

    name: str
    target: str = "/shop/7"
    method: str = "GET"
    calls: int | None = 1
    ways: tuple[str, ...] = WAYS
    colours: tuple[str, ...] = COLOURS
    doors: tuple[str, ...] = DOORS


#: What is made once keeps what it was made of: a replacement counts if it comes before.
EARLY = ("subclass", "instance before", "class")
#: What the constructor calls.
AT_BIRTH = ("subclass", "class")

VERBS = [
    Verb("wsgi_app"),
    Verb("asgi_app"),
    Verb("__rsgi__", doors=("rsgi",), ways=AT_BIRTH),
    Verb("__call__", doors=("wsgi", "asgi"), ways=AT_BIRTH),
    Verb("full_dispatch_request"),
    Verb("dispatch_request"),
    Verb("preprocess_request"),
    Verb("process_response"),
    Verb("finalize_request"),
    Verb("make_response"),
    Verb("full_dispatch_request", "/shop/stock"),
    Verb("dispatch_request", "/shop/stock"),
    Verb("finalize_request", "/shop/stock"),
    Verb("process_response", "/shop/broken"),
    Verb("finalize_request", "/shop/broken"),
    Verb("full_dispatch_request", "/shop/broken"),
    Verb("dispatch_request", "/nowhere"),
    Verb("preprocess_request", "/nowhere"),
    Verb("handle_user_exception", "/shop/stock"),
    Verb("handle_user_exception", "/gone"),
    Verb("handle_user_exception", "/shop/broken"),
    Verb("handle_http_exception", "/gone"),
    Verb("handle_http_exception", "/nowhere"),
    Verb("handle_exception", "/shop/broken"),
    Verb("log_exception", "/shop/broken"),
    Verb("should_ignore_error", "/shop/broken"),
    Verb("trap_http_exception", "/gone"),
    Verb("raise_routing_exception", "/nowhere"),
    Verb("make_default_options_response", method="OPTIONS"),
    Verb("do_teardown_request"),
    Verb("do_teardown_appcontext"),
    Verb("do_teardown_request", "/shop/broken"),
    Verb("ensure_sync", calls=None),
    Verb("async_to_sync", calls=None, colours=("async",)),
    Verb("create_url_adapter", calls=None),
    Verb("request_context"),
    Verb("url_for"),
    Verb("inject_url_defaults"),
    Verb("handle_url_build_error", "/nolink"),
    Verb("redirect", "/to"),
    Verb("update_template_context", "/page"),
    Verb("create_jinja_environment", "/page", ways=EARLY),
    Verb("create_global_jinja_loader", "/page", ways=EARLY),
    Verb("select_jinja_autoescape", "/page", calls=None, ways=EARLY),
    Verb("send_static_file", "/static/notes.txt"),
    Verb("get_send_file_max_age", "/static/notes.txt", calls=None),
]


@pytest.fixture
def root(tmp_path):
    """Templates and static files of the scene."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text("Hello, {{ who }} & {{ '<b>' }}!")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "notes.txt").write_text("notes")
    return str(tmp_path)


def ask(app: Carboy, door: str, verb: Verb) -> tuple[Any, ...]:
    """The answer to the verb's request, as it compares."""
    response = app.test_client(door=door).open(verb.target, method=verb.method)
    headers = sorted((name.lower(), value.split(".")[0]) for name, value in response.headers if name not in {"Date", "Expires"})
    headers = [(name, "".join(sorted(value)) if name == "allow" else value) for name, value in headers]
    return response.status_code, headers, response.data


def noting(original: Callable[..., Any], calls: list[str], door: str) -> Callable[..., Any]:
    """A replacement that notes the call, then does what the original does."""

    def replacement(*args: Any, **kwargs: Any) -> Any:
        calls.append(door)
        return original(*args, **kwargs)

    return replacement


def replaced_app(verb: Verb, way: str, door: str, colour: str, root: str, monkeypatch: Any) -> tuple[Carboy, list[Any], list[str]]:
    """The scene with a verb replaced in a way; what the hooks note; what the replacement notes."""
    events: list[Any] = []
    calls: list[str] = []
    if way == "subclass":

        def override(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(door)
            return getattr(super(Scene, self), verb.name)(*args, **kwargs)

        Scene = type("Scene", (Carboy,), {verb.name: override})  # noqa: N806
        return build(Scene, colour, root, events), events, calls
    if way == "class":
        monkeypatch.setattr(Carboy, verb.name, noting(getattr(Carboy, verb.name), calls, door))
        return build(Carboy, colour, root, events), events, calls
    app = build(Carboy, colour, root, events)
    if way == "instance after":
        ask(app, door, verb)
        ask(app, "wsgi", verb)
        events.clear()
    setattr(app, verb.name, noting(getattr(app, verb.name), calls, door))
    return app, events, calls


RUNS = [
    pytest.param(verb, way, door, colour, id=f"{verb.name}-{verb.target.strip('/').replace('/', '.')}-{way}-{door}-{colour}")
    for verb in VERBS
    for way in verb.ways
    for door in verb.doors
    for colour in verb.colours
]


@pytest.mark.parametrize(("verb", "way", "door", "colour"), RUNS)
def test_replaced_verb_takes_effect_and_changes_nothing_else(verb, way, door, colour, root, monkeypatch):
    """The replacement is called as often as in Flask; answer, hooks and teardown are those of the original."""
    plain_events: list[Any] = []
    plain = ask(build(Carboy, colour, root, plain_events), door, verb)
    app, events, calls = replaced_app(verb, way, door, colour, root, monkeypatch)
    before = len(calls)

    answer = ask(app, door, verb)

    assert answer == plain
    assert events == plain_events
    noted = len(calls) - before if verb.ways != EARLY and verb.ways != AT_BIRTH else len(calls)
    assert noted > 0, "the replacement was never called"
    if verb.calls is not None:
        assert noted == verb.calls


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "name",
    ["full_dispatch_request", "dispatch_request", "preprocess_request", "process_response", "finalize_request", "handle_user_exception"],
)
def test_body_over_the_limit_is_refused_though_a_verb_is_replaced(name, door, colour, root):
    """A request that is wrong before any verb is called is answered as ever, by error handlers and after hooks."""
    plain_events: list[Any] = []
    events: list[Any] = []
    plain = build(Carboy, colour, root, plain_events)
    app = build(Carboy, colour, root, events)
    setattr(app, name, noting(getattr(app, name), [], door))

    answers = [each.test_client(door=door).post("/small", data=b"x" * 11) for each in (plain, app)]

    assert [(answer.status_code, answer.data) for answer in answers] == [(413, answers[0].data)] * 2
    assert events == plain_events


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("door", DOORS)
def test_all_verbs_replaced_at_once_change_nothing(door, colour, root):
    """With every verb replaced, each still runs once, in every request of the scene."""
    targets = ["/shop/7", "/shop/stock", "/shop/broken", "/gone", "/nowhere", "/page", "/to", "/nolink", "/static/notes.txt"]
    plain_events: list[Any] = []
    plain = build(Carboy, colour, root, plain_events)
    events: list[Any] = []
    calls: list[str] = []
    app = build(Carboy, colour, root, events)
    for name in {verb.name for verb in VERBS if verb.ways == WAYS}:
        setattr(app, name, noting(getattr(app, name), calls, name))

    for target in targets:
        verb = Verb("", target)
        calls.clear()
        assert ask(app, door, verb) == ask(plain, door, verb), target
        twice = {name for name in calls if calls.count(name) > 1} - {"ensure_sync", "async_to_sync", "create_url_adapter"}
        assert not twice, target

    assert events == plain_events


@pytest.mark.parametrize("door", DOORS)
def test_replacement_may_answer_for_the_original(door, root):
    """A verb that does not call the original decides alone: the view of an async route is not called."""
    app = build(Carboy, "async", root, [])
    app.dispatch_request = lambda: ("instead", 202)  # type: ignore[method-assign]

    answer = app.test_client(door=door).get("/shop/7")

    assert (answer.status_code, answer.text) == (202, "instead")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("colour", COLOURS)
def test_error_verbs_may_answer_for_the_original(door, colour, root):
    """`handle_exception`, `handle_user_exception` and `handle_http_exception` give the answer they return."""
    app = build(Carboy, colour, root, [])
    client = app.test_client(door=door)
    client.get("/shop/broken")
    app.handle_exception = lambda error: app.response_class(type(error).__name__, 503)  # type: ignore[method-assign]
    app.handle_http_exception = lambda error: (f"http {error.code}", error.code)  # type: ignore[method-assign]

    assert (client.get("/shop/broken").status_code, client.get("/shop/broken").text) == (503, "ZeroDivisionError")
    assert client.get("/gone").text == "http 410"
    assert client.get("/nowhere").text == "http 404"

    app.handle_user_exception = lambda error: ("user " + type(error).__name__, 502)  # type: ignore[method-assign]

    assert client.get("/shop/broken").text == "user ZeroDivisionError"
    assert client.get("/gone").status_code == 502


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("colour", COLOURS)
def test_replacement_taken_back_is_gone(door, colour, root):
    """`del app.dispatch_request` restores the original, also after requests; so tools that wrap and unwrap leave no trace."""
    calls: list[str] = []
    app = build(Carboy, colour, root, [])
    client = app.test_client(door=door)
    plain = client.get("/shop/7").data
    for name in ("dispatch_request", "full_dispatch_request", "handle_exception", "wsgi_app", "preprocess_request"):
        setattr(app, name, noting(getattr(app, name), calls, door))
    client.get("/shop/7")
    assert calls
    for name in ("dispatch_request", "full_dispatch_request", "handle_exception", "wsgi_app", "preprocess_request"):
        delattr(app, name)
    calls.clear()

    assert client.get("/shop/7").data == plain
    assert not calls


# -- what the app is made of, and what is called outside requests ----------------------------------------


def test_verbs_of_the_constructor_are_called(root, monkeypatch):
    """`make_config`, `make_aborter` and `auto_find_instance_path` are the subclass's own."""
    calls = []

    class Scene(Carboy):
        def make_config(self, instance_relative=False):
            calls.append("make_config")
            return super().make_config(instance_relative)

        def make_aborter(self):
            calls.append("make_aborter")
            return super().make_aborter()

        def auto_find_instance_path(self):
            calls.append("auto_find_instance_path")
            return super().auto_find_instance_path()

    Scene("scene", root_path=root)

    assert sorted(calls) == ["auto_find_instance_path", "make_aborter", "make_config"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("app_context", lambda app: app.app_context().__enter__().__exit__(None, None, None)),
        ("test_request_context", lambda app: app.test_request_context("/")),
        ("request_context", lambda app: app.request_context({"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", "SERVER_NAME": "x"})),
        ("request_context", lambda app: app.test_request_context("/")),
        ("open_resource", lambda app: app.open_resource("static/notes.txt").close()),
        ("open_instance_resource", lambda app: missing(lambda: app.open_instance_resource("no such file"))),
        ("make_shell_context", lambda app: app.make_shell_context()),
        ("test_client", lambda app: app.test_client()),
        ("test_cli_runner", lambda app: app.test_cli_runner()),
        ("iter_blueprints", lambda app: list(app.iter_blueprints())),
        ("add_url_rule", lambda app: app.route("/more")(lambda: "more")),
        ("register_blueprint", lambda app: app.register_blueprint(Blueprint("later", __name__))),
        ("register_error_handler", lambda app: app.errorhandler(418)(lambda error: "tea")),
        ("add_template_filter", lambda app: app.template_filter("loud")(str.upper)),
        ("add_template_test", lambda app: app.template_test("loud")(str.isupper)),
        ("add_template_global", lambda app: app.template_global("loud")(str.upper)),
        ("url_for", lambda app: in_context(app, lambda: carboy.url_for("item_page"))),
        ("redirect", lambda app: in_context(app, lambda: carboy.redirect("/"))),
        ("make_response", lambda app: in_context(app, lambda: carboy.make_response("x"))),
        ("ensure_sync", lambda app: app.ensure_sync(len)),
    ],
)
def test_verb_called_outside_a_request_is_the_replaced_one(name, use, way, root, monkeypatch):
    """What the framework and its helpers call by name on the app is looked up there each time."""
    calls: list[str] = []
    original = getattr(Carboy, name)
    cls = Carboy
    if way == "subclass":
        cls = type("Scene", (Carboy,), {name: noting(original, calls, name)})
    if way == "class":
        monkeypatch.setattr(Carboy, name, noting(original, calls, name))
    app = cls("scene", root_path=root)
    app.config["SERVER_NAME"] = "localhost"
    app.add_url_rule("/item", "item_page", lambda: "item")
    if way == "instance after" and not name.startswith(("add_", "register_")):
        app.test_client().get("/item")
    if way.startswith("instance"):
        setattr(app, name, noting(getattr(app, name), calls, name))
    calls.clear()

    use(app)

    assert calls[:1] == [name]


def missing(function):
    with pytest.raises(OSError, match="no such file"):
        function()


def in_context(app, function):
    with app.test_request_context("/item"):
        return function()


# -- classes and objects that the app is given -----------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_objects_of_the_app_may_be_replaced(door, colour, late, root):
    """Request, response, `g`, session and JSON are of the classes the app has now, also after requests."""

    class Request(carboy.Request):
        mark = "own request"

    class Response(carboy.Response):
        default_mimetype = "text/x-own"

    class Globals(type(carboy.Carboy.app_ctx_globals_class())):  # type: ignore[misc]
        mark = "own g"

    class Sessions(type(Carboy.session_interface)):  # type: ignore[misc]
        def open_session(self, app, request):
            opened = super().open_session(app, request)
            opened["mark"] = "own session"
            return opened

    class Provider(Carboy.json_provider_class):  # type: ignore[name-defined]
        def dumps(self, obj, **kwargs):
            return super().dumps({**obj, "mark": "own json"}, **kwargs)

    app = build(Carboy, colour, root, [])

    def plain():
        return f"{getattr(request, 'mark', '')},{getattr(g, 'mark', '')},{session.get('mark', '')}"

    async def waiting():
        return plain()

    app.add_url_rule("/marks", "marks", plain if colour == "sync" else waiting)
    client = app.test_client(door=door)
    if late:
        assert client.get("/marks").text == ",,"
        client.get("/shop/7")
    app.request_class = Request
    app.response_class = Response
    app.app_ctx_globals_class = Globals
    app.session_interface = Sessions()
    app.json = Provider(app)

    marks = client.get("/marks")

    assert marks.text == "own request,own g,own session"
    assert marks.mimetype == "text/x-own"
    assert client.get("/shop/7").json["mark"] == "own json"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("colour", COLOURS)
def test_classes_of_the_app_may_be_those_of_a_subclass(door, colour, root):
    """What the constructor makes is made of the subclass's classes."""
    from werkzeug.exceptions import Aborter, Gone
    from werkzeug.routing import Map, Rule

    import carboy.testing.client
    import carboy.testing.runner

    class OwnMap(Map):
        pass

    class OwnRule(Rule):
        pass

    class OwnAborter(Aborter):
        def __call__(self, code, *args, **kwargs):
            raise Gone("own aborter")

    class OwnConfig(carboy.Config):
        pass

    class OwnProvider(Carboy.json_provider_class):  # type: ignore[name-defined]
        pass

    class OwnEnvironment(Carboy.jinja_environment):  # type: ignore[name-defined]
        pass

    class OwnClient(carboy.testing.client.Client):
        pass

    class OwnRunner(carboy.testing.runner.CliRunner):
        pass

    class Scene(Carboy):
        url_map_class = OwnMap
        url_rule_class = OwnRule
        aborter_class = OwnAborter
        config_class = OwnConfig
        json_provider_class = OwnProvider
        jinja_environment = OwnEnvironment
        jinja_options = {"trim_blocks": True}
        test_client_class = OwnClient
        test_cli_runner_class = OwnRunner

    app = build(Scene, colour, root, [])

    assert type(app.url_map) is OwnMap
    assert {type(rule) for rule in app.url_map.iter_rules()} == {OwnRule}
    assert (type(app.config), type(app.json), type(app.jinja_env)) == (OwnConfig, OwnProvider, OwnEnvironment)
    assert app.jinja_env.trim_blocks
    assert (type(app.test_client()), type(app.test_cli_runner())) == (OwnClient, OwnRunner)
    assert app.test_client(door=door).get("/gone").text == "long gone"
    assert app.test_client(door=door).get("/shop/7").json["number"] == 7
