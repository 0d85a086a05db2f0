"""The app's logger: named like the app, writing where the server wants errors."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

from werkzeug.local import LocalProxy

from .ctx import request_var


@LocalProxy
def wsgi_errors_stream() -> Any:
    """The server's error stream during a request, `sys.stderr` otherwise."""
    ctx = request_var.get(None)
    if ctx is not None and "environ" in ctx.request.__dict__:
        return ctx.request.environ.get("wsgi.errors", sys.stderr)
    return sys.stderr


def has_level_handler(logger: logging.Logger) -> bool:
    """Whether a handler, its own or inherited, handles the logger's effective level."""
    level = logger.getEffectiveLevel()
    current: logging.Logger | None = logger
    while current:
        if any(handler.level <= level for handler in current.handlers):
            return True
        if not current.propagate:
            break
        current = current.parent
    return False


#: Writes to `wsgi_errors_stream`, in Flask's format.
default_handler: logging.StreamHandler[Any] = logging.StreamHandler(cast(Any, wsgi_errors_stream))
default_handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s in %(module)s: %(message)s"))


def create_logger(app: Any) -> logging.Logger:
    """Make the app's logger; the default handler is added only where nothing else would show its messages."""
    logger = logging.getLogger(app.name)
    if app.debug and not logger.level:
        logger.setLevel(logging.DEBUG)
    if not has_level_handler(logger):
        logger.addHandler(default_handler)
    return logger
