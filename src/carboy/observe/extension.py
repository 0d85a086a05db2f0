"""`app.fit(Observe(...))`: the extension that gives each request's route to the watchers."""

from __future__ import annotations

from typing import Any

import msgspec

from ..extend import Fitting
from ..wire.asgi import ASGIApp
from .doors import WSGIApp, watch_asgi, watch_wsgi
from .observer import Observer
from .record import note
from .settings import Settings


class Observe:
    """Access log, metrics, health pages and traces of an application.

    Args:
        settings: what `OBSERVE_*` keys of the configuration may then change: `log="json"`, `metrics_path="/metrics"`.

    Example:
        >>> from carboy import Carboy
        >>> app = Carboy(__name__)
        >>> observe = app.fit(Observe(log="json", health_prefix="/"))

    `carboy run` finds it by itself. Under another server, serve what it makes: `application = observe.asgi(app)`.
    """

    name = "observe"
    requires: tuple[str, ...] = ()

    def __init__(self, **settings: Any) -> None:
        self.given = settings
        self.observer = Observer(msgspec.convert(settings, Settings))

    def setup(self, fit: Fitting) -> None:
        from_config = fit.config(Settings)
        changed = {name: value for name, value in msgspec.structs.asdict(from_config).items() if value != getattr(Settings(), name)}
        self.observer = Observer(msgspec.convert({**self.given, **changed}, Settings), fit.app)
        fit.before(note, first=True, blocking=False)

    def overlaid(self, settings: dict[str, Any]) -> Observer:
        """Change what was set, by name; what an operator says outranks what the application says."""
        old = self.observer
        if settings:
            self.observer = Observer(msgspec.structs.replace(old.settings, **settings), old.app)
        return self.observer

    def asgi(self, app: ASGIApp) -> ASGIApp:
        """The application, observed, for an ASGI server."""
        return watch_asgi(app, self.observer)

    def wsgi(self, app: WSGIApp) -> WSGIApp:
        """The application, observed, for a WSGI server."""
        return watch_wsgi(app, self.observer)
