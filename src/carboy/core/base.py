"""App: declarations, registries and settings with Flask's names, and the short verbs that extensions call and replace.

What a verb does stands in a file with its name (respond, journey, urls, plans, mounts). Past 500 lines because Flask's
contract is wide, not because much happens here: look for a method and you find where its work is done.
"""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import wraps
from types import TracebackType
from typing import IO, Any, ClassVar, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

from werkzeug.datastructures import ImmutableDict
from werkzeug.exceptions import Aborter, BadRequest, BadRequestKeyError, HTTPException
from werkzeug.routing import BuildError, MapAdapter, RequestRedirect, RoutingException
from werkzeug.routing import Map as WerkzeugMap
from werkzeug.routing import Rule as WerkzeugRule
from werkzeug.utils import cached_property, redirect
from werkzeug.wrappers import Response as WerkzeugResponse

from ..gateways.bridge import MountedLifespan
from ..pipeline import portal
from ..pipeline.drive import drive, inward, outward
from ..pipeline.drive import run as run_plan
from ..pipeline.plan import Plan
from ..pipeline.signals import appcontext_tearing_down, request_finished, request_tearing_down
from ..pipeline.step import Step, is_async, origin
from ..routing.map import Map, Rule
from . import journey, urls
from .blueprint import Blueprint
from .commands import get_debug_flag
from .config import Config, ConfigAttribute
from .ctx import AppGlobals, Context, _sentinel, app_var, request_var
from .debughints import RedirectLosesForm
from .errors import BadRule, DuplicateEndpoint, SetupFinished
from .handshake import SOCKET_OPTIONS
from .lifespan import Lifespan
from .logging import create_logger
from .mounts import Mount, Mounts
from .paths import instance_path_of
from .plans import ASYNC_DOOR, FINAL, INSIDE, PLAIN, SOCKET, SYNC_DOOR, Plans
from .request import Request
from .respond import make_response, whole
from .response import Response
from .scaffold import Scaffold, endpoint_of, methods_of, setupmethod
from .services import Services, close_flows
from .tracked import TrackedList

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: Methods that extensions and subclasses replace.
VERBS = (
    "__call__", "asgi_app", "async_to_sync", "create_url_adapter", "dispatch_request", "do_teardown_appcontext",
    "do_teardown_request", "ensure_sync", "finalize_request", "full_dispatch_request", "handle_exception",
    "handle_http_exception", "handle_user_exception", "make_default_options_response", "make_response", "open_session",
    "preprocess_request", "process_response", "request_context", "send_static_file", "wsgi_app",
)  # fmt: skip

#: Options of a rule that are Carboy's own, not Werkzeug's.
ROUTE_OPTIONS = ("blocking", "stream", "max_body", "timeout")

#: Attributes whose assignment makes the plans old.
SHAPING = frozenset(VERBS) | {
    "after_request_funcs", "before_request_funcs", "config", "error_handler_spec", "json", "layers", "request_class",
    "response_class", "session_interface", "subdomain_matching", "teardown_appcontext_funcs", "teardown_request_funcs",
    "url_map", "url_value_preprocessors", "view_functions", "websocket_class",
}  # fmt: skip


class _Notice:
    """Tells the app that one of its registries was edited, without keeping the app alive."""

    __slots__ = ("app",)

    def __init__(self, app: App) -> None:
        self.app = weakref.ref(app)

    def __call__(self) -> None:
        app = self.app()
        if app is not None:
            app.thaw()


def make_timedelta(value: timedelta | int | None) -> timedelta | None:
    """A number of seconds, or a timedelta, as a timedelta."""
    if value is None or isinstance(value, timedelta):
        return value
    return timedelta(seconds=value)


class App(Scaffold):
    """An application without equipment; `carboy.Carboy` is this with its doors and standard equipment.

    Args:
        import_name: usually `__name__`; says where templates and static files are.
        static_url_path: the URL prefix of static files; the folder's name unless told.
        static_folder: None for no static files.
        static_host: the host of static files, where hosts are matched.
        host_matching: rules name their host.
        subdomain_matching: rules are matched below `SERVER_NAME`.
        instance_path: where the app keeps what it makes at run time; absolute.
        instance_relative_config: configuration files are looked for in the instance folder.
        root_path: where relative names of files start.

    Source: the documented behaviour of Flask 3.1.
    """

    #: Replaced in subclasses: what requests, responses and the rest are made of.
    request_class: type[Any] = Request
    response_class: type[Any] = Response
    websocket_class: type[Any]
    aborter_class: type[Any] = Aborter
    app_ctx_globals_class: type[Any] = AppGlobals
    config_class: type[Config] = Config
    url_rule_class: type[WerkzeugRule] = Rule
    url_map_class: type[WerkzeugMap] = Map
    json_provider_class: type[Any]
    session_interface: Any
    test_client_class: type[Any] | None = None
    test_cli_runner_class: type[Any] | None = None
    jinja_environment: type[Any]
    jinja_options: dict[str, Any] = {}  # noqa: RUF012  # Flask's shape: a subclass assigns its own

    testing = ConfigAttribute[bool]("TESTING")
    secret_key = ConfigAttribute[str | bytes | None]("SECRET_KEY")
    permanent_session_lifetime = ConfigAttribute[timedelta]("PERMANENT_SESSION_LIFETIME", get_converter=make_timedelta)  # type: ignore[arg-type]  # never None
    use_x_sendfile = ConfigAttribute[bool]("USE_X_SENDFILE")

    default_config: ClassVar[Any] = ImmutableDict(
        {
            "DEBUG": None,
            "TESTING": False,
            "PROPAGATE_EXCEPTIONS": None,
            "SECRET_KEY": None,
            "SECRET_KEY_FALLBACKS": None,
            "PERMANENT_SESSION_LIFETIME": timedelta(days=31),
            "USE_X_SENDFILE": False,
            "TRUSTED_HOSTS": None,
            "SERVER_NAME": None,
            "APPLICATION_ROOT": "/",
            "SESSION_COOKIE_NAME": "session",
            "SESSION_COOKIE_DOMAIN": None,
            "SESSION_COOKIE_PATH": None,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SECURE": False,
            "SESSION_COOKIE_PARTITIONED": False,
            "SESSION_COOKIE_SAMESITE": None,
            "SESSION_REFRESH_EACH_REQUEST": True,
            "MAX_CONTENT_LENGTH": None,
            "MAX_FORM_MEMORY_SIZE": 500_000,
            "MAX_FORM_PARTS": 1_000,
            # Most bytes of a body where MAX_CONTENT_LENGTH says nothing; None for no limit. Flask has none.
            "MAX_BODY_SIZE": 16 * 1024 * 1024,
            "SEND_FILE_MAX_AGE_DEFAULT": None,
            "TRAP_BAD_REQUEST_ERRORS": None,
            "TRAP_HTTP_EXCEPTIONS": False,
            "EXPLAIN_TEMPLATE_LOADING": False,
            "PREFERRED_URL_SCHEME": "http",
            "TEMPLATES_AUTO_RELOAD": None,
            "MAX_COOKIE_SIZE": 4093,
            "PROVIDE_AUTOMATIC_OPTIONS": True,
            # Pages of which other origins may open WebSockets: "https://a.example" each; "*" for all.
            "WEBSOCKET_ORIGINS": None,
            # Most bytes of a message, None for no limit; a longer one closes with 1009.
            "WEBSOCKET_MAX_MESSAGE": 1024 * 1024,
            # Seconds that a receive waits, None for as long as it takes; then it closes with 3008.
            "WEBSOCKET_RECEIVE_TIMEOUT": None,
            # Most WebSockets of `def` views at a time, each in a thread; one more is refused with 503.
            "WEBSOCKET_THREADS": 64,
        }
    )

    #: Carboy's own methods, as they were before anybody could replace one.
    own_verbs: ClassVar[Mapping[str, Any]] = {}
    _got_first_request = False
    _plans: Plans | None = None
    #: Mounts, or middleware around one of the doors, may want a request. PERF: an attribute, not a property: each
    #: request reads it. True also while there are no plans; who then looks for a detour finds none.
    has_detours = True

    def __init__(
        self,
        import_name: str,
        static_url_path: str | None = None,
        static_folder: str | os.PathLike[str] | None = "static",
        static_host: str | None = None,
        host_matching: bool = False,
        subdomain_matching: bool = False,
        template_folder: str | os.PathLike[str] | None = "templates",
        instance_path: str | None = None,
        instance_relative_config: bool = False,
        root_path: str | None = None,
    ) -> None:
        super().__init__(
            import_name=import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
            root_path=root_path,
        )
        if instance_path is None:
            instance_path = self.auto_find_instance_path()
        elif not os.path.isabs(instance_path):
            raise ValueError("If an instance path is provided it must be absolute. A relative path was given instead.")
        #: The folder for what the app makes at run time.
        self.instance_path = instance_path
        #: The settings.
        self.config = self.make_config(instance_relative_config)
        notice = self._make_notice()
        self.config.changed = notice
        #: Makes the exceptions that `abort` raises.
        self.aborter = self.make_aborter()
        #: Called with (error, endpoint, values) where a URL cannot be built.
        self.url_build_error_handlers: list[Callable[[Exception, str, dict[str, Any]], str]] = []
        self.teardown_appcontext_funcs: list[Callable[..., Any]] = TrackedList(notice)
        self.shell_context_processors: list[Callable[[], dict[str, Any]]] = []
        #: Blueprints by the name they have here, in order of registration.
        self.blueprints: dict[str, Blueprint] = {}
        #: What extensions keep, by their name.
        self.extensions: dict[str, Any] = {}
        #: The rules.
        self.url_map = self.url_map_class(host_matching=host_matching)
        if isinstance(self.url_map, Map):
            self.url_map.on_change = notice
        self.subdomain_matching = subdomain_matching
        self.cli.name = self.name
        # What equipment has fitted.
        self.layers: list[Any] = TrackedList(notice)
        self.fitted_before: list[Step] = TrackedList(notice)
        self.fitted_after: list[Step] = TrackedList(notice)
        self.sources: dict[type, Callable[[Context], Any]] = {}
        self.responders: dict[type, Callable[[Any, Any], Any]] = {}
        self.checks: list[tuple[str, Callable[[Any], Any]]] = []
        self.lifespan_functions: list[Any] = []
        self.lifespan_state = Lifespan()
        self.mounts = Mounts()
        self.services = Services()
        #: The extensions fitted, by name.
        self.fitted: dict[str, Any] = {}
        if self.has_static_folder:
            assert bool(static_host) == host_matching, "Invalid static_host/host_matching combination"
            # A weak reference: an app must not keep itself alive (Flask's test_app_freed_on_zero_refcount).
            self_ref = weakref.ref(self)

            def static(**values: Any) -> Any:
                app: Any = self_ref()
                if app.is_replaced("send_static_file"):
                    return app.send_static_file(**values)
                return app.answer_static(**values)

            static.never_blocks = True  # type: ignore[attr-defined]  # a stat and an open of a local file
            self.add_url_rule(
                f"{self.static_url_path}/<path:filename>",
                endpoint="static",
                host=static_host,
                view_func=static,
            )

    # -- freeze and thaw --------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in SHAPING:
            self.thaw()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in SHAPING:
            self.thaw()

    def _make_notice(self) -> Callable[[], None]:
        return _Notice(self)

    def thaw(self) -> None:
        """Forget the plans: a declaration has changed. The next request compiles what it needs anew."""
        if self.__dict__.get("_plans") is not None:
            object.__setattr__(self, "_plans", None)
            object.__setattr__(self, "has_detours", True)

    @property
    def plans(self) -> Plans:
        """The routes and plans; made at the first request, and anew after a change."""
        plans = self._plans
        if plans is None or (plans.watches_map and not plans.table.is_current()):
            plans = Plans(self)
            object.__setattr__(self, "_plans", plans)
            object.__setattr__(self, "has_detours", plans.has_detours)
        return plans

    def find(self, request: Any, on_loop: bool = False) -> Context:
        """Give a request its context, with the plan it will follow.

        Args:
            on_loop: an event loop is at hand.
        """
        plans = self._plans
        if plans is None or plans.watches_map:
            plans = self.plans
        if not self._got_first_request:
            object.__setattr__(self, "_got_first_request", True)
        if plans.makes_own_contexts:
            ctx = self.request_context(request.environ)
        else:
            ctx = Context(self, request)
        entry = plans.match(ctx)
        ctx.is_matched = True
        method = request.method
        plan = (plans.loop_plans if on_loop else plans.door_plans).get((entry, method))
        ctx.plan = plan if plan is not None else plans.plan_of(entry, method, ASYNC_DOOR if on_loop else SYNC_DOOR)
        return ctx

    def find_socket(self, request: Any) -> Context:
        """Give a WebSocket's handshake its context, with the plan it will follow."""
        plans = self.plans
        object.__setattr__(self, "_got_first_request", True)
        ctx = self.request_context(request.environ) if plans.makes_own_contexts else Context(self, request)
        entry = plans.match(ctx, websocket=True)
        ctx.is_matched = True
        ctx.plan = plans.plan_of(entry, "GET", SOCKET)
        return ctx

    def freeze(self) -> None:
        """Compile every plan now, so that mistakes of setup show before the first request.

        Raises:
            SetupError: the first mistake found.
        """
        self.plans.compile_all()

    def run_checks(self) -> list[tuple[str, str]]:
        """Run the checks of the equipment fitted; give the id and the text of each that found something."""
        found = ((name, check(self)) for name, check in self.checks)
        return [(name, text) for name, text in found if text]

    def is_replaced(self, name: str) -> bool:
        """Whether a method is not Carboy's own: set on this instance, overridden in a subclass, or patched."""
        return name in self.__dict__ or getattr(type(self), name) is not self.own_verbs[name]

    def takes_answers(self) -> bool:
        """Whether responses may stay light where no hook looks at them."""
        return self.response_class is Response and not self.is_replaced("make_response")

    def _check_setup_finished(self, f_name: str) -> None:
        if self._got_first_request:
            frame: Any = sys._getframe(2)
            while frame.f_back is not None and "/carboy/" in frame.f_code.co_filename.replace(os.sep, "/"):
                frame = frame.f_back
            raise SetupFinished(
                f"The setup method '{f_name}' can no longer be called on the application. It has already handled its"
                " first request, any changes will not be applied consistently.\nIt was called at"
                f" {frame.f_code.co_filename}:{frame.f_lineno}; the application {self.name!r} was made in"
                f" {self.import_name!r}. Make sure all imports, decorators, functions, etc. needed to set up the"
                " application are done before running it."
            )

    # -- what the app is --------------------------------------------------------------------------

    @cached_property
    def name(self) -> str:
        """The import name, or the file's name for `__main__`."""
        if self.import_name == "__main__":
            file: str | None = getattr(sys.modules["__main__"], "__file__", None)
            return "__main__" if file is None else os.path.splitext(os.path.basename(file))[0]
        return self.import_name

    @cached_property
    def logger(self) -> logging.Logger:
        """A standard logger with the app's name."""
        return create_logger(self)

    @cached_property
    def jinja_env(self) -> Any:
        """The Jinja environment, made when first asked for."""
        return self.create_jinja_environment()

    @property
    def got_first_request(self) -> bool:
        return self._got_first_request

    @property
    def debug(self) -> bool:
        """Whether debug mode is on; also in the config as `DEBUG`."""
        return self.config["DEBUG"]  # type: ignore[no-any-return]  # a setting

    @debug.setter
    def debug(self, value: bool) -> None:
        self.config["DEBUG"] = value
        if self.config["TEMPLATES_AUTO_RELOAD"] is None and "jinja_env" in self.__dict__:
            self.jinja_env.auto_reload = value

    def make_config(self, instance_relative: bool = False) -> Config:
        """Make the config; called once, while the app is made."""
        defaults = dict(self.default_config)
        defaults["DEBUG"] = get_debug_flag()
        return self.config_class(self.instance_path if instance_relative else self.root_path, defaults)

    def make_aborter(self) -> Aborter:
        """Make `app.aborter`."""
        return self.aborter_class()  # type: ignore[no-any-return]  # a guest's class

    def auto_find_instance_path(self) -> str:
        """Where the instance folder is, if it was not told."""
        return instance_path_of(self.import_name)

    def open_instance_resource(self, resource: str, mode: str = "rb", encoding: str | None = "utf-8") -> IO[Any]:
        """Open a file in the instance folder."""
        path = os.path.join(self.instance_path, resource)
        return open(path, mode) if "b" in mode else open(path, mode, encoding=encoding)

    # -- templates (the equipment replaces these) ----------------------------------------------------

    def create_jinja_environment(self) -> Any:
        """Make `jinja_env`."""
        raise NotImplementedError

    # -- declarations -------------------------------------------------------------------------------

    @setupmethod
    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        """Register a blueprint.

        Args:
            options: `url_prefix`, `subdomain`, `url_defaults`, `name`, `cli_group`.
        """
        blueprint.register(self, options)

    def iter_blueprints(self) -> Iterable[Blueprint]:
        """The blueprints, in order of registration."""
        return self.blueprints.values()

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Add a rule; what `route` does, without a decorator.

        Raises:
            DuplicateEndpoint: another view is registered under the endpoint.
            BadRule: an unknown converter, or broken syntax.
        """
        if endpoint is None:
            endpoint = endpoint_of(view_func)  # type: ignore[arg-type]  # raises for None
        options["endpoint"] = endpoint
        known_here = SOCKET_OPTIONS if options.get("websocket") else ROUTE_OPTIONS
        own = {name: options.pop(name) for name in known_here if name in options}
        methods = methods_of(view_func, options)
        required: set[str] = set(getattr(view_func, "required_methods", ()))
        if provide_automatic_options is None:
            provide_automatic_options = getattr(view_func, "provide_automatic_options", None)
            if provide_automatic_options is None:
                provide_automatic_options = "OPTIONS" not in methods and bool(self.config["PROVIDE_AUTOMATIC_OPTIONS"])
                if provide_automatic_options:
                    required.add("OPTIONS")
        methods |= required
        try:
            made = self.url_rule_class(rule, methods=methods, **options)
            made.provide_automatic_options = provide_automatic_options  # type: ignore[attr-defined]  # Flask's shape
            if own:
                made.options = own  # type: ignore[attr-defined]  # Carboy's own
            self.url_map.add(made)
        except (LookupError, ValueError) as error:
            where = origin(view_func) if view_func is not None else "no view"
            known = ", ".join(sorted(self.url_map.converters))
            raise BadRule(
                f"the rule {rule!r} of endpoint {endpoint!r} ({where}) cannot be compiled: {error}. Known converters:"
                f" {known}; add your own to app.url_map.converters before the rule"
            ) from error
        if view_func is not None:
            old = self.view_functions.get(endpoint)
            if old is not None and old != view_func:
                raise DuplicateEndpoint(
                    f"View function mapping is overwriting an existing endpoint function: {endpoint}\nFirst declared at"
                    f" {origin(old)}, then at {origin(view_func)}; give one of them another endpoint=, or a name of its"
                    " own (a decorator needs functools.wraps)."
                )
            self.view_functions[endpoint] = view_func

    @setupmethod
    def mount(self, prefix: str, target: Any, *, host: str | None = None, kind: str | None = None) -> None:
        """Serve another WSGI or ASGI application, or one of Tornado's, under a prefix, or on a host.

        Args:
            prefix: `/old`; empty with a host of its own.
            target: the application; its lifespan runs with this one's.
            host: only requests for this host.
            kind: "wsgi" or "asgi", where it cannot be seen from the callable.
        """
        mount = Mount.of(prefix, target, host, kind)
        self.mounts.add(mount)
        if mount.is_asgi:
            self.lifespan_functions.append(lambda: MountedLifespan(mount.target, self.lifespan_state.told))
        self.thaw()

    @setupmethod
    def template_filter(self, name: str | None = None) -> Callable[[F], F]:
        """Register a template filter; the function's name unless told."""

        def decorator(f: F) -> F:
            self.add_template_filter(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_template_filter(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.jinja_env.filters[name or f.__name__] = f

    @setupmethod
    def template_test(self, name: str | None = None) -> Callable[[F], F]:
        """Register a template test."""

        def decorator(f: F) -> F:
            self.add_template_test(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_template_test(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.jinja_env.tests[name or f.__name__] = f

    @setupmethod
    def template_global(self, name: str | None = None) -> Callable[[F], F]:
        """Register a template global."""

        def decorator(f: F) -> F:
            self.add_template_global(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_template_global(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.jinja_env.globals[name or f.__name__] = f

    @setupmethod
    def teardown_appcontext(self, f: F) -> F:
        """Call a function when an app context ends, with the error or None."""
        self.teardown_appcontext_funcs.append(f)
        return f

    @setupmethod
    def shell_context_processor(self, f: F) -> F:
        """Call a function for more names in the shell."""
        self.shell_context_processors.append(f)
        return f

    @setupmethod
    def lifespan(self, f: F) -> F:
        """Run code at the start and stop of the app: a generator, sync or async, with one `yield`.

        Example:
            >>> @app.lifespan
            ... async def database(app):
            ...     app.extensions["pool"] = await connect()
            ...     yield
            ...     await app.extensions["pool"].close()
        """
        self.lifespan_functions.append(f)
        return f

    async def startup(self) -> None:
        """Start the app's lifespan, and those of the applications mounted in it."""
        await self.lifespan_state.start(self)

    async def shutdown(self) -> None:
        """Stop what `startup` started, in reverse."""
        await self.lifespan_state.stop()
        self.services.close()

    def make_shell_context(self) -> dict[str, Any]:
        """The names of an interactive shell."""
        names: dict[str, Any] = {"app": self, "g": app_var.get().g if app_var.get(None) is not None else None}
        for processor in self.shell_context_processors:
            names.update(processor())
        return names

    # -- contexts -----------------------------------------------------------------------------------

    def app_context(self) -> Context:
        """A context for work outside a request: `with app.app_context(): ...`."""
        return Context(self)

    def request_context(self, environ: dict[str, Any]) -> Context:
        """A context for a request made of a WSGI environ."""
        return Context(self, self.request_class(environ))

    def service(self, kind: type[T]) -> T:
        """The instance of a provided type, for the current context.

        Raises:
            LookupError: nothing provides the type.
            RuntimeError: there is no context.
        """
        ctx = app_var.get(None)
        if ctx is None:
            raise RuntimeError(f"{kind.__qualname__} is asked for outside a context; use `with app.app_context():`")
        return self.services.get(request_var.get(ctx), kind)

    def body_limit_unplanned(self) -> int | None:
        """The config's limit of a body, for what no route of this app answers."""
        limit: int | None = self.config["MAX_CONTENT_LENGTH"]
        return limit if limit is not None else self.config["MAX_BODY_SIZE"]

    def largest_body(self) -> int | None:
        """Most bytes of a body at any URL, None for no limit: for a door that takes the body before it knows the route."""
        limits = [self.body_limit_unplanned()]
        limits += [(getattr(rule, "options", None) or {}).get("max_body", 0) for rule in self.url_map.iter_rules()]
        return None if None in limits else max(limit for limit in limits if limit is not None)

    def body_limit(self, plan: Plan) -> int | None:
        """Most bytes of a request's body, None for no limit: the route's own, or the config's."""
        if plan.body_limit is not None:
            return plan.body_limit
        return self.body_limit_unplanned()

    def open_session(self, request: Any) -> Any:
        """Open the request's session; one that explains the missing key where there is none."""
        session = self.session_interface.open_session(self, request)
        if session is None:
            session = self.session_interface.make_null_session(self)
        return session

    def opens_sessions_lazily(self) -> bool:
        """Whether a session nobody asks for need not be opened."""
        return bool(getattr(self.session_interface, "opens_lazily", False)) and not self.is_replaced("open_session")

    def begin(self, ctx: Context) -> None:
        """Open what must be open before a request is matched by hand, then match it."""
        if not self.opens_sessions_lazily():
            ctx._session  # noqa: B018  # opened by reading it
        self.match(ctx)

    def match(self, ctx: Context) -> None:
        """Find the rule of a context's request."""
        ctx.is_matched = True
        self.plans.match(ctx)

    # -- a request's way, as verbs that extensions call and replace -----------------------------------

    def create_url_adapter(self, request: Any) -> MapAdapter | None:
        """Bind `url_map` to a request, or to the configured server name."""
        return urls.create_url_adapter(self, request)

    def raise_routing_exception(self, request: Any) -> NoReturn:
        """Raise why no rule matched; in debug mode a redirect that would lose a form says so."""
        error = request.routing_exception
        if (
            not self.debug
            or not isinstance(error, RequestRedirect)
            or error.code in {307, 308}
            or request.method in {"GET", "HEAD", "OPTIONS"}
        ):
            raise error
        raise RedirectLosesForm(request)

    def full_dispatch_request(self) -> Any:
        """Follow the current request's plan from its hooks to its response, errors answered.

        Raises:
            Exception: what nothing answered.
        """
        ctx = request_var.get()
        plan = self.plans.by_hand(ctx, INSIDE)
        inside: Any = _Inside(ctx)
        return drive(run_plan(plan, inside))

    def preprocess_request(self) -> Any:
        """Run what stands before the view; what is returned, if anything, is the answer."""
        ctx = request_var.get()
        plan = self.plans.by_hand(ctx, PLAIN)
        return drive(inward(plan, ctx))

    def dispatch_request(self) -> Any:
        """Call the current request's view and return what it returns."""
        ctx = request_var.get()
        request: Any = ctx.request
        if request.routing_exception is not None:
            self.raise_routing_exception(request)
        plan = self.plans.by_hand(ctx, PLAIN)
        return plan.view(**plan.bind(ctx))

    def finalize_request(self, rv: Any, from_error_handler: bool = False) -> Any:
        """Make a response of a view's return value and run what stands after it."""
        response = self.make_response(rv)
        try:
            response = self.process_response(response)
            if request_finished.receivers:
                request_finished.send(self, _async_wrapper=self.ensure_sync, response=response)
        except Exception:
            if not from_error_handler:
                raise
            self.logger.exception("Request finalizing failed with an error while handling an error")
        return response

    def process_response(self, response: Any) -> Any:
        """Run what stands after the view on a response, the saving of the session last."""
        ctx = request_var.get()
        ctx.response = response
        drive(outward(self.plans.by_hand(ctx, PLAIN), ctx))
        return whole(ctx)

    def make_default_options_response(self) -> Any:
        """Answer OPTIONS with the methods of the current URL."""
        adapter = request_var.get().url_adapter
        response = self.response_class()
        response.allow.update(adapter.allowed_methods())
        return response

    def make_response(self, rv: Any) -> Any:
        """Make a response of a view's return value."""
        return make_response(self, rv)

    def should_ignore_error(self, error: BaseException | None) -> bool:
        """Whether an error is to be hidden from the teardown functions."""
        return False

    def trap_http_exception(self, e: Exception) -> bool:
        """Whether an HTTP exception is to be treated as an error of the program."""
        if self.config["TRAP_HTTP_EXCEPTIONS"]:
            return True
        trap_bad_request = self.config["TRAP_BAD_REQUEST_ERRORS"]
        if trap_bad_request is None and self.debug and isinstance(e, BadRequestKeyError):
            return True
        if trap_bad_request:
            return isinstance(e, BadRequest)
        return False

    def handle_http_exception(self, e: HTTPException) -> Any:
        """Answer an HTTP exception: by its handler, or as it is."""
        if e.code is None or isinstance(e, RoutingException):
            return e
        handler = journey.find_error_handler(self, e, self._current_blueprints())
        return e if handler is None else self.ensure_sync(handler)(e)

    def handle_user_exception(self, e: Exception) -> Any:
        """Answer an exception of the way in or the view, or raise it again."""
        if isinstance(e, BadRequestKeyError) and (self.debug or self.config["TRAP_BAD_REQUEST_ERRORS"]):
            e.show_exception = True
        if isinstance(e, HTTPException) and not self.trap_http_exception(e):
            return self.handle_http_exception(e)
        handler = journey.find_error_handler(self, e, self._current_blueprints())
        if handler is None:
            raise e
        return self.ensure_sync(handler)(e)

    def handle_exception(self, e: Exception) -> Any:
        """Answer an exception that nothing else has: log it, and make the 500.

        Raises:
            Exception: *e*, where errors propagate (debug, testing, `PROPAGATE_EXCEPTIONS`).
        """
        ctx = request_var.get()
        drive(journey.fail_by_hand(journey.invoke_sync(self), self.plans.by_hand(ctx, FINAL), ctx, e))
        return whole(ctx)

    def log_exception(self, exc_info: tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]) -> None:
        """Log an error of a request."""
        request: Any = request_var.get().request
        self.logger.error(f"Exception on {request.path} [{request.method}]", exc_info=exc_info)

    def do_teardown_request(self, exc: BaseException | None = _sentinel) -> None:
        """Run the teardown functions of the current request."""
        errors: list[BaseException] = []
        exc = journey.current_error(exc, _sentinel)
        drive(journey.tear_down_request(journey.invoke_sync(self), request_var.get(), exc, errors))
        journey.raise_collected(errors)

    def do_teardown_appcontext(self, exc: BaseException | None = _sentinel) -> None:
        """Run the teardown functions of the app context."""
        errors: list[BaseException] = []
        exc = journey.current_error(exc, _sentinel)
        drive(journey.tear_down_app(journey.invoke_sync(self), self, exc, errors))
        journey.raise_collected(errors)

    def tear_down(self, ctx: Context, exc: BaseException | None, owns_app: bool) -> None:
        """End a context: every teardown function, then what they raised."""
        if ctx.services is not None:
            close_flows(ctx.services[1])
        plans = self._plans
        if (
            plans is not None
            and plans.ends_quietly
            and not request_tearing_down.receivers
            and not appcontext_tearing_down.receivers
        ):
            request = ctx._request
            if request is not None and (type(request) is not Request or "files" in request.__dict__ or "stream" in request.__dict__):
                request.close()
            return
        if exc is not None and self.should_ignore_error(exc):
            exc = None
        drive(journey.tear_down(journey.invoke_sync(self), ctx, exc, owns_app))

    def _current_blueprints(self) -> list[str]:
        ctx = request_var.get(None)
        return ctx.request.blueprints if ctx is not None else []  # type: ignore[attr-defined]  # the core's request

    # -- colours ------------------------------------------------------------------------------------

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """A sync function for any function: itself, or a way through the portal to an `async def`."""
        return self.async_to_sync(func) if is_async(func) else func

    def async_to_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """A sync function that runs an async one on the event loop and waits for it."""

        @wraps(func)
        def call(*args: Any, **kwargs: Any) -> Any:
            return portal.call(func, *args, **kwargs)

        return call

    # -- URLs ---------------------------------------------------------------------------------------

    def url_for(
        self,
        /,  # a rule may have a variable `self`
        endpoint: str,
        *,
        _anchor: str | None = None,
        _method: str | None = None,
        _scheme: str | None = None,
        _external: bool | None = None,
        **values: Any,
    ) -> str:
        """Build the URL of an endpoint.

        Args:
            endpoint: `blueprint.view`; `.view` is of the current blueprint.
            _anchor: what goes after `#`.
            _method: choose the rule by method.
            _scheme: of an external URL.
            _external: with scheme and host; the default outside a request.
            values: the URL's variables; what is left over goes into the query.

        Raises:
            BuildError: no rule fits.
            RuntimeError: outside a request, without `SERVER_NAME`.
        """
        return urls.url_for(
            self, endpoint, anchor=_anchor, method=_method, scheme=_scheme, external=_external, values=values
        )

    def inject_url_defaults(self, endpoint: str, values: dict[str, Any]) -> None:
        """Let the `url_defaults` functions add values."""
        urls.inject_url_defaults(self, endpoint, values)

    def handle_url_build_error(self, error: BuildError, endpoint: str, values: dict[str, Any]) -> str:
        """Ask the build error handlers for a URL, or raise the error."""
        return urls.handle_url_build_error(self, error, endpoint, values)

    def redirect(self, location: str, code: int = 302) -> WerkzeugResponse:
        """Make a redirect with the app's response class."""
        return redirect(location, code=code, Response=self.response_class)

    # -- explaining ---------------------------------------------------------------------------------

    def explain(self, method: str, path: str) -> Plan:
        """The plan that a request would follow, as its steps in `plan.steps`; nothing is called."""
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
        }
        return self.find(self.request_class(environ)).plan  # type: ignore[no-any-return]  # a Plan


class _Inside:
    """A context that is pushed already: pushing and popping it again does nothing."""

    def __init__(self, ctx: Context) -> None:
        object.__setattr__(self, "_ctx", ctx)

    def push(self) -> None:
        pass

    def pop(self, exc: BaseException | None = None) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._ctx, name, value)

