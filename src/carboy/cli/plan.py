"""`carboy plan METHOD PATH`: the whole way of one request, printed from the plan that it would follow.

Nothing of the application is called but what finding a route calls: its converters. The steps come from the engine;
this file adds what stands before the plan (door, match) and, for a request that no route answers, who answers the error.
"""

from collections.abc import Iterator
from typing import Any

import click
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect
from werkzeug.test import EnvironBuilder

from ..core.journey import find_error_handler
from ..gateways.websocket import SocketPlan
from ..pipeline.plan import Plan
from ..pipeline.step import Step, is_async, origin
from .listing import show, table
from .source import answerers_of, near
from .target import loaded, with_app_option

Row = tuple[str, str, str, str]


@click.command("plan", short_help="Show the whole way of one request, a step a line.")
@click.argument("method")
@click.argument("path")
@click.option(
    "-i",
    "--interface",
    type=click.Choice(("asgi", "rsgi", "wsgi", "cgi", "fastcgi")),
    default="asgi",
    show_default=True,
    help="The door it comes in by.",
)
@click.pass_context
def plan_command(ctx: click.Context, method: str, path: str, interface: str) -> None:
    """Show the whole way of a request, a step a line: 'carboy plan GET /posts/3'.

    METHOD is WS for the handshake of a WebSocket. PATH may be a whole URL, where hosts or subdomains matter. No view and no hook is called. A request that no route
    answers has a way too, and so has a redirect.
    """
    if path.isalpha() and "/" in method:
        method, path = path, method  # said the other way round
    if "/" not in path:
        raise click.BadParameter(f"{path!r} is no path; a path begins with /", ctx, param_hint="PATH")
    app = loaded(ctx)
    if not hasattr(app, "find"):
        raise click.UsageError(f"{type(app).__module__}.{type(app).__qualname__} is no Carboy application; it has no plans.", ctx)
    show(lines(app, method.upper(), path, interface))


plan_command = with_app_option(plan_command)


def lines(app: Any, method: str, url: str, interface: str = "asgi") -> list[str]:
    """The page: a headline, and the steps in a table.

    Args:
        app: the application; its class is the user's own.
        method: upper-case; WS for a handshake.
        url: a path with or without a query, or a whole URL.
        interface: the door.
    """
    is_socket = method == "WS"
    environ = EnvironBuilder(path=url, method="GET" if is_socket else method).get_environ()
    if interface == "asgi":
        environ["asgi.scope"] = {}  # an app that is asked for a socket's page looks for the door here
    mount = app.mounts.find(environ["HTTP_HOST"], environ["PATH_INFO"]) if app.mounts else None
    if mount is not None:
        row = ("mount", f"{mount.host or ''}{mount.prefix}", "", _place(mount.target))
        return [f"{method} {url}: goes to the application mounted at {mount.prefix or mount.host}", "", *_table([row])]
    on_loop = interface in {"asgi", "rsgi"}
    request = app.request_class(environ)
    ctx = app.find_socket(request) if is_socket else app.find(request, on_loop)
    error = ctx.request.routing_exception
    head = _miss(error) if error is not None else f"answered by {ctx.request.endpoint}"
    colour = "async" if ctx.plan.is_async else "sync"
    driven = _held(ctx.plan) if is_socket else _driven(ctx.plan, on_loop)
    line = f"A plan in {colour} colour, {driven}."
    return [f"{method} {url}: {head}", line, "", *_table(_rows(app, ctx, error, interface))]


def _driven(plan: Plan, on_loop: bool) -> str:
    """How a plan is followed behind a door, in words; the engine's table of drivers."""
    if plan.is_async:
        place = "awaited on the event loop" if on_loop else "run on the portal's loop, one for the process"
        hops = any(step.blocking and not step.awaits for step in plan.steps)
        return f"{place}; neighbouring steps that may block share one hop to a thread" if hops else place
    if not on_loop:
        return "run in the server's own thread; there is no event loop"
    return "one hop to a worker thread for the whole way"


def _held(plan: SocketPlan) -> str:
    """The same for a socket; what stands after the view runs at the accept, or on the refusal."""
    held = "in one thread for as long as the socket is open" if plan.terms.holds_thread else _driven(plan, True)
    return f"{held}; after steps run at the accept, or on the answer that refuses"


def _rows(app: Any, ctx: Any, error: HTTPException | None, interface: str) -> Iterator[Row]:
    request, plan = ctx.request, ctx.plan
    entrance = {"asgi": "asgi_app", "rsgi": "__rsgi__"}.get(interface, "wsgi_app")
    yield "door", interface.upper(), "", _place(getattr(app, entrance, None))
    yield "match", request.url_rule.rule if request.url_rule is not None else "(no rule)", "", ""
    for name, value in (request.view_args or {}).items():
        # NOTE: Werkzeug keeps the converters of a compiled rule under this name; it has no public one.
        converter = getattr(request.url_rule, "_converters", {}).get(name)
        given = f" by {type(converter).__name__}" if converter is not None else " by the rule's defaults"
        yield "", f"{name} = {value!r}{given}", "", ""
    phase = None
    for step in plan.steps:
        shown = step.phase if step.phase != phase else ""
        phase = step.phase
        name, where = _named(app, request, step)
        yield shown, name, _colour(plan, step), where
        if phase == "view" and error is not None:
            yield from _answer(app, request, error)


def _named(app: Any, request: Any, step: Step) -> tuple[str, str]:
    """What to call a step, and where it is written; the engine's own steps by what they do for the application."""
    view = app.view_functions.get(request.endpoint) if request.endpoint is not None else None
    if step.phase == "view" and view is not None and step.function is view:
        (answerer, *_) = answerers_of(view, {_method(request)})
        return answerer.name, answerer.where
    if step.phase == "bind":
        return _bound(app, request, view), ""
    if step.phase == "respond" and not app.is_replaced("finalize_request"):
        return "make_response", _place(app.make_response)
    return step.name.rpartition("<locals>.")[2].lstrip("_"), near(step.where)


def _method(request: Any) -> str:
    """As `carboy routes` names it."""
    return "WS" if request.url_rule is not None and request.url_rule.websocket else str(request.method)


def _bound(app: Any, request: Any, view: Any) -> str:
    """The parameters that the view is given."""
    given = list(request.view_args or ())
    if view is not None:
        per_method = getattr(view, "per_method", None)
        is_socket = request.url_rule.websocket
        method = "WEBSOCKET" if is_socket else request.method
        called = per_method.for_method(method) if per_method is not None and per_method.view is view else None
        given += app.plans.wanted(called or view, set(request.url_rule.arguments), is_socket)
    return ", ".join(given) or "(nothing)"


def _colour(plan: Plan, step: Step) -> str:
    """The colour of a step, and how it comes into a plan of the other colour."""
    if plan.is_async:
        return "sync, thread" if step.blocking and not step.awaits else step.colour
    return "async, portal" if is_async(step.function) else step.colour


def _answer(app: Any, request: Any, error: HTTPException) -> Iterator[Row]:
    """Who answers a request that no route answers."""
    raised = f"raises {type(error).__name__}"
    handler = None if isinstance(error, RequestRedirect) else find_error_handler(app, error, request.blueprints)
    if handler is None:
        yield "error", f"{raised}, which is its own answer", "", ""
        return
    yield "error", raised, "", ""
    yield "", handler.__qualname__.rpartition("<locals>.")[2], "async" if is_async(handler) else "sync", _place(handler)


def _miss(error: HTTPException) -> str:
    """Why no route answers, in a sentence."""
    if isinstance(error, RequestRedirect):
        return f"no route answers; {error.code} redirect to {error.new_url}"
    if isinstance(error, MethodNotAllowed):
        return f"no route answers; 405, this path takes {', '.join(sorted(error.valid_methods or ()))}"
    return f"no route answers; {error.code} {error.name}"


def _place(function: Any) -> str:
    """Where something callable is written; an object is known by its class."""
    if function is None:
        return ""
    is_plain = callable(getattr(function, "__func__", function)) and hasattr(function, "__name__")
    return near(origin(function)) if is_plain else f"{type(function).__module__}.{type(function).__qualname__}"


def _table(rows: Any) -> list[str]:
    return table(("Phase", "Step", "Colour", "Where"), rows)
