"""The test client: Werkzeug's, with the app's own defaults, sessions, kept contexts and a choice of door.

Three things live here: how a request is built from the app's configuration (`EnvironBuilder`), how it is sent and
what is remembered between two of them (`Client`), and nothing of how a door works (that is `doors.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib.metadata import version
from typing import Any, Self, TypeAlias, cast
from urllib.parse import urlsplit

from werkzeug import test as werkzeug_test
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse
from werkzeug.wrappers import Request
from werkzeug.wsgi import get_current_url

from .doors import Environ, WSGICallable, door_named, keeping
from .subject import Subject
from .websocket import AsyncSocketSession, SocketSession

DEFAULT_PORTS = {"http": "80", "https": "443"}

# How the wsgi door is told which contexts to keep; the key is Flask's and Werkzeug's, and extensions know it.
PRESERVE_CONTEXT = "werkzeug.debug.preserve_context"

# What `open` takes in place of builder arguments.
ReadyMade: TypeAlias = "werkzeug_test.EnvironBuilder | Environ | Request"


class EnvironBuilder(werkzeug_test.EnvironBuilder):
    """Build a WSGI environ whose defaults come from an app's configuration.

    Args:
        app: the app asked for `SERVER_NAME`, `APPLICATION_ROOT`, `PREFERRED_URL_SCHEME` and its JSON provider.
        path: the path of the request, or a whole URL, whose scheme and host then win.
        base_url: where the app is served; excludes *subdomain* and *url_scheme*.
        subdomain: put in front of `SERVER_NAME`.
        url_scheme: `http` or `https`; defaults to `PREFERRED_URL_SCHEME`.
        *args: as `werkzeug.test.EnvironBuilder`.
        **kwargs: as `werkzeug.test.EnvironBuilder`.

    Example::

        builder = EnvironBuilder(app, "/orders", method="POST", json={"id": 7})
        environ = builder.get_environ()
    """

    def __init__(
        self,
        app: Subject,
        path: str = "/",
        base_url: str | None = None,
        subdomain: str | None = None,
        url_scheme: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        # Before super(): it serialises `json` in its constructor, through this object's json_dumps.
        self.app = app
        if base_url is not None and (subdomain or url_scheme):
            # FLASK: an AssertionError there, so here as well: tests of applications catch it.
            raise AssertionError('Cannot pass "subdomain" or "url_scheme" with "base_url".')
        if base_url is None:
            url = urlsplit(path)
            host = url.netloc or app.config.get("SERVER_NAME") or "localhost"
            if subdomain and not url.netloc:
                host = f"{subdomain}.{host}"
            scheme = url_scheme or url.scheme or app.config["PREFERRED_URL_SCHEME"]
            root = app.config["APPLICATION_ROOT"].lstrip("/")
            base_url = f"{scheme}://{host}/{root}"
            path = f"{url.path}?{url.query}" if "?" in path.partition("#")[0] else url.path
        super().__init__(path, base_url, *args, **kwargs)

    def json_dumps(self, obj: Any, **kwargs: Any) -> str:
        """Serialise *obj* as the app itself would."""
        return cast(str, self.app.json.dumps(obj, **kwargs))


class Client(werkzeug_test.Client):
    """Send requests to an app without a server, through any of its doors.

    As `werkzeug.test.Client`, and besides: in a `with` block the contexts of the last request stay pushed until the
    next request or the end of the block; `session_transaction` opens the session between two requests; a response's
    `json` is read by the app's JSON provider.

    Args:
        *args: as `werkzeug.test.Client`.
        door: which protocol carries the request: `wsgi`, `asgi`, `rsgi`, `cgi` or `fastcgi`.
        **kwargs: as `werkzeug.test.Client`.

    Example::

        client = app.test_client(door="asgi")
        assert client.get("/").status_code == 200
    """

    application: Subject

    def __init__(self, *args: Any, door: str = "wsgi", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.door = door
        self.preserve_context = False
        self.environ_base: dict[str, Any] = {
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_USER_AGENT": f"Werkzeug/{version('werkzeug')}",
        }
        self._through: WSGICallable | None = None if door == "wsgi" else door_named(door)(self.application)
        self._new_contexts: list[AbstractContextManager[Any]] = []
        self._context_stack = ExitStack()

    def open(
        self,
        *args: Any,
        buffered: bool = False,
        follow_redirects: bool = False,
        **kwargs: Any,
    ) -> TestResponse:
        """Send one request and give its answer.

        Args:
            *args: a path and more for `EnvironBuilder`; or one `EnvironBuilder`, environ or `Request`.
            buffered: read the whole body, and close it, before returning.
            follow_redirects: go on until an answer is no redirect; the others are in `response.history`.
            **kwargs: as `EnvironBuilder`.
        """
        request = self._request_from(args, kwargs)
        # The contexts of the last request end where the next begins.
        self._context_stack.close()
        response = super().open(request, buffered=buffered, follow_redirects=follow_redirects)
        response.json_module = self.application.json
        for context in self._new_contexts:
            self._context_stack.enter_context(context)
        self._new_contexts.clear()
        return response

    def websocket(self, *args: Any, subprotocols: Sequence[str] = (), **kwargs: Any) -> SocketSession:
        """Open a WebSocket in a `with` block; through the ASGI door, whichever the client's own is.

        Args:
            *args: a path and more, as `open`.
            subprotocols: to offer, in order of preference.
            **kwargs: as `open`: `headers`, `query_string`, `base_url` …

        Raises:
            WebSocketRefused: the application does not want it; at the start of the block.

        Example::

            with client.websocket("/chat/7", headers={"Origin": "http://localhost"}) as ws:
                ws.send("hello")
                assert ws.receive() == "7: hello"
        """
        request = self._request_from(args, kwargs)
        return SocketSession(lambda: self._socket(request, subprotocols, None))

    def _socket(self, request: Request, subprotocols: Sequence[str], state: dict[str, Any] | None) -> AsyncSocketSession:
        self._add_cookies_to_wsgi(request.environ)
        url = urlsplit(get_current_url(request.environ))

        def keep(headers: Headers) -> None:
            self._update_cookies_from_response(url.hostname or "localhost", url.path, headers.getlist("Set-Cookie"))

        def answer(body: list[bytes], status: str, headers: Headers) -> TestResponse:
            response: TestResponse = self.response_wrapper(body, status, headers, request=request)
            response.json_module = self.application.json
            return response

        return AsyncSocketSession(self.application, request.environ, subprotocols, keep, answer, state)

    def run_wsgi_app(self, environ: Environ, buffered: bool = False) -> tuple[Iterable[bytes], str, Headers]:
        """Send *environ* through the client's door; cookies are added before and kept after."""
        # Of redirects that are followed, only the last request's context is kept: there is one current request.
        self._new_contexts.clear()
        if self._through is None:
            return super().run_wsgi_app(environ, buffered)
        self._add_cookies_to_wsgi(environ)
        with self._keeping(environ):
            answer = werkzeug_test.run_wsgi_app(self._through, environ, buffered)
        url = urlsplit(get_current_url(environ))
        self._update_cookies_from_response(url.hostname or "localhost", url.path, answer[2].getlist("Set-Cookie"))
        return answer

    @contextmanager
    def session_transaction(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Open the session between two requests; what is changed in it is saved at the end of the block.

        Args:
            *args: as `EnvironBuilder`: where the session would be opened (a path, a host).
            **kwargs: as `EnvironBuilder`.

        Raises:
            TypeError: the client keeps no cookies.
            RuntimeError: the app opens no session; most often `SECRET_KEY` is not set.

        Example::

            with client.session_transaction() as session:
                session["user"] = 7
        """
        if self._cookies is None:
            raise TypeError("Cookies are disabled. Create a client with 'use_cookies=True'.")
        app = self.application
        interface = app.session_interface
        ctx = app.test_request_context(*args, **kwargs)
        self._add_cookies_to_wsgi(ctx.request.environ)
        with ctx:
            session = interface.open_session(app, ctx.request)
        if session is None:
            raise RuntimeError("Session backend did not open a session. Is SECRET_KEY set?")
        # The block runs outside of our context, so that it sees the one its caller had.
        yield session
        if interface.is_null_session(session):
            return
        response = app.response_class()
        with ctx:
            interface.save_session(app, session, response)
        self._update_cookies_from_response(
            ctx.request.host.partition(":")[0], ctx.request.path, response.headers.getlist("Set-Cookie")
        )

    def __enter__(self) -> Self:
        if self.preserve_context:
            raise RuntimeError("Cannot nest client invocations")
        self.preserve_context = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.preserve_context = False
        self._context_stack.close()

    def _copy_environ(self, other: Environ) -> Environ:
        """Give *other* with the client's defaults below it."""
        environ = {**self.environ_base, **other}
        if self.preserve_context:
            environ[PRESERVE_CONTEXT] = self._new_contexts.append
        return environ

    def _request_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        """Read the arguments of `open`: something ready-made, or arguments for a builder."""
        first = args[0] if args else None
        if isinstance(first, werkzeug_test.EnvironBuilder):
            builder = copy.copy(first)
            builder.environ_base = self._copy_environ(dict(builder.environ_base or {}))
            return builder.get_request()
        if isinstance(first, dict):
            rebuilt = EnvironBuilder.from_environ(first, app=self.application, environ_base=self._copy_environ({}))
            try:
                return rebuilt.get_request()
            finally:
                rebuilt.close()
        if isinstance(first, Request):
            request = copy.copy(first)
            request.environ = self._copy_environ(request.environ)
            return request
        return self._request_from_builder_args(args, kwargs)

    def _request_from_builder_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        """Build a request from `EnvironBuilder`'s arguments; subclasses in the field override this."""
        kwargs["environ_base"] = self._copy_environ(kwargs.get("environ_base", {}))
        builder = EnvironBuilder(self.application, *args, **kwargs)
        try:
            return builder.get_request()
        finally:
            builder.close()

    def _keeping(self, environ: Environ) -> AbstractContextManager[Any]:
        """While the request runs: note its contexts, where the door carries no environ to ask for it."""
        keep: Callable[[Any], None] | None = environ.get(PRESERVE_CONTEXT)
        return nullcontext() if keep is None else keeping(self.application, keep)
