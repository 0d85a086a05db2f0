"""Carboy: the parts list. Which doors this house has and which standard equipment, in which order; no logic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from .core.base import VERBS, App
from .core.ctx import Context, app_var, request_var
from .extend import fit
from .gateways import asgi, rsgi, wsgi
from .standard import static, templating
from .standard.json import DefaultJSONProvider, JSONProvider
from .standard.sessions import SecureCookieSessionInterface, SessionInterface, Sessions
from .standard.views import Views

if TYPE_CHECKING:
    from .batteries.client import HTTPClient

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
    jinja_environment: type[templating.Environment] = templating.Environment

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for equipment in (Sessions, templating.Templating, static.Static, Views):
            fit(self, equipment())
        #: The JSON provider: `app.json.dumps`, `loads`, `response`.
        self.json: JSONProvider = self.json_provider_class(self)
        self.static_files = static.StaticFiles()

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


def _asgi2(app: Carboy, scope: dict[str, Any]) -> Callable[[Any, Any], Awaitable[None]]:
    """ASGI 2's double call: what servers that guess the protocol from the callable may use."""

    async def instance(receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return instance


Carboy.own_verbs = {verb: getattr(Carboy, verb) for verb in VERBS}
