"""The application as a worker sees it: found by its target, described in a few words, asked for the right door.

Carboy applications are found as everywhere (`core/locate.py`); any other ASGI or WSGI callable is served too.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from ..core.errors import SetupError
from ..core.locate import NoAppException, find_app, split_target
from ..gateways.bridge import wsgi_as_asgi
from .errors import WorkerFailed

#: Most bytes of a body for a WSGI callable of which nothing is known; a Carboy app has its own setting.
_BRIDGED_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Served:
    """An application ready for a door."""

    #: The stranger's object: a Carboy app, or an ASGI or WSGI callable.
    app: Any
    name: str
    #: None if the application does not tell.
    routes: int | None = None
    #: How many of its views are `def`, and how many `async def`.
    sync_views: int | None = None
    async_views: int | None = None
    #: How many of its routes are WebSockets.
    sockets: int = 0

    @property
    def is_carboy(self) -> bool:
        return hasattr(self.app, "asgi_app") and hasattr(self.app, "wsgi_app")


def load(target: str | None) -> Served:
    """Find the application and make it ready to be served.

    Args:
        target: as in `carboy run TARGET`; None looks for wsgi.py, then app.py.

    Raises:
        WorkerFailed: it cannot be found, imported or frozen. The text is for the operator.
    """
    try:
        app = _find(target)
        freeze = getattr(app, "freeze", None)
        if callable(freeze) and hasattr(app, "asgi_app"):
            freeze()
    except WorkerFailed:
        raise
    except NoAppException as error:
        raise WorkerFailed(error.format_message()) from error
    except SetupError as error:
        raise WorkerFailed(f"{type(error).__name__}: {error}") from error
    except BaseException as error:
        # A stranger's module may end in anything, SystemExit and KeyboardInterrupt among it; all of it is a broken release.
        raise WorkerFailed(f"loading {target or 'the application'} failed:\n{_traceback(error)}") from error
    return describe(app, target)


def _find(target: str | None) -> Any:
    try:
        return find_app(target)
    except NoAppException:
        plain = _plain_callable(target)
        if plain is None:
            raise
        return plain


def _plain_callable(target: str | None) -> Any:
    """The ASGI or WSGI callable that a target names, once `find_app` has imported its module and found no Carboy."""
    if target is None:
        return None
    path, name = split_target(target)
    stem = path.removesuffix(".py").replace("/", ".").rpartition(".")[2]
    for module_name in (path, stem):
        module = sys.modules.get(module_name)
        if module is None:
            continue
        for attribute in (name,) if name else ("app", "application"):
            found = getattr(module, attribute, None)
            if callable(found) and not inspect.isclass(found):
                return found
    return None


def server_config(served: Served) -> dict[str, object]:
    """What the application's configuration says of the server: its `SERVER_*` keys, as JSON can carry them."""
    config = getattr(served.app, "config", None)
    if not isinstance(config, dict):
        return {}
    plain = (str, int, float, bool)
    return {
        key: value if isinstance(value, plain) else str(value)
        for key, value in config.items()
        if isinstance(key, str) and key.startswith("SERVER_") and value is not None
    }


def describe(app: Any, target: str | None) -> Served:
    """Count what can be counted; a stranger's application tells nothing."""
    name = str(getattr(app, "name", None) or target or "application")
    views = getattr(app, "view_functions", None)
    url_map = getattr(app, "url_map", None)
    if not isinstance(views, dict) or url_map is None:
        return Served(app, target or name)
    routes = sum(1 for _ in url_map.iter_rules())
    coloured = [inspect.iscoroutinefunction(inspect.unwrap(view)) for view in views.values()]
    sockets = sum(rule.websocket for rule in url_map.iter_rules())
    return Served(app, name, routes, len(coloured) - sum(coloured), sum(coloured), sockets)


def largest_body(served: Served, otherwise: int) -> int | None:
    """Most bytes of a body that the app takes at any URL, None for no limit; a Carboy app keeps the limit of each itself.

    Args:
        otherwise: the limit of an app that has none of its own; 0 for no limit.
    """
    if not served.is_carboy:
        return otherwise or None
    limit: int | None = served.app.largest_body()
    return limit


def is_asgi(app: Any) -> bool:
    """Tell whether a callable takes `(scope, receive, send)`."""
    if hasattr(app, "asgi_app"):
        return True
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(vars(type(app)).get("__call__")):
        return True
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(1 for each in parameters if each.default is each.empty and each.kind < each.VAR_POSITIONAL) == 3


def asgi_callable(served: Served) -> Any:
    """The application as granian's ASGI door calls it.

    A stranger's WSGI callable (`application = ProxyFix(app)`) is served through the bridge, a thread a request.
    """
    app = served.app
    if served.is_carboy:
        # Looked up at each call: middleware may be put around it at any time, and `__call__` may be a guest's own.
        return lambda scope, receive, send: app.asgi_app(scope, receive, send)
    if is_asgi(app):
        return app

    async def bridged(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{served.name} is a WSGI callable; it answers no {scope['type']}")
        await wsgi_as_asgi(app, scope, receive, send, _BRIDGED_BODY)

    return bridged


def must_fit(served: Served, interface: str) -> None:
    """Refuse an application that does not speak the door's protocol.

    Raises:
        WorkerFailed: the text says which door fits.
    """
    app = served.app
    if served.is_carboy:
        return
    if interface == "rsgi":
        if hasattr(app, "__rsgi__"):
            return
        raise WorkerFailed(f"{served.name} has no __rsgi__; serve it with --interface {'asgi' if is_asgi(app) else 'wsgi'}")
    if interface == "wsgi" and is_asgi(app):
        raise WorkerFailed(f"{served.name} is an ASGI callable; serve it with --interface asgi")


def _traceback(error: BaseException) -> str:
    """The traceback from the application's first own line on."""
    ours = ("/importlib/", "<frozen", __file__)
    frames = traceback.extract_tb(error.__traceback__)
    shown = [frame for frame in frames if not any(part in frame.filename for part in ours)]
    return "".join([*traceback.format_list(shown), *traceback.format_exception_only(error)]).rstrip()
