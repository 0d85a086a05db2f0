"""Carboy: the parts list. Which doors this house has and which standard equipment, in which order; no logic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from .core.base import VERBS, App
from .core.ctx import Context, app_var, request_var
from .extend import fit
from .gateways import asgi, rsgi, wsgi
from .realtime.websocket import WebSocket
from .standard import static, templating
from .standard.json import DefaultJSONProvider, JSONProvider
from .standard.sessions import SecureCookieSessionInterface, SessionInterface, Sessions
from .standard.views import Views

if TYPE_CHECKING:
    import asyncio
    import os

    from .batteries.client import HTTPClient
    from .realtime.channels import Channels
    from .realtime.listeners import TLS, Listener, Listeners
    from .realtime.tasks import AtShutdown, Task, TaskGroup, Tasks

T = TypeVar("T")


class Carboy(App):
    """A web application.

    Example:
        >>> from carboy import Carboy
        >>> app = Carboy(__name__)
        >>> @app.get("/")
        ... def index():
        ...     return "Hello!"

    It is a WSGI, an ASGI and an RSGI callable; `carboy run` serves it through ASGI.
    """

    json_provider_class: type[JSONProvider] = DefaultJSONProvider
    session_interface: SessionInterface = SecureCookieSessionInterface()
    websocket_class: type[WebSocket] = WebSocket
    jinja_environment: type[templating.Environment] = templating.Environment

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for equipment in (Sessions, templating.Templating, static.Static, Views):
            fit(self, equipment())
        #: The JSON provider: `app.json.dumps`, `loads`, `response`.
        self.json: JSONProvider = self.json_provider_class(self)
        self.static_files = static.StaticFiles()
        # Entered first, left last: what else stops may still publish.
        self.lifespan_functions.append(_channels_life)

    # -- doors --------------------------------------------------------------------------------------

    # Functions of the gateways, as methods: the app is their first argument.
    wsgi_app: Any = wsgi.application
    asgi_app: Any = asgi.application
    __rsgi__: Any = rsgi.application

    def __call__(self, *args: Any) -> Any:
        """Serve a WSGI request `(environ, start_response)` or an ASGI scope `(scope, receive, send)`."""
        if len(args) == 2:
            return self.wsgi_app(*args)
        if len(args) == 3:
            return self.asgi_app(*args)
        return _asgi2(self, *args)

    # -- equipment ----------------------------------------------------------------------------------

    def fit(self, extension: T) -> T:
        """Fit an extension: one with `setup(fit)`, or any object with Flask's `init_app(app)`.

        Raises:
            SetupError: it is no extension, is fitted already, or needs another one first.
        """
        self._check_setup_finished("fit")
        fit(self, extension)
        return extension

    @cached_property
    def http(self) -> HTTPClient:
        """Calls to other servers: `await app.http.get(url)`, and `app.http.sync.get(url)` in a `def`.

        Raises:
            ImportError: httpx2 is not installed; it comes with `carboy[http]`.
        """
        from .batteries.client import client_of

        return client_of(self)

    # -- templates ----------------------------------------------------------------------------------

    def create_jinja_environment(self) -> templating.Environment:
        """Make `jinja_env`."""
        return templating.create_environment(self)

    def create_global_jinja_loader(self) -> templating.DispatchingJinjaLoader:
        """Make the loader that looks in the app's templates, then in those of its blueprints."""
        return templating.DispatchingJinjaLoader(self)

    def select_jinja_autoescape(self, filename: str | None) -> bool:
        """Whether a template's values are escaped: in HTML, XML and SVG files, and in strings."""
        return templating.select_autoescape(filename)

    def update_template_context(self, context: dict[str, Any]) -> None:
        """Add what context processors give to a template's values; the values given win."""
        templating.update_context(self, app_var.get(None), context)

    # -- static files -------------------------------------------------------------------------------

    def send_static_file(self, filename: str) -> Any:
        """The view of the app's static files.

        Raises:
            RuntimeError: the app has no static folder.
        """
        return self.serve_static(self, filename)

    def serve_static(self, owner: Any, filename: str) -> Any:
        """Answer the current request with a static file of the app or of a blueprint."""
        return static.serve_static(request_var.get(), owner, filename, self.static_files)

    def answer_static(self, filename: str) -> Any:
        """The view of the app's static files where nobody has replaced `send_static_file`: a 304 stays light."""
        return static.answer_static(request_var.get(), self, filename, self.static_files)

    @cached_property
    def channels(self) -> Channels:
        """Publish/subscribe with history and presence: `await app.channels.publish("room:7", {"text": "hi"})`.

        Raises:
            SetupError: the `CHANNELS_*` configuration is not valid, or the broker's library is not installed.
        """
        from .realtime.channels import channels_of

        return channels_of(self)

    # -- work beside requests -----------------------------------------------------------------------

    @cached_property
    def tasks(self) -> Tasks:
        """The app's background work in this process."""
        from .realtime.tasks import Tasks

        return Tasks(self)

    @cached_property
    def listeners(self) -> Listeners:
        """The app's services of other protocols: their names, addresses and counts."""
        from .realtime.listeners import Listeners

        return Listeners(self)

    @property
    def leaving(self) -> asyncio.Event:
        """Set when this process begins to stop serving; for code on the app's event loop."""
        return self.lifespan_state.leaving

    def spawn(
        self,
        f: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        at_shutdown: AtShutdown = "cancel",
        timeout: float | None = None,
    ) -> Task[Any]:
        """Run a function beside the requests: `async def` on the event loop, `def` in a thread.

        It has an app context of its own, and sees the request that it was left by as that was. An error is logged.

        Args:
            f, args: what is called.
            name: for the log; the function's own unless told.
            at_shutdown: "cancel" it when the app stops, or "wait" for it within the server's stop time-out.
            timeout: seconds after which it is cancelled.

        Raises:
            RuntimeError: the app does not run, or is stopping.
        """
        return self.tasks.spawn(f, args, name, at_shutdown, timeout)

    def task_group(self) -> TaskGroup:
        """Tasks that belong to an `async def` view and end with it: `async with app.task_group() as group: ...`."""
        from .realtime.tasks import TaskGroup

        return TaskGroup(self.tasks)

    def background(self, f: Any = None, *, name: str | None = None) -> Any:
        """Run a coroutine function in each worker as long as the app does; it is started again when it fails.

        Example:
            >>> @app.background
            ... async def refresh_rates():
            ...     while True:
            ...         await fetch_rates()
            ...         await asyncio.sleep(60)

        Raises:
            SetupError: no coroutine function, or a name used twice.
        """
        if f is None:
            return lambda function: self.background(function, name=name)
        self.tasks.background(f, name)
        return f

    def listen_tcp(
        self,
        address: str | tuple[str, int],
        handler: Callable[..., Any],
        *,
        tls: TLS | None = None,
        name: str | None = None,
        max_connections: int = 10_000,
        idle_timeout: float | None = None,
        backlog: int = 1024,
        reuse_port: bool = False,
    ) -> Listener:
        """Serve another protocol on a TCP port, beside HTTP.

        Args:
            address: "host:port" or `(host, port)`; port 0 lets the system choose.
            handler: `async def handle(reader, writer)`, an `asyncio.Protocol` class, a function that makes one, or a
                protocol factory of Twisted's.
            tls: an `ssl.SSLContext`, or `(certificate file, key file)`.
            name: for the log and for `app.listeners[name]`.
            max_connections: open at once in one worker; more are closed at once.
            idle_timeout: seconds without a byte from the peer after which a connection is closed.
            backlog: connections that may wait to be accepted.
            reuse_port: share the port among processes that do not share a socket; not needed under `carboy run`.

        Raises:
            SetupError: the address, the handler or a limit is none.
        """
        return self.listeners.add(
            "tcp", address, handler, tls=tls, name=name, max_connections=max_connections, idle_timeout=idle_timeout, backlog=backlog, reuse_port=reuse_port
        )  # fmt: skip

    def listen_udp(
        self, address: str | tuple[str, int], handler: Callable[..., Any], *, name: str | None = None, reuse_port: bool = False
    ) -> Listener:
        """Serve a datagram protocol beside HTTP; as `listen_tcp`, with an `asyncio.DatagramProtocol`."""
        return self.listeners.add("udp", address, handler, name=name, reuse_port=reuse_port)

    def listen_unix(
        self,
        path: str | os.PathLike[str],
        handler: Callable[..., Any],
        *,
        mode: int = 0o660,
        tls: TLS | None = None,
        name: str | None = None,
        max_connections: int = 10_000,
        idle_timeout: float | None = None,
        backlog: int = 1024,
    ) -> Listener:
        """Serve another protocol on a Unix socket beside HTTP; as `listen_tcp`, with the permissions *mode* of the path."""
        return self.listeners.add(
            "unix", path, handler, tls=tls, name=name, mode=mode, max_connections=max_connections, idle_timeout=idle_timeout, backlog=backlog
        )  # fmt: skip

    # -- testing and development --------------------------------------------------------------------

    def test_client(self, use_cookies: bool = True, *, door: str = "wsgi", **kwargs: Any) -> Any:
        """A client that calls the app in this process.

        Args:
            use_cookies: keep cookies between requests.
            door: "wsgi", "asgi", "rsgi", "cgi" or "fastcgi".
        """
        from .testing.client import Client

        client_class: Any = self.test_client_class or Client
        if door != "wsgi":
            kwargs["door"] = door
        return client_class(self, self.response_class, use_cookies=use_cookies, **kwargs)

    def async_test_client(self, **kwargs: Any) -> Any:
        """A client for async tests: `async with app.async_test_client() as client: await client.get("/")`."""
        from .testing.asyncclient import AsyncClient

        return AsyncClient(self, **kwargs)

    def test_cli_runner(self, **kwargs: Any) -> Any:
        """Runs the app's commands in this process."""
        from .testing.runner import CliRunner

        runner_class: Any = self.test_cli_runner_class or CliRunner
        return runner_class(self, **kwargs)

    def test_request_context(self, *args: Any, **kwargs: Any) -> Context:
        """A context with a made-up request: `with app.test_request_context("/orders?page=2"): ...`.

        Args:
            args, kwargs: as Werkzeug's `EnvironBuilder` takes them.
        """
        from .testing.client import EnvironBuilder

        builder = EnvironBuilder(self, *args, **kwargs)
        try:
            return self.request_context(builder.get_environ())
        finally:
            builder.close()

    def run(
        self,
        host: str | None = None,
        port: int | None = None,
        debug: bool | None = None,
        load_dotenv: bool = True,
        **options: Any,
    ) -> None:
        """Serve the app on Werkzeug's development server; `carboy run` is the one for production."""
        from .cli.development import run_development_server

        run_development_server(self, host, port, debug, load_dotenv, options)


def _channels_life(app: Carboy) -> Any:
    from .realtime.channels import life_of

    return life_of(app)


def _asgi2(app: Carboy, scope: dict[str, Any]) -> Callable[[Any, Any], Awaitable[None]]:
    """ASGI 2's double call: what servers that guess the protocol from the callable may use."""

    async def instance(receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return instance


Carboy.own_verbs = {verb: getattr(Carboy, verb) for verb in VERBS}
