"""Scaffold: what an app and a blueprint let a guest declare. Declarations only; nothing here runs in a request."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import lru_cache, update_wrapper
from typing import IO, Any, TypeVar, Unpack

import click
from jinja2 import BaseLoader, FileSystemLoader
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.utils import cached_property

from .commands import AppGroup
from .ctx import app_var
from .handshake import WebSocketOptions
from .paths import root_path_of
from .tracked import TrackedDict, TrackedLists

F = TypeVar("F", bound=Callable[..., Any])
_sentinel: Any = object()


def setupmethod(f: F) -> F:
    """Refuse the call once the app or blueprint is set up."""


    name = f.__name__

    def wrapper(self: Scaffold, *args: Any, **kwargs: Any) -> Any:
        self._check_setup_finished(name)
        return f(self, *args, **kwargs)

    return update_wrapper(wrapper, f)  # type: ignore[return-value]  # the same signature


class Scaffold:
    """Routes, hooks, error handlers, templates and static files of an app or a blueprint.

    Source: the documented behaviour of Flask 3.1.
    """

    name: str
    _static_folder: str | None = None
    _static_url_path: str | None = None
    #: The Jinja loader of its own template folder can be replaced by overriding `jinja_loader`.

    def __init__(
        self,
        import_name: str,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        root_path: str | None = None,
    ) -> None:
        #: The name of the module this belongs to.
        self.import_name = import_name
        self.static_folder = static_folder
        self.static_url_path = static_url_path
        #: The folder of templates, relative to `root_path`.
        self.template_folder = template_folder
        #: Where relative names of files start.
        self.root_path = root_path_of(import_name) if root_path is None else root_path
        #: Commands for the command line.
        self.cli: click.Group = AppGroup()
        changed = self._make_notice()
        #: Endpoint → view function.
        self.view_functions: dict[str, Callable[..., Any]] = TrackedDict(changed)
        #: Blueprint name (None: all) → status code (None: by class alone) → exception class → handler.
        self.error_handler_spec: dict[str | None, dict[int | None, dict[type[Exception], Callable[..., Any]]]] = _ErrorSpec()
        self.before_request_funcs: dict[str | None, list[Callable[[], Any]]] = TrackedLists(changed)
        self.after_request_funcs: dict[str | None, list[Callable[[Any], Any]]] = TrackedLists(changed)
        self.teardown_request_funcs: dict[str | None, list[Callable[..., Any]]] = TrackedLists(changed)
        self.template_context_processors: dict[str | None, list[Callable[[], dict[str, Any]]]] = TrackedLists(changed)
        self.url_value_preprocessors: dict[str | None, list[Callable[..., Any]]] = TrackedLists(changed)
        self.url_default_functions: dict[str | None, list[Callable[..., Any]]] = TrackedLists(changed)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _make_notice(self) -> Callable[[], None]:
        """What the registries call after an edit: nobody, where nothing is compiled from them."""
        return _nobody

    def _check_setup_finished(self, f_name: str) -> None:
        raise NotImplementedError

    # -- files ------------------------------------------------------------------------------------

    @property
    def static_folder(self) -> str | None:
        """The absolute path of the folder of static files, None without one."""
        if self._static_folder is None:
            return None
        return _joined(self.root_path, self._static_folder)

    @static_folder.setter
    def static_folder(self, value: str | os.PathLike[str] | None) -> None:
        if value is not None:
            value = os.fspath(value).rstrip(r"\/")
        self._static_folder = value

    @property
    def has_static_folder(self) -> bool:
        """Whether there is a folder of static files."""
        return self.static_folder is not None

    @property
    def static_url_path(self) -> str | None:
        """The URL prefix of static files; the folder's name unless told."""
        if self._static_url_path is not None:
            return self._static_url_path
        if self.static_folder is not None:
            return f"/{os.path.basename(self.static_folder)}".rstrip("/")
        return None

    @static_url_path.setter
    def static_url_path(self, value: str | None) -> None:
        if value is not None:
            value = value.rstrip("/")
        self._static_url_path = value

    @cached_property
    def jinja_loader(self) -> BaseLoader | None:
        """The loader of its own templates."""
        if self.template_folder is None:
            return None
        return FileSystemLoader(os.path.join(self.root_path, self.template_folder))

    def open_resource(self, resource: str, mode: str = "rb", encoding: str | None = None) -> IO[Any]:
        """Open a file below `root_path` for reading.

        Raises:
            ValueError: a mode that writes.
        """
        if mode not in {"r", "rt", "rb"}:
            raise ValueError("Resources can only be opened for reading.")
        path = os.path.join(self.root_path, resource)
        return open(path, mode) if mode == "rb" else open(path, mode, encoding=encoding)

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """Seconds that a browser may keep a file; None: it asks each time whether it has changed.

        The default is the config's `SEND_FILE_MAX_AGE_DEFAULT`.
        """


        value = app_var.get().app.config["SEND_FILE_MAX_AGE_DEFAULT"]
        if value is None:
            return None
        if isinstance(value, timedelta):
            return int(value.total_seconds())
        return int(value)

    # -- routes -----------------------------------------------------------------------------------

    def _method_route(self, method: str, rule: str, options: dict[str, Any]) -> Callable[[F], F]:
        if "methods" in options:
            raise TypeError("Use the 'route' decorator to use the 'methods' argument.")
        return self.route(rule, methods=[method], **options)

    @setupmethod
    def get(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Route GET requests (and HEAD) to the decorated view."""
        return self._method_route("GET", rule, options)

    @setupmethod
    def post(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Route POST requests to the decorated view."""
        return self._method_route("POST", rule, options)

    @setupmethod
    def put(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Route PUT requests to the decorated view."""
        return self._method_route("PUT", rule, options)

    @setupmethod
    def delete(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Route DELETE requests to the decorated view."""
        return self._method_route("DELETE", rule, options)

    @setupmethod
    def patch(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Route PATCH requests to the decorated view."""
        return self._method_route("PATCH", rule, options)

    @setupmethod
    def route(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Route a URL rule to the decorated view.

        Args:
            rule: `/orders/<int:id>`; Werkzeug's syntax.
            options: `methods`, `endpoint`, `defaults`, `strict_slashes`, `subdomain`, `host` and the rest of Werkzeug's
                `Rule`; and Carboy's own: `blocking=False` (a `def` view that never blocks runs on the event loop),
                `stream=True` (the body is not read before the view), `max_body=` (bytes), `timeout=` (seconds in which an
                answer must begin under `carboy run`; 0 for no limit).

        Example:
            >>> @app.route("/orders/<int:id>")
            ... def order(id): ...
        """

        def decorator(f: F) -> F:
            endpoint = options.pop("endpoint", None)
            self.add_url_rule(rule, endpoint, as_view_function(f, endpoint), **options)
            return f

        return decorator

    @setupmethod
    def websocket(self, rule: str, **options: Unpack[WebSocketOptions]) -> Callable[[F], F]:
        """Route WebSocket handshakes to the decorated view, or to a class of views with a method `websocket`.

        Args:
            rule: `/chat/<room>`; Werkzeug's syntax.
            options: see `WebSocketOptions`.

        Example:
            >>> @app.websocket("/echo")
            ... async def echo(ws):
            ...     async for message in ws:
            ...         await ws.send(message)
        """
        told: dict[str, Any] = dict(options)
        strange = sorted(told.keys() - WebSocketOptions.__annotations__.keys())
        if strange:
            raise TypeError(f"the WebSocket {rule!r} takes no {', '.join(strange)}; it takes {', '.join(sorted(WebSocketOptions.__annotations__))}")

        def decorator(f: F) -> F:
            endpoint = told.pop("endpoint", None)
            view = as_view_function(f, endpoint)
            self.add_url_rule(rule, endpoint, view, provide_automatic_options=False, websocket=True, methods=["GET"], **told)
            return f

        return decorator

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Add a rule; what `route` does, without a decorator."""
        raise NotImplementedError

    @setupmethod
    def endpoint(self, endpoint: str) -> Callable[[F], F]:
        """Register the decorated function as the view of an endpoint, without a rule."""

        def decorator(f: F) -> F:
            self.view_functions[endpoint] = f
            return f

        return decorator

    # -- hooks ------------------------------------------------------------------------------------

    @setupmethod
    def before_request(self, f: F) -> F:
        """Call a function before each request; a result that is not None is the answer."""
        self.before_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def after_request(self, f: F) -> F:
        """Call a function with each response; it returns the response to send."""
        self.after_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def teardown_request(self, f: F) -> F:
        """Call a function at the end of each request, with the error or None, whatever happened."""
        self.teardown_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def context_processor(self, f: F) -> F:
        """Call a function before a template is rendered; its dict's entries are seen by the template."""
        self.template_context_processors[None].append(f)
        return f

    @setupmethod
    def url_value_preprocessor(self, f: F) -> F:
        """Call a function with endpoint and URL values before the view is."""
        self.url_value_preprocessors[None].append(f)
        return f

    @setupmethod
    def url_defaults(self, f: F) -> F:
        """Call a function with endpoint and values when a URL is built; it may add values."""
        self.url_default_functions[None].append(f)
        return f

    @setupmethod
    def errorhandler(self, code_or_exception: type[Exception] | int) -> Callable[[F], F]:
        """Register the decorated function for a status code or an exception class."""

        def decorator(f: F) -> F:
            self.register_error_handler(code_or_exception, f)
            return f

        return decorator

    @setupmethod
    def register_error_handler(self, code_or_exception: type[Exception] | int, f: Callable[..., Any]) -> None:
        """Register a function for a status code or an exception class."""
        error_class, code = self._get_exc_class_and_code(code_or_exception)
        self.error_handler_spec[None][code][error_class] = f

    @staticmethod
    def _get_exc_class_and_code(error: type[Exception] | int) -> tuple[type[Exception], int | None]:
        """The exception class and, for an HTTP exception, its code.

        Raises:
            TypeError: an instance, or no exception.
            ValueError: no known HTTP status.
        """
        if isinstance(error, int):
            try:
                error_class: Any = default_exceptions[error]
            except KeyError:
                raise ValueError(
                    f"'{error}' is not a recognized HTTP error code. Use a subclass of HTTPException with that code instead."
                ) from None
        else:
            error_class = error
        if isinstance(error_class, Exception):
            raise TypeError(f"{error_class!r} is an instance, not a class. Handlers can only be registered for Exception classes or HTTP error codes.")
        if not (isinstance(error_class, type) and issubclass(error_class, Exception)):
            raise ValueError(f"'{getattr(error_class, '__name__', error_class)}' is not a subclass of Exception.")
        if issubclass(error_class, HTTPException):
            return error_class, error_class.code
        return error_class, None


# PERF: asked for with every static file; a look-up takes a tenth of the time.
_joined = lru_cache(maxsize=256)(os.path.join)


def _nobody() -> None:
    pass


class _ErrorSpec(dict[str | None, dict[int | None, dict[type[Exception], Callable[..., Any]]]]):
    """Nested default dicts, as Flask's registry is: name → code → class → handler. Read when an error is answered."""

    def __missing__(self, name: str | None) -> Any:
        made = self[name] = _ByCode()
        return made


class _ByCode(dict[int | None, dict[type[Exception], Callable[..., Any]]]):
    def __missing__(self, code: int | None) -> Any:
        made: dict[type[Exception], Callable[..., Any]] = {}
        self[code] = made
        return made


def as_view_function(f: Any, endpoint: str | None = None) -> Callable[..., Any]:
    """Return the view function of what a guest decorates: a class of views becomes one, a function stays."""
    if isinstance(f, type) and hasattr(f, "as_view"):
        return f.as_view(endpoint or f.__name__)  # type: ignore[no-any-return]  # a view class's own
    return f  # type: ignore[no-any-return]  # what is routed is callable


def endpoint_of(view_func: Callable[..., Any]) -> str:
    """The endpoint of a view that was given none: its name."""
    if view_func is None:
        raise AssertionError("expected view func if endpoint is not provided.")
    return view_func.__name__



def methods_of(view_func: Callable[..., Any] | None, options: dict[str, Any]) -> set[str]:
    """The methods of a rule, upper-case; GET unless the view or the options say otherwise.

    Raises:
        TypeError: a string where a list is wanted.
    """
    given: Collection[str] | None = options.pop("methods", None)
    methods: Collection[str] = given if given is not None else (getattr(view_func, "methods", None) or ("GET",))
    if isinstance(methods, str):
        raise TypeError('Allowed methods must be a list of strings, for example: @app.route(..., methods=["POST"])')
    return {item.upper() for item in methods}
