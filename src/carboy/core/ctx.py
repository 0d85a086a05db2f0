"""Context: what belongs to one piece of work, a request or a command; and who can see it.

There is one class. A context with a request is Flask's request context and app context in one object: it stands in
both variables below. Where a context of the same app is current already (a test's `with app.app_context():`), a
request shares its `g`, as in Flask 3.1.
"""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

from ..pipeline.signals import appcontext_popped, appcontext_pushed
from ..wire.request import Request
from .protocols import AppLike

#: The context whose `app` and `g` are current.
app_var: ContextVar[Context] = ContextVar("carboy.app_ctx")
#: The context whose `request` and `session` are current.
request_var: ContextVar[Context] = ContextVar("carboy.request_ctx")

_sentinel: Any = object()


class AppGlobals:
    """A namespace for the duration of a context: `g`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        return self.__dict__.get(name, default)

    def pop(self, name: str, default: Any = _sentinel) -> Any:
        if default is _sentinel:
            return self.__dict__.pop(name)
        return self.__dict__.pop(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        return self.__dict__.setdefault(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        ctx = app_var.get(None)
        # FLASK: tests and logs know it under this name.
        return f"<flask.g of {ctx.app.name!r}>" if ctx is not None else object.__repr__(self)


class Context:
    """The state of one piece of work.

    Attributes:
        app: the app it belongs to.
        request: the request, in a context that has one (`has_request`).
        plan: what the request follows, once found.
        response: the response, once made.
        after: functions that the request itself left for its response (`after_this_request`).
        holds: how often its end was put off.
        starting: begins to send the response while the context is still there.
        hops: the context variables as this work's hops to threads see them.
        websocket: what the view of a WebSocket speaks with; None for a page.
    """

    # Class-level defaults: an attribute that most requests never set costs nothing.
    plan: Any = None
    response: Any = None
    after: list[Callable[[Any], Any]] | None = None
    flashes: list[tuple[str, str]] | None = None
    is_matched = False
    is_torn_down = False
    holds = 0
    starting: Callable[[Any], None] | None = None
    hops: contextvars.Context | None = None
    services: tuple[dict[type, Any], list[Any]] | None = None
    websocket: Any = None
    _request: Any = None
    #: The session, if it has been opened.
    opened_session: Any = None
    _g: Any = None
    _url_adapter: Any = _sentinel
    #: A guest has put an adapter here, which then decides over every URL.
    has_own_adapter = False
    _scope: Context | None = None

    def __init__(self, app: AppLike, request: Any = None) -> None:
        self.app = app
        self._request = request
        self._pushes: list[tuple[Token[Context] | None, Token[Context] | None]] = []

    @property
    def has_request(self) -> bool:
        return self._request is not None

    @property
    def request(self) -> Request:
        """The request.

        Raises:
            AttributeError: this is the context of a command or a test, without one.
        """
        if self._request is None:
            raise AttributeError("this context has no request; it was made by app.app_context()")
        return self._request  # type: ignore[no-any-return]  # a guest's request class

    @request.setter
    def request(self, request: Request) -> None:
        self._request = request

    @property
    def g(self) -> Any:
        owner = self._scope or self
        g = owner._g
        if g is None:
            g = owner._g = self.app.app_ctx_globals_class()
        return g

    @g.setter
    def g(self, value: Any) -> None:
        (self._scope or self)._g = value

    @property
    def session(self) -> Any:
        """The session, opened at the first touch; a session asked for counts as accessed (`Vary: Cookie`)."""
        session = self.opened_session
        if session is None:
            session = self._session
        if session is not None:
            session.accessed = True
        return session

    @session.setter
    def session(self, value: Any) -> None:
        self.opened_session = value

    @property
    def _session(self) -> Any:
        # FLASK: extensions read and write it under this name; reading it so does not count as access.
        session = self.opened_session
        if session is None and self._request is not None:
            session = self.opened_session = self.app.open_session(self._request)
        return session

    @_session.setter
    def _session(self, value: Any) -> None:
        self.opened_session = value

    @property
    def url_adapter(self) -> Any:
        """Werkzeug's MapAdapter for this request or app; None where URLs cannot be built."""
        adapter = self._url_adapter
        if adapter is _sentinel:
            adapter = self._url_adapter = self.app.create_url_adapter(self._request)
        return adapter

    @url_adapter.setter
    def url_adapter(self, value: Any) -> None:
        self._url_adapter = value
        self.has_own_adapter = True

    @property
    def scope(self) -> Context:
        """The context whose `g` is used: this one, or the one of the same app it was pushed upon."""
        return self._scope or self

    @property
    def is_last(self) -> bool:
        """Whether the next `pop` ends the work."""
        return len(self._pushes) == 1 and not self.holds and not self.is_torn_down

    @property
    def owns_app(self) -> bool:
        """Whether the app's context ends with this one's last `pop`."""
        return self._scope is None

    def push(self) -> None:
        """Make this the current context. It may be pushed several times; each needs its `pop`."""
        outer = app_var.get(None)
        request_token = None
        if self._request is not None:
            app_token = None
            if outer is None or outer.app is not self.app:
                app_token = app_var.set(self)
            elif outer is not self and self._scope is None:
                self._scope = outer.scope
            request_token = request_var.set(self)
            self._pushes.append((request_token, app_token))
            if app_token is not None and appcontext_pushed.receivers:
                appcontext_pushed.send(self.app, _async_wrapper=self.app.ensure_sync)
            if not self.is_matched:
                self.app.begin(self)
        else:
            self._pushes.append((None, app_var.set(self)))
            if appcontext_pushed.receivers:
                appcontext_pushed.send(self.app, _async_wrapper=self.app.ensure_sync)

    def pop(self, exc: BaseException | None = _sentinel) -> None:
        """Leave the context; the last `pop` runs the teardown functions.

        Args:
            exc: the error that ended the work; the one being handled unless told.

        Raises:
            AssertionError: another context was pushed since and is still there.
        """
        if exc is _sentinel:
            exc = sys.exc_info()[1]
        pushes = self._pushes
        current = (request_var if self._request is not None else app_var).get(None)
        if current is not self or not pushes:
            kind = "request" if self._request is not None else "app"
            raise AssertionError(f"Popped wrong {kind} context. ({current!r} instead of {self!r})")
        last = len(pushes) == 1 and not self.holds
        try:
            if last and not self.is_torn_down:
                self.is_torn_down = True
                self.app.tear_down(self, exc, self._scope is None)
        finally:
            request_token, app_token = pushes.pop()
            if last and self._request is not None:
                if self.hops is not None:
                    self.hops = None  # it holds this context: a cycle
                # FLASK: a guest's environ must not keep the request alive in a cycle.
                environ = self._request.__dict__.get("environ")
                if environ is not None:
                    environ["werkzeug.request"] = None
            if request_token is not None:
                request_var.reset(request_token)
            if app_token is not None:
                app_var.reset(app_token)
                if appcontext_popped.receivers:
                    appcontext_popped.send(self.app, _async_wrapper=self.app.ensure_sync)

    def hold(self) -> None:
        """Put off the teardown until `release`: a stream goes on after the view has returned."""
        self.holds += 1

    def release(self, exc: BaseException | None = None) -> None:
        """Undo one `hold`; the last one, with no push left, runs the teardown functions."""
        self.holds -= 1
        if not self.holds and not self._pushes and not self.is_torn_down:
            self.push()
            self.pop(exc)

    def copy(self) -> Context:
        """A context with the same request and session, for another thread or task.

        FLASK: the session is shared, so that changes are seen by the request itself.
        """
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._pushes = []
        twin._scope = None
        twin._g = None
        twin.after = None
        twin.holds = 0
        twin.starting = None
        twin.hops = None
        twin.services = None
        twin.is_torn_down = False
        twin.opened_session = self._session
        return twin

    def match_request(self) -> None:
        """Find the request's rule anew, with the context's own `url_adapter`."""
        self.app.match(self)

    def __enter__(self) -> Context:
        self.push()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pop(exc_value)

    def __repr__(self) -> str:
        request = self._request
        if request is None:
            return f"<{type(self).__name__} of {self.app.name}>"
        return f"<{type(self).__name__} {request.url!r} [{request.method}] of {self.app.name}>"


def after_this_request(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Call a function with this request's response, before it is sent; usable as a decorator in a view.

    Raises:
        RuntimeError: there is no request.
    """
    ctx = request_var.get(None)
    if ctx is None:
        raise RuntimeError("'after_this_request' can only be used when a request context is active, such as in a view function.")
    if ctx.after is None:
        ctx.after = []
    ctx.after.append(f)
    return f


def copy_current_request_context(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function so that it runs with this request's context, in whichever thread or greenlet it is called.

    Raises:
        RuntimeError: there is no request.
    """
    original = request_var.get(None)
    if original is None:
        raise RuntimeError(
            "'copy_current_request_context' can only be used when a request context is active, such as in a view function."
        )
    ctx = original.copy()

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with ctx:
            return ctx.app.ensure_sync(f)(*args, **kwargs)

    return wrapper


def has_request_context() -> bool:
    """Whether there is a current request."""
    return request_var.get(None) is not None


def has_app_context() -> bool:
    """Whether there is a current app."""
    return app_var.get(None) is not None
