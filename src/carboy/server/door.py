"""What stands between the server and the application on the ASGI door: the production layers, outermost first.

A request passes them before any route is known. Each is an ASGI callable around an ASGI callable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .options import Options

# The shapes of the ASGI specification; values are a stranger's.
Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def production(app: ASGIApp, options: Options) -> ASGIApp:
    """Wrap an application in what the open internet needs; today that is nothing."""
    return app
