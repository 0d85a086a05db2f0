"""Every door of an app, as a WSGI callable: one client, one environ, and any protocol in between.

`wsgi` is the app itself. The others take the environ apart into what crosses a wire, play the server of their
protocol, run the app there, and put the answer together again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..core.ctx import request_var
from ..gateways.bridge import is_called_as_asgi
from ..pipeline.signals import request_tearing_down
from .asgi import ASGIExchange
from .cgi import through_cgi, through_fastcgi
from .crossing import Environ, WSGICallable
from .exchange import over_loop
from .rsgi import RSGIExchange

__all__ = [
    "DOORS",
    "Environ",
    "WSGICallable",
    "door_named",
    "keeping",
    "through_asgi",
    "through_cgi",
    "through_fastcgi",
    "through_rsgi",
    "through_wsgi",
]


def through_wsgi(app: Any) -> WSGICallable:
    """Give *app* itself: it is a WSGI callable."""
    return app  # type: ignore[no-any-return]  # a stranger's object, called as a WSGI server would


def through_asgi(app: Any) -> WSGICallable:
    """Carry each request through ASGI: *app* is awaited as `app(scope, receive, send)` on a loop thread.

    Example::

        answer = werkzeug.test.run_wsgi_app(through_asgi(app), environ)
    """
    # Called as a server calls it, unless a guest's `__call__` has no place for a scope.
    called = app if is_called_as_asgi(type(app)) else app.asgi_app
    return over_loop(lambda environ: ASGIExchange(called, environ))


def through_rsgi(app: Any) -> WSGICallable:
    """Carry each request through RSGI: `app.__rsgi__(scope, protocol)` is awaited on a loop thread.

    RSGI has no root path: an app behind a prefix sees the whole path.
    """
    return over_loop(lambda environ: RSGIExchange(app, environ))


DOORS: dict[str, Callable[[Any], WSGICallable]] = {
    "wsgi": through_wsgi,
    "asgi": through_asgi,
    "rsgi": through_rsgi,
    "cgi": through_cgi,
    "fastcgi": through_fastcgi,
}


def door_named(name: str) -> Callable[[Any], WSGICallable]:
    """Give the function that leads an app through the door of this name.

    Raises:
        ValueError: there is no such door.
    """
    try:
        return DOORS[name]
    except KeyError:
        raise ValueError(f"there is no door {name!r}; there are {', '.join(DOORS)}") from None


_keep: ContextVar[Callable[[Any], None] | None] = ContextVar("carboy_testing_keep", default=None)


@contextmanager
def keeping(app: Any, keep: Callable[[Any], None]) -> Iterator[None]:
    """In the block, hand the context of each request of *app* that starts here to *keep*, as it ends.

    Where no environ crosses the door, nobody can be asked in it to keep a context. The request's own signal tells,
    and the context variables, which are carried to wherever the request runs, tell whose request it is.
    """

    def at_teardown(_sender: Any, **_: Any) -> None:
        wanted = _keep.get()
        ctx = request_var.get(None)
        if wanted is not None and ctx is not None:
            if ctx.scope is not ctx:
                wanted(ctx.scope)
            wanted(ctx)

    token = _keep.set(keep)
    try:
        with request_tearing_down.connected_to(at_teardown, sender=app):
            yield
    finally:
        _keep.reset(token)
