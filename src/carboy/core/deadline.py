"""A route's own deadline (`timeout=`), told to whoever watches over the request; nobody does outside `carboy run`."""

from __future__ import annotations

from typing import Any

from .ctx import Context

#: Key in an ASGI scope: an object whose `timeout` is the seconds in which an answer must begin, 0 for no limit.
FLIGHT = "carboy.flight"


def allow(seconds: float, ctx: Context) -> None:
    """Set the request's deadline. A step before all others, in the plans of routes that say `timeout=` alone."""
    # Any: a guest's request class and a stranger's scope.
    head: Any = getattr(ctx._request, "_head", None)
    scope: Any = getattr(head, "scope", None)
    flight: Any = scope.get(FLIGHT) if isinstance(scope, dict) else None
    if flight is not None:
        flight.timeout = seconds
