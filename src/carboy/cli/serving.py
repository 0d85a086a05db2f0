"""What `carboy run` fits into an application in each worker, before it is served: the production defaults.

Named to the server as a place in a module (`server/around.py`), so that the main process imports neither the
application nor this. What the application has fitted itself is left as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..extend import fit
from ..observe.observer import Surroundings
from ..observe.serving import Dressed
from ..observe.serving import dress as observe

log = logging.getLogger("carboy.server")


def equip(app: Any, options: Mapping[str, Any], surroundings: Surroundings, shared: Mapping[str, int]) -> Dressed | None:
    """Fit the defaults into a Carboy application, and put the observer around it.

    Args:
        app: what was loaded; an application of another framework gets nothing fitted.
        options: the server's, by name; `compress`, `security` and `tls_cert` are read.
    """
    fitted = getattr(app, "fitted", None)
    if isinstance(fitted, dict):
        defaults = [*security(app, options["security"]), *compression(options["compress"])]
        for extension in defaults:
            if extension.name not in fitted:
                fit(app, extension)  # also into one that has answered a request of its own while it was loaded
        if options["security"] != "off":
            careful_session(app.config, is_tls=options["tls_cert"] is not None)
        for name, text in app.run_checks():
            log.warning("%s: %s", name, text)
    dressed = observe(app, options, surroundings, shared)
    if isinstance(fitted, dict):
        # The routes are sorted once, now that nothing more is fitted; loading has shown already that all of them compile.
        app.plans  # noqa: B018  # made by reading it
    return dressed


def compression(wanted: bool) -> list[Any]:
    """The battery that compresses answers."""
    if not wanted:
        return []
    from ..batteries.compress import Compression

    return [Compression()]


def security(app: Any, level: str) -> list[Any]:
    """The parts of `Security` that a level stands for; none of them where the app has chosen itself.

    "basic" is what breaks no existing application: two headers for every answer.
    """
    if level == "off" or "security" in app.fitted:
        return []
    from ..batteries.security import CrossOrigin, HeaderSettings, SafeCookies, SecurityHeaders

    if level == "full":
        return [SafeCookies(), SecurityHeaders(), CrossOrigin()]
    return [SecurityHeaders(HeaderSettings(csp="", frame_options="", opener_policy="", permissions_policy="", hsts=""))]


def careful_session(config: Any, *, is_tls: bool) -> None:
    """Complete what the configuration leaves open of the session's cookie: SameSite=Lax, and Secure where TLS is spoken here."""
    if config.get("SESSION_COOKIE_SAMESITE") is None:
        config["SESSION_COOKIE_SAMESITE"] = "Lax"
    if is_tls and not config.get("SESSION_COOKIE_SECURE"):
        config["SESSION_COOKIE_SECURE"] = True
