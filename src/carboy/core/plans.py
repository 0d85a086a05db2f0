"""From declarations to plans: the second clock.

`Plans` is made at freeze and thrown away when a declaration changes; it finds a request's route and keeps one plan for
each route and method, compiled when first needed (`compile_all` does it at once, so that mistakes show before the
first request).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import AnyConverter, BaseConverter, IntegerConverter, PathConverter
from werkzeug.routing import Rule as WerkzeugRule
from werkzeug.routing.exceptions import WebsocketMismatch

from ..pipeline.plan import Plan
from ..pipeline.signals import request_finished, request_started
from ..pipeline.step import Step, is_async, origin, segments
from ..routing.map import Map
from ..routing.table import Entry, Table
from ..wire.errors import UpgradeRequired
from . import journey
from .ctx import Context
from .deadline import allow
from .errors import BadView
from .handshake import socket_plan
from .request import blueprint_names
from .respond import heavy, light, whole
from .services import close_flows

#: Methods that get a plan of their own; any other shares one, so that strange methods cannot fill the memory.
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"})

#: How converters make text that depends on nothing but the value.
_PURE = frozenset(one.to_url for one in (AnyConverter, BaseConverter, IntegerConverter, PathConverter))

#: A replacement of one of these decides over view and response in sync code, so its routes are sync.
SYNC_VERBS = ("dispatch_request", "full_dispatch_request", "finalize_request", "ensure_sync", "async_to_sync")


@dataclass(frozen=True, slots=True)
class Way:
    """For whom a plan is compiled.

    Attributes:
        on_loop: an event loop is at hand (ASGI, RSGI), so a view that never blocks can run on it.
        sync: the plan is driven in place by a verb that a guest has called; nothing may suspend.
        ignoring: replaced verbs that call this one: looking at them again would never end.
        is_socket: a WebSocket's handshake asks.
    """

    on_loop: bool = False
    sync: bool = False
    ignoring: frozenset[str] = frozenset()
    is_socket: bool = False


SYNC_DOOR = Way()
ASYNC_DOOR = Way(on_loop=True)
#: A replaced verb knows of requests and responses; a socket outlives both.
SOCKET = Way(on_loop=True, ignoring=frozenset(SYNC_VERBS), is_socket=True)
#: What `super().dispatch_request()` and its like follow.
PLAIN = Way(
    sync=True,
    ignoring=frozenset({"dispatch_request", "full_dispatch_request", "preprocess_request", "process_response", "finalize_request"}),
)
#: What `super().full_dispatch_request()` follows.
INSIDE = Way(sync=True, ignoring=frozenset({"full_dispatch_request"}))
#: What `super().handle_exception()` ends with: all that stands after the view, though the verb around it is replaced.
FINAL = INSIDE


def _shown(step_of: Any, phase: str, function: Any, *, awaits: bool = False, blocking: bool = False) -> Step:
    """A step that is there to be printed; the driver calls `step_of` in its own way."""
    return Step(step_of, phase, function, awaits, blocking)


class Plans:
    """An app's routes and their plans.

    Args:
        app: the app; its registries are read now and while plans are compiled.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        url_map = app.url_map
        self.table = Table(url_map)
        self.compiled: dict[Way, dict[tuple[Entry | None, str], Plan]] = {}
        self.door_plans = self.compiled[SYNC_DOOR] = {}
        self.loop_plans = self.compiled[ASYNC_DOOR] = {}
        #: A map that does not tell when it changes must be asked.
        self.watches_map = not isinstance(url_map, Map)
        #: Every rule stands in the default domain, so host and adapter need not be looked at.
        self.is_plain = not (
            url_map.host_matching
            or app.subdomain_matching
            or app.is_replaced("create_url_adapter")
            or app.config.get("TRUSTED_HOSTS") is not None
        )
        self.domain = url_map.default_subdomain or ""
        #: `build_path`, with the last results kept: pages link to the same things again and again.
        self.path_of = functools.lru_cache(maxsize=4096)(self.build_path)
        #: The door methods stand in `Carboy`, a floor above: a name tells what is replaced there.
        self.has_detours = bool(app.mounts) or app.is_replaced("__call__") or app.is_replaced("wsgi_app") or app.is_replaced("asgi_app")
        self.makes_own_contexts = app.is_replaced("request_context")
        self.ends_quietly = not (
            app.teardown_appcontext_funcs
            or any(app.teardown_request_funcs.values())
            or app.is_replaced("do_teardown_request")
            or app.is_replaced("do_teardown_appcontext")
        )

    # -- finding ----------------------------------------------------------------------------------

    def match(self, ctx: Context, websocket: bool = False) -> Entry | None:
        """Set the request's rule and values, or why there are none; return the rule's entry.

        Args:
            websocket: it is a handshake, so that pages are no answer; otherwise sockets are none.
        """
        request: Any = ctx._request
        try:
            if self.is_plain:
                hit = self.table.match(self.domain, request.path, request.method, websocket)
                if hit is not None:
                    entry, request.view_args = hit
                    request.url_rule = entry.rule
                    return entry
            # Not by the Upgrade field that the adapter has seen: the door knows what it carries.
            rule, values = ctx.url_adapter.match(return_rule=True, websocket=websocket)
        except WebsocketMismatch as error:
            request.routing_exception = NotFound() if websocket else UpgradeRequired() if _may_upgrade(request) else error
            return None
        except HTTPException as error:
            request.routing_exception = error
            return None
        except ValueError:
            # A number of more digits than Python reads: no number of ours.
            request.routing_exception = NotFound()
            return None
        request.url_rule = rule
        request.view_args = values
        return self.table.entry_for(rule)

    def by_hand(self, ctx: Context, way: Way) -> Plan:
        """The plan that a verb follows when a guest calls it."""
        request: Any = ctx.request
        rule = request.url_rule
        return self.plan_of(self.table.entry_for(rule) if rule is not None else None, request.method, way)

    def plan_of(self, entry: Entry | None, method: str, way: Way) -> Plan:
        """The plan for an entry and a method, compiled at the first call."""
        if method not in KNOWN_METHODS:
            method = "*"
        plans = self.compiled.setdefault(way, {})
        plan = plans.get((entry, method))
        if plan is None:
            plan = self.compile(entry, method, way) if entry is not None else self.compile_miss(way)
            if way.is_socket:
                plan = socket_plan(self.app, plan, None if entry is None else getattr(entry.rule, "options", None) or {})
            plans[entry, method] = plan
        return plan

    def compile_all(self) -> None:
        """Compile every route, so that mistakes of setup show now.

        Raises:
            SetupError: the first one.
        """
        for entry in self.table.entries():
            if entry.rule.build_only or entry.endpoint not in self.app.view_functions:
                continue
            self.check_view(entry)
            if entry.rule.websocket:
                self.plan_of(entry, "GET", SOCKET)
                continue
            for method in sorted(entry.rule.methods or ("GET",)):
                self.plan_of(entry, method, SYNC_DOOR)

    def check_view(self, entry: Entry) -> None:
        """See that a view can be called with what its rule gives.

        Only where nothing else could give more: a decorator that takes what comes, or a hook that edits the values.

        Raises:
            BadView: a parameter that nobody fills, or a value that the view does not take.
        """
        app = self.app
        view = app.view_functions[entry.endpoint]
        if any(app.url_value_preprocessors.values()) or any(app.before_request_funcs.values()) or hasattr(view, "view_class"):
            return
        try:
            parameters = inspect.signature(view, follow_wrapped=False).parameters
        except (TypeError, ValueError):
            return
        kinds = {parameter.kind for parameter in parameters.values()}
        if inspect.Parameter.VAR_KEYWORD in kinds or inspect.Parameter.VAR_POSITIONAL in kinds:
            return
        given = set(entry.rule.arguments)
        filled = given | set(self.wanted(view, given, entry.rule.websocket))
        missing = [name for name, one in parameters.items() if one.default is one.empty and name not in filled]
        surplus = sorted(given - set(parameters))
        if missing or surplus:
            wrong = f"asks for {', '.join(missing)}, which the rule does not give" if missing else f"does not take {', '.join(surplus)}"
            raise BadView(
                f"the view of {entry.rule.rule!r} ({origin(view)}) {wrong}. The rule gives: {', '.join(sorted(given)) or 'nothing'};"
                f" {'ws, ' if entry.rule.websocket else ''}request, session, g and app may be asked for by name, other things by their type"
            )

    def build_path(self, endpoint: str, items: tuple[tuple[str, str | int], ...]) -> str | None:
        """The path below the app's root, of plain values; None where more than these decides, or nothing fits."""
        rule = self.only_rule(endpoint) if self.is_plain else None
        values = dict(items)
        if rule is None or not rule.arguments <= values.keys():
            return None
        made = rule.build(values)
        return None if made is None else f"/{made[1].lstrip('/')}"

    def only_rule(self, endpoint: str) -> WerkzeugRule | None:
        url_map = self.app.url_map
        if type(url_map) is not Map:
            return None
        url_map.update()
        rules = url_map._rules_by_endpoint.get(endpoint, ())
        if len(rules) != 1:
            return None
        rule: WerkzeugRule = rules[0]
        is_usual = type(rule).build is WerkzeugRule.build and type(rule).suitable_for is WerkzeugRule.suitable_for
        # A converter of the application's own may look at anything.
        is_usual = is_usual and all(type(one).to_url in _PURE for one in rule._converters.values())
        return rule if is_usual and not rule.defaults and not rule.websocket and (rule.subdomain or "") == self.domain else None

    # -- compiling --------------------------------------------------------------------------------

    def compile(self, entry: Entry, method: str, way: Way) -> Plan:
        app = self.app
        rule = entry.rule
        endpoint: str = entry.endpoint
        names = blueprint_names(endpoint.rpartition(".")[0]) if "." in endpoint else []
        options = getattr(rule, "options", None) or {}
        blocking = bool(options.get("blocking", True))
        if method == "OPTIONS" and entry.auto_options:
            return self.build(
                names, _no_values, lambda: app.make_default_options_response(), way=way, blocking=False, shown=app.make_default_options_response
            )
        try:
            view = app.view_functions[endpoint]
        except KeyError:
            return self.build(names, _no_values, functools.partial(_no_view, endpoint), way=way, blocking=False)
        shown = view
        per_method = getattr(view, "per_method", None)
        if per_method is not None and per_method.view is view:
            view = per_method.for_method("WEBSOCKET" if rule.websocket else method) or view
        blocking = blocking and not getattr(view, "never_blocks", False)
        return self.build(
            names,
            self.binder(view, shown, rule),
            view,
            way=way,
            blocking=blocking,
            shown=shown,
            reads_body=not options.get("stream", False),
            body_limit=options.get("max_body"),
            timeout=options.get("timeout"),
        )

    def compile_miss(self, way: Way) -> Plan:
        """The plan of a request that no rule matches: hooks and error handlers see it like any other."""
        app = self.app

        def miss(request: Any) -> Any:
            return app.raise_routing_exception(request)

        return self.build([], _only_request, miss, way=way, blocking=False, shown=app.raise_routing_exception)

    def build(
        self,
        names: list[str],
        bind: Callable[[Any], dict[str, Any]],
        view: Callable[..., Any],
        *,
        way: Way,
        blocking: bool,
        shown: Any = None,
        reads_body: bool = True,
        body_limit: int | None = None,
        timeout: float | None = None,
    ) -> Plan:
        """Put a plan together from the app's declarations.

        Args:
            names: the blueprints around the view, innermost first.
            blocking: a `def` view that may block; otherwise it runs on the loop where there is one.
            shown: what to print as the view.
            timeout: seconds in which an answer must begin, 0 for no limit; None is the server's setting.
        """
        app = self.app
        plain_bind, plain_view = bind, view
        inner: Plan | None = None

        def replaced(verb: str) -> bool:
            return verb not in way.ignoring and app.is_replaced(verb)

        awaits = is_async(view)
        sync_only = way.sync or any(replaced(verb) for verb in SYNC_VERBS)
        # A view that never blocks runs on the loop, unless hooks around it may block: then the whole journey is one
        # hop to one thread, so that what a hook opens in `g` is closed in the thread it was opened in.
        follows_loop = not sync_only and (awaits or (way.on_loop and not blocking and not self.hooks_may_block(names)))
        invoke = journey.invoke_on_loop if follows_loop else journey.invoke_sync(app)
        before = list(self.before_steps(names, follows_loop))
        after = list(self.after_steps(names, follows_loop))
        bind_step = Step(bind, "bind", bind)
        view_step = _shown(view, "view", shown if shown is not None else view, awaits=awaits, blocking=blocking)
        respond: Callable[[Any, Any], Any]
        rescue: Any = functools.partial(journey.rescue, invoke)
        fail: Any = functools.partial(journey.fail, invoke)

        if replaced("dispatch_request"):
            bind, view, awaits = _no_values, lambda: app.dispatch_request(), False
            view_step = _shown(view, "view", app.dispatch_request)
        elif not follows_loop:
            view, awaits = app.ensure_sync(view), False
        if replaced("preprocess_request"):
            before = [Step(_preprocess, "before", app.preprocess_request, blocking=True)]
        if replaced("process_response"):
            after = [Step(_process_response, "after", app.process_response, blocking=True)]
        if replaced("finalize_request"):
            after, respond = [], functools.partial(_finalize, app)
        elif app.takes_answers():
            # A layer may want to change the response as it closes.
            stays_light = not app.layers and all(getattr(step.function, "takes_answer", False) for step in after)
            respond = (light if stays_light else heavy)(app)
        else:
            respond = functools.partial(_respond, app)
        if replaced("full_dispatch_request"):
            before, after = [], []
            bind, view, awaits = _no_values, lambda: app.full_dispatch_request(), False
            view_step = _shown(view, "view", app.full_dispatch_request)
            respond, rescue = _as_it_is, _raise_again
            fail = functools.partial(_fail_outside, invoke)
            inner = replace(
                self.build(
                    names, plain_bind, plain_view, way=INSIDE, blocking=blocking, shown=shown, reads_body=reads_body, body_limit=body_limit
                ),
                layers=tuple(app.layers),
                fail=fail,
            )
        if way.sync:
            fail = _raise_again

        if timeout is not None:
            before.insert(0, Step(functools.partial(allow, timeout), "before", allow))
        teardown_steps = [
            Step(function, "teardown", function, is_async(function), True)
            for name in (*names, None)
            for function in reversed(app.teardown_request_funcs.get(name, ()))
        ] + [Step(function, "teardown", function, is_async(function), True) for function in reversed(app.teardown_appcontext_funcs)]
        steps = (
            *(Step(layer, "layer", layer) for layer in app.layers),
            *before,
            bind_step,
            view_step,
            _shown(respond, "respond", respond),
            *after,
            *teardown_steps,
        )
        return Plan(
            is_async=follows_loop,
            layers=() if way.sync else tuple(app.layers),
            inward=segments(before, on_loop=follows_loop),
            bind=bind,
            view=view,
            view_awaits=awaits,
            respond=respond,
            rescue=rescue,
            fail=fail,
            outward=segments(after, on_loop=follows_loop),
            afterwards=functools.partial(journey.afterwards, invoke),
            teardown=functools.partial(_tear_down_on_loop, invoke) if follows_loop and not self.ends_quietly else None,
            started=_announce_start,
            finished=_announce_end,
            reads_body=reads_body,
            body_limit=body_limit,
            inner=inner,
            steps=steps,
        )

    def hooks_may_block(self, names: list[str]) -> bool:
        """Whether a `def` stands among the hooks and teardown functions of a route, or equipment that may block."""
        app = self.app
        fitted = (step for steps in (app.fitted_before, app.fitted_after) for step in steps)
        if any(step.blocking and (step.when is None or step.when(app)) for step in fitted):
            return True
        registries = (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs)
        hooks = [hook for registry in registries for name in (*names, None) for hook in registry.get(name, ())]
        return not all(map(is_async, (*hooks, *app.teardown_appcontext_funcs)))

    def before_steps(self, names: list[str], follows_loop: bool) -> Iterator[Step]:
        app = self.app
        yield from (step for step in app.fitted_before if step.when is None or step.when(app))
        for name in (None, *reversed(names)):
            for function in app.url_value_preprocessors.get(name, ()):
                yield Step(functools.partial(_preprocess_values, function), "before", function)
        for name in (None, *reversed(names)):
            for function in app.before_request_funcs.get(name, ()):
                yield self.hook_step(function, follows_loop)

    def hook_step(self, function: Callable[..., Any], follows_loop: bool) -> Step:
        awaits = is_async(function)
        if not follows_loop:
            called = self.app.ensure_sync(function)
            return Step(functools.partial(_call, called), "before", function, False, True)
        return Step(functools.partial(_call, function), "before", function, awaits, not awaits)

    def after_steps(self, names: list[str], follows_loop: bool) -> Iterator[Step]:
        app = self.app
        for name in (*names, None):
            for function in reversed(app.after_request_funcs.get(name, ())):
                awaits = is_async(function)
                if not follows_loop:
                    yield Step(functools.partial(_pass_response, app.ensure_sync(function)), "after", function, False, True)
                elif awaits:
                    yield Step(functools.partial(_pass_response_async, function), "after", function, True)
                else:
                    yield Step(functools.partial(_pass_response, function), "after", function, False, True)
        yield from (step for step in app.fitted_after if step.when is None or step.when(app))

    def binder(self, view: Callable[..., Any], shown: Any, rule: Any) -> Callable[[Any], dict[str, Any]]:
        """Make what fills the view's parameters: the URL's values, and what it asks for by annotation or name."""
        wanted = self.wanted(view, set(rule.arguments), rule.websocket)
        if not wanted:
            return _values
        sources = tuple(wanted.items())

        def bind(ctx: Context) -> dict[str, Any]:
            request: Any = ctx.request
            values = dict(request.view_args)
            for name, extract in sources:
                values[name] = extract(ctx)
            return values

        return bind

    def wanted(self, view: Callable[..., Any], given: set[str], is_socket: bool = False) -> dict[str, Callable[[Context], Any]]:
        """Which parameters of a view the framework fills, and how.

        By annotation anywhere, also behind a decorator that keeps the signature; by the names `request`, `session`, `g`,
        `app` only where the outermost function itself asks for them without a default, since a decorator may pass
        something of its own under these names. A WebSocket's view may ask for `ws` too.
        """
        by_name = _BY_NAME_AT_A_SOCKET if is_socket else _BY_NAME
        try:
            own = inspect.signature(view, follow_wrapped=False).parameters
            inner = inspect.signature(view, eval_str=False).parameters
        except (TypeError, ValueError):
            return {}
        sources: dict[str, Callable[[Context], Any]] = {}
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values())
        hints: dict[str, Any] | None = None
        for name, parameter in inner.items():
            if name in given or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                continue
            if name not in own and not takes_any:
                continue
            if parameter.annotation is not parameter.empty:
                if hints is None:
                    hints = _hints(view)
                kind = hints.get(name, parameter.annotation)
                extract = self.source_of(kind, is_socket)
                if extract is not None:
                    sources[name] = extract
                    continue
            if name in own and parameter.default is parameter.empty and name in by_name:
                sources[name] = by_name[name]
        return sources

    def source_of(self, kind: Any, is_socket: bool) -> Callable[[Context], Any] | None:
        """The extractor fitted for a type, the app's own types among them."""
        if not isinstance(kind, type) or kind is Any:  # a class since Python 3.11, but no isinstance may ask for it
            return None
        sources: dict[type, Callable[[Context], Any]] = self.app.sources
        if kind in sources:
            return sources[kind]
        if issubclass(self.app.request_class, kind) and kind is not object:
            return _BY_NAME["request"]
        if isinstance(self.app, kind) and kind is not object:
            return _BY_NAME["app"]
        if is_socket and kind is not object:
            kind_of_ours = self.app.websocket_class
            if issubclass(kind_of_ours, kind) or issubclass(kind_of_ours.blocking_class, kind):
                return _BY_NAME_AT_A_SOCKET["ws"]
        return None


# -- what plans are made of -----------------------------------------------------------------------

#: The URL's values, read without a Python frame.
_values: Callable[[Any], dict[str, Any]] = attrgetter("_request.view_args")


def _no_values(ctx: Context) -> dict[str, Any]:
    return {}


def _only_request(ctx: Context) -> dict[str, Any]:
    return {"request": ctx.request}


_BY_NAME: dict[str, Callable[[Context], Any]] = {
    "request": lambda ctx: ctx.request,
    "session": lambda ctx: ctx.session,
    "g": lambda ctx: ctx.g,
    "app": lambda ctx: ctx.app,
}

_BY_NAME_AT_A_SOCKET: dict[str, Callable[[Context], Any]] = {**_BY_NAME, "ws": lambda ctx: ctx.websocket}


def _no_view(endpoint: str) -> Any:
    raise KeyError(endpoint)


def _hints(view: Callable[..., Any]) -> dict[str, Any]:
    """A view's annotations, evaluated where they can be; one that cannot is left as its text."""
    function = inspect.unwrap(view)
    try:
        return dict(inspect.get_annotations(function, eval_str=True))
    except Exception:  # a name known to type checkers only; the others must still be found one by one
        namespace = getattr(function, "__globals__", {})
        found: dict[str, Any] = {}
        for name, text in getattr(function, "__annotations__", {}).items():
            found[name] = namespace.get(text, text) if isinstance(text, str) else text
        return found


def _may_upgrade(request: Any) -> bool:
    """Whether an answer may ask for a WebSocket: not over HTTP/2 (RFC 9113 §8.2.2), nor at a door that carries none."""
    environ = request.environ
    return "asgi.scope" in environ and str(environ["SERVER_PROTOCOL"]).startswith("HTTP/1")


def _preprocess_values(function: Callable[..., Any], ctx: Context) -> None:
    request: Any = ctx.request
    function(request.endpoint, request.view_args)


def _pass_response(function: Callable[[Any], Any], ctx: Context) -> None:
    ctx.response = journey.passed_on(function, function(whole(ctx)))


async def _pass_response_async(function: Callable[[Any], Any], ctx: Context) -> None:
    ctx.response = journey.passed_on(function, await function(whole(ctx)))


def _call(function: Callable[[], Any], ctx: Context) -> Any:
    return function()


def _preprocess(ctx: Context) -> Any:
    app: Any = ctx.app
    return app.preprocess_request()


def _process_response(ctx: Context) -> None:
    app: Any = ctx.app
    ctx.response = app.process_response(whole(ctx))


def _respond(app: Any, ctx: Context, value: Any) -> Any:
    return app.make_response(value)


def _finalize(app: Any, ctx: Context, value: Any) -> Any:
    return app.finalize_request(value)


def _as_it_is(ctx: Context, value: Any) -> Any:
    return value


async def _raise_again(ctx: Context, error: Exception) -> Any:
    raise error


async def _fail_outside(invoke: journey.Invoke, ctx: Context, error: Exception) -> None:
    """Answer what a replaced `full_dispatch_request` let out; what it would have run after the view runs now."""
    await journey.fail(invoke, ctx, error, ctx.plan.inner)


def _announce_start(ctx: Context) -> None:
    app: Any = ctx.app
    request_started.send(app, _async_wrapper=app.ensure_sync)


def _announce_end(ctx: Context) -> None:
    app: Any = ctx.app
    request_finished.send(app, _async_wrapper=app.ensure_sync, response=whole(ctx))


async def _tear_down_on_loop(invoke: journey.Invoke, ctx: Context, exc: BaseException | None) -> None:
    if ctx.is_last:
        ctx.is_torn_down = True
        if ctx.services is not None:
            close_flows(ctx.services[1])
        if exc is not None and ctx.app.should_ignore_error(exc):  # type: ignore[attr-defined]  # the app's verb
            exc = None
        await journey.tear_down(invoke, ctx, exc, ctx.owns_app)

