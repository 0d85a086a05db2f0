# ruff: noqa: RUF012  # methods and decorators are plain lists in Flask's shape
"""Class views: Flask's contract, the callable of each HTTP method, and Handler's order."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast, get_type_hints

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from carboy.app import Carboy
from carboy.core.ctx import app_var, request_var
from carboy.standard.views import Handler, MethodView, View, Views, check_methods, http_method_funcs


class App:
    """The one method of an app that class views call."""

    def ensure_sync(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):
            return lambda *args, **kwargs: asyncio.run(function(*args, **kwargs))
        return function


@contextmanager
def requested(method: str = "GET") -> Iterator[SimpleNamespace]:
    request = Request(EnvironBuilder(method=method).get_environ())
    ctx = SimpleNamespace(app=App(), request=request, session={"who": "me"}, g=SimpleNamespace())
    tokens = app_var.set(cast(Any, ctx)), request_var.set(cast(Any, ctx))
    try:
        yield ctx
    finally:
        app_var.reset(tokens[0])
        request_var.reset(tokens[1])


def call(view: Callable[..., Any], method: str = "GET", **variables: Any) -> Any:
    with requested(method):
        return view(**variables)


def own(view: Any, method: str = "GET") -> Callable[..., Any]:
    found = view.per_method.for_method(method)
    assert found is not None
    return cast(Callable[..., Any], found)


# ── View ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_view_function_carries_the_class_and_its_settings():
    """Strangers find the class, its methods and its documentation on the view function."""

    class Page(View):
        """A page."""

        methods = ["GET", "POST"]
        provide_automatic_options = False

        def dispatch_request(self):
            return "page"

    view = Page.as_view("page")

    assert view.view_class is Page
    assert view.methods == ["GET", "POST"]
    assert view.provide_automatic_options is False
    assert (view.__name__, view.__doc__, view.__module__) == ("page", "A page.", __name__)


def test_view_passes_class_arguments_and_url_variables():
    """Arguments of as_view reach __init__, URL variables reach dispatch_request."""

    class Page(View):
        def __init__(self, prefix, *, end):
            self.prefix, self.end = prefix, end

        def dispatch_request(self, name):
            return f"{self.prefix}{name}{self.end}"

    view = Page.as_view("page", "<", end=">")

    assert call(view, name="x") == "<x>"
    assert own(view)(name="x") == "<x>"


def test_a_view_without_dispatch_request_says_what_to_define():
    """The base class names the method that is missing."""

    class Empty(View):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no dispatch_request"):
        call(Empty.as_view("empty"))


def test_each_request_has_its_instance_unless_told_otherwise():
    """init_every_request decides between one instance a request and one a view function."""
    made = []

    class Fresh(View):
        def __init__(self):
            made.append(type(self).__name__)

        def dispatch_request(self):
            return "ok"

    class Shared(Fresh):
        init_every_request = False

    fresh, shared = Fresh.as_view("fresh"), Shared.as_view("shared")

    for view in (fresh, shared):
        call(view)
        call(view)
        own(view)()

    assert made.count("Fresh") == 3
    assert made.count("Shared") == 1


def test_async_dispatch_request_is_callable_in_both_ways():
    """A stranger gets the answer from the view function; the engine gets the coroutine function."""

    class Page(View):
        async def dispatch_request(self):
            await asyncio.sleep(0)
            return "async"

    view = Page.as_view("page")

    assert call(view) == "async"
    assert inspect.iscoroutinefunction(own(view))
    assert asyncio.run(own(view)()) == "async"


def test_decorators_wrap_the_view_function_in_order():
    """The first decorator is the innermost, and the attributes are on the outermost function."""

    def mark(letter):
        def decorate(function):
            @functools.wraps(function)
            def wrapper(**variables):
                return letter + function(**variables)

            return wrapper

        return decorate

    class Page(View):
        decorators = [mark("a"), mark("b")]

        def dispatch_request(self):
            return "."

    view = Page.as_view("page")

    assert call(view) == "ba."
    assert view.view_class is Page
    assert not hasattr(view, "per_method")


def test_a_decorator_that_copies_attributes_is_not_walked_around():
    """per_method names the function it belongs to, so a wrapper's copy is seen to be a copy."""

    class Page(View):
        def dispatch_request(self):
            return "."

    view = Page.as_view("page")

    @functools.wraps(view)
    def wrapper(**variables):
        return "!" + view(**variables)

    assert view.per_method.view is view
    assert wrapper.per_method.view is not wrapper


def test_a_decorator_that_returns_its_argument_costs_nothing():
    """A decorator that only registers the function leaves it the engine's callables."""

    class Page(View):
        decorators = [lambda function: function]

        def dispatch_request(self):
            return "."

    view = Page.as_view("page")

    assert own(view)() == "."


def test_view_class_replaced_on_the_function_answers():
    """Patching view_class changes who answers, on both ways."""

    class Old(MethodView):
        def get(self):
            raise ZeroDivisionError

    class New(Old):
        def get(self):
            return "new"

    view = Old.as_view("old")
    view.view_class = New

    assert call(view) == "new"
    assert own(view)() == "new"


# ── MethodView ──────────────────────────────────────────────────────────────────────────────────────────────


def test_methods_are_collected_from_the_class_and_its_bases():
    """Every HTTP method defined anywhere in the bases is allowed."""

    class Reads(MethodView):
        def get(self): ...

    class Deletes(MethodView):
        methods = ["PROPFIND"]

        def delete(self): ...

    class Both(Reads, Deletes):
        def patch(self): ...

    assert Both.methods == {"GET", "PATCH", "DELETE", "PROPFIND"}


def test_methods_that_the_class_sets_are_kept():
    """A class can take methods of its bases away."""

    class Reads(MethodView):
        def get(self): ...

        def post(self): ...

    class Narrow(Reads):
        methods = ["GET"]

    assert Narrow.methods == ["GET"]
    assert MethodView.methods is None
    assert http_method_funcs == {"get", "post", "head", "options", "delete", "put", "trace", "patch"}


def test_head_falls_back_to_get_unless_it_is_defined():
    """HEAD is answered by head, or by get."""

    class Falls(MethodView):
        def get(self):
            return "get"

    class Defines(Falls):
        def head(self):
            return "head"

    assert call(Falls.as_view("v"), "HEAD") == own(Falls.as_view("v"), "HEAD")() == "get"
    assert call(Defines.as_view("v"), "HEAD") == own(Defines.as_view("v"), "HEAD")() == "head"


def test_a_method_that_is_missing_is_named():
    """A rule that allows more than the class has is told which method to define."""

    class Reads(MethodView):
        def get(self): ...

    view = Reads.as_view("v")

    assert view.per_method.for_method("PUT") is None
    with pytest.raises(AssertionError, match="Reads has no 'put' method"):
        call(view, "PUT")


def test_each_http_method_keeps_its_colour():
    """One class may mix def and async def; each callable is what its author wrote."""

    class Mixed(MethodView):
        def get(self, id: int) -> str:
            return f"get {id}"

        async def post(self, id: int) -> str:
            return f"post {id}"

    view = Mixed.as_view("v")

    assert not inspect.iscoroutinefunction(own(view, "GET"))
    assert inspect.iscoroutinefunction(own(view, "POST"))
    assert own(view, "GET")(id=1) == "get 1"
    assert asyncio.run(own(view, "POST")(id=2)) == "post 2"
    assert call(view, "POST", id=3) == "post 3"


def test_callables_show_the_signature_of_the_users_method():
    """The engine reads parameters and resolved annotations, without self."""

    class Item(MethodView):
        async def get(self, request: Request, id: int, *, full: bool = False) -> dict[str, int]:
            return {"id": id}

    found = own(Item.as_view("v"))

    assert list(inspect.signature(found).parameters) == ["request", "id", "full"]
    assert get_type_hints(found) == {"request": Request, "id": int, "full": bool, "return": dict[str, int]}
    assert inspect.unwrap(found).__code__.co_filename == __file__


def test_a_method_view_that_dispatches_itself_sees_every_request():
    """Overriding dispatch_request takes the engine's shortcut away."""

    class Own(MethodView):
        def dispatch_request(self, *args, **variables):
            return f"[{super().dispatch_request(*args, **variables)}]"

        def get(self):
            return "get"

    view = Own.as_view("v")

    assert view.per_method.for_method("GET") is None
    assert call(view) == "[get]"


def test_the_view_function_gives_what_a_method_asks_for():
    """Called by a stranger, a class view still gets its request, session, g and app."""

    class Item(MethodView):
        def get(self, asked: Request, session, app, id):
            return asked.method, session["who"], type(app), id

    assert call(Item.as_view("v"), id=7) == ("GET", "me", App, 7)


def test_a_url_variable_outranks_what_is_offered():
    """A variable named like a field of the context is the URL's."""

    class Page(View):
        def dispatch_request(self, g):
            return g

    assert call(Page.as_view("v"), g="from the url") == "from the url"


# ── Handler ─────────────────────────────────────────────────────────────────────────────────────────────────


class Recorder(Handler):
    """Writes down the order of its steps."""

    def __init__(self, log):
        self.log = log

    def prepare(self):
        self.log.append("prepare")

    def on_finish(self):
        self.log.append("finish")


class Ordered(Recorder):
    def get(self):
        self.log.append("get")
        return "got"

    async def post(self):
        self.log.append("post")
        return "posted"


def in_every_way(view: Any, method: str) -> Iterator[Callable[[], Any]]:
    """The two ways to call a view: as a stranger does, as the engine does."""
    yield lambda: call(view, method)
    found = own(view, method)

    def engine() -> Any:
        with requested(method):
            return asyncio.run(found()) if inspect.iscoroutinefunction(found) else found()

    yield engine


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_handler_runs_prepare_method_and_finish(method):
    """The order is the same in both colours, whoever calls."""
    log: list[str] = []
    word = method.lower()

    for way in in_every_way(Ordered.as_view("v", log), method):
        log.clear()
        way()

        assert log == ["prepare", word, "finish"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_prepare_may_answer_early(method):
    """An answer of prepare skips the method, not on_finish."""

    class Closed(Ordered):
        def prepare(self):
            return "closed"

    log: list[str] = []

    for way in in_every_way(Closed.as_view("v", log), method):
        log.clear()

        assert way() == "closed"
        assert log == ["finish"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_empty_answer_of_prepare_is_an_answer(method):
    """Only None lets the method run."""

    class Empty(Ordered):
        async def prepare(self):
            return ""

    for way in in_every_way(Empty.as_view("v", []), method):
        assert way() == ""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_errors_go_on_after_finish_by_default(method):
    """Without write_error the error reaches the app as it is, and on_finish has run."""

    class Breaks(Recorder):
        def get(self):
            raise LookupError("broken")

        async def post(self):
            raise LookupError("broken")

    log: list[str] = []

    for way in in_every_way(Breaks.as_view("v", log), method):
        log.clear()
        with pytest.raises(LookupError, match="broken"):
            way()

        assert log == ["prepare", "finish"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_write_error_answers_for_method_and_prepare(method, colour):
    """One place of a base class answers the errors of its subclasses, in either colour."""

    class Base(Handler):
        def prepare(self):
            if "early" in self.g.__dict__:
                raise ValueError("in prepare")

        def get(self):
            raise LookupError("in get")

        async def post(self):
            raise LookupError("in post")

    class Sync(Base):
        def write_error(self, error):
            return f"{type(error).__name__}: {error}"

    class Async(Base):
        async def write_error(self, error):
            return f"{type(error).__name__}: {error}"

    view = (Sync if colour == "def" else Async).as_view("v")

    for way in in_every_way(view, method):
        assert way() == f"LookupError: in {method.lower()}"


def test_write_error_may_pass_an_error_on():
    """super().write_error raises the error it is given."""

    class Picky(Handler):
        def get(self):
            raise LookupError("not mine")

        def write_error(self, error):
            return super().write_error(error)

    with pytest.raises(LookupError, match="not mine"):
        call(Picky.as_view("v"))


def test_a_blocking_hook_of_an_async_method_leaves_the_loop_free():
    """def may block, so it runs in a worker thread; async def stays on the loop."""
    where = {}

    class Mixed(Handler):
        def prepare(self):
            where["prepare"] = threading.get_ident()

        async def get(self):
            where["get"] = threading.get_ident()

        async def on_finish(self):
            where["on_finish"] = threading.get_ident()

    with requested():
        asyncio.run(own(Mixed.as_view("v"))())

    here = threading.get_ident()
    assert where["get"] == where["on_finish"] == here
    assert where["prepare"] != here


def test_on_finish_runs_when_the_request_is_cancelled():
    """A client that goes away does not skip the epilogue, and write_error is not asked."""
    log = []

    class Slow(Handler):
        async def get(self):
            await asyncio.sleep(60)

        def write_error(self, error):
            log.append("error")

        async def on_finish(self):
            log.append("finish")

    async def main():
        task = asyncio.create_task(own(Slow.as_view("v"))())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with requested():
        asyncio.run(main())

    assert log == ["finish"]


def test_a_shared_handler_holds_nothing_of_a_request():
    """self.request is the request at hand, even on an instance that serves all of them."""

    class Shared(Handler):
        init_every_request = False

        def get(self):
            return self.request, self.app, self.session, self.g

    found = own(Shared.as_view("v"))

    with requested() as first:
        one = found()
    with requested() as second:
        two = found()

    assert one == (first.request, first.app, first.session, first.g)
    assert two == (second.request, second.app, second.session, second.g)
    assert one[0] is not two[0]


# ── the equipment ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_rule_that_allows_too_much_is_found_at_start():
    """The check names the rule, the method and the class; it is silent where all is well."""

    class Item(MethodView):
        def get(self): ...

    app = Carboy("shop")
    app.add_url_rule("/item", view_func=Item.as_view("item"))
    assert check_methods(app) is None

    app.add_url_rule("/wide", view_func=Item.as_view("wide"), methods=["GET", "PUT"])

    assert "/wide allows PUT, which" in str(check_methods(app))
    assert "Item has not" in str(check_methods(app))


def test_views_are_fitted_like_any_extension():
    """The equipment declares its check under its own name."""
    app = Carboy("shop")
    if "views" not in app.fitted:
        app.fit(Views())

    assert ("views.methods", check_methods) in app.checks


def test_class_views_answer_through_an_app():
    """Both colours, HEAD, a handler's error answer and an early answer, from request to response."""

    class Private(Handler):
        async def prepare(self):
            if "key" not in self.request.args:
                return "no key", 401
            return None

        def write_error(self, error):
            return {"error": str(error)}, 418

    class Order(Private):
        def get(self, id: int):
            return {"id": id}

        async def post(self, request: Request, id: int):
            if id == 0:
                raise LookupError("nothing")
            return {"method": request.method, "id": id}

    app = Carboy("shop")
    app.add_url_rule("/order/<int:id>", view_func=Order.as_view("order"))
    client = app.test_client()

    assert client.get("/order/1").status_code == 401
    assert client.get("/order/1?key=1").json == {"id": 1}
    assert client.head("/order/1?key=1").status_code == 200
    assert client.post("/order/2?key=1").json == {"method": "POST", "id": 2}
    failed = client.post("/order/0?key=1")
    assert (failed.status_code, failed.json) == (418, {"error": "nothing"})
    assert client.put("/order/1?key=1").status_code == 405
