"""The `flask` command, and every name that extensions take from `flask.cli`.

What `flask` prints follows Flask, since scripts and tests read it. The development server is Werkzeug's, with its
reloader and debugger; `carboy run` is the server for everything else. The module imports the modules and names that
`flask.cli` has, because tests patch them there.
"""

import ast
import importlib
import importlib.metadata
import inspect
import os
import platform
import re
import sys
import traceback
import typing as t
from collections.abc import Callable, Iterable
from importlib import metadata
from types import ModuleType

import click
from click.core import ParameterSource
from werkzeug.serving import is_running_from_reloader, run_simple
from werkzeug.utils import import_string

from ..core.commands import (
    AppGroup,
    ScriptInfo,
    get_debug_flag,
    get_load_dotenv,
    pass_script_info,
    with_appcontext,
)
from ..core.ctx import app_var
from ..core.locate import NoAppException, find_app_by_string, find_best_app, locate_app, prepare_import
from .dotenv import load_dotenv
from .group import LoadingGroup, app_option, debug_option, env_file_option
from .group import read_env_file as _env_file_callback
from .group import set_app as _set_app
from .group import set_debug as _set_debug
from .shell import shell_command

__all__ = [
    "AppGroup",
    "CertParamType",
    "FlaskGroup",
    "ModuleType",
    "NoAppException",
    "ParameterSource",
    "ScriptInfo",
    "SeparatedPathType",
    "_app_option",
    "_debug_option",
    "_env_file_callback",
    "_env_file_option",
    "_set_app",
    "_set_debug",
    "_validate_key",
    "ast",
    "cli",
    "click",
    "find_app_by_string",
    "find_best_app",
    "get_debug_flag",
    "get_load_dotenv",
    "get_version",
    "import_string",
    "importlib",
    "inspect",
    "is_running_from_reloader",
    "load_dotenv",
    "locate_app",
    "main",
    "metadata",
    "os",
    "pass_script_info",
    "platform",
    "prepare_import",
    "re",
    "routes_command",
    "run_command",
    "run_simple",
    "shell_command",
    "show_server_banner",
    "sys",
    "traceback",
    "version_option",
    "with_appcontext",
]


def get_version(ctx: click.Context, param: click.Parameter, value: t.Any) -> None:
    """Print the versions and leave; the callback of `--version`."""
    if not value or ctx.resilient_parsing:
        return
    lines = [f"Python {platform.python_version()}"]
    for name in ("Flask", "Carboy", "Werkzeug"):
        try:
            lines.append(f"{name} {importlib.metadata.version(name.lower())}")
        except importlib.metadata.PackageNotFoundError:
            continue  # the real Flask need not be installed
    click.echo("\n".join(lines), color=ctx.color)
    ctx.exit()


version_option = click.Option(
    ["--version"],
    help="Show the versions.",
    expose_value=False,
    callback=get_version,
    is_flag=True,
    is_eager=True,
)
_app_option = app_option()
_env_file_option = env_file_option()
_debug_option = debug_option()


class FlaskGroup(LoadingGroup):
    """A command group like `flask`, for a management script of one's own.

        @click.group(cls=FlaskGroup, create_app=create_app)
        def cli(): ...

    Args:
        add_default_commands: have `run`, `shell` and `routes`.
        create_app: makes the application, so that `--app` need not name it.
        add_version_option: have `--version`.
        load_dotenv: read `.env` and its like.
        set_debug_flag: set the application's `debug` from the environment.
    """

    def __init__(
        self,
        add_default_commands: bool = True,
        create_app: Callable[..., t.Any] | None = None,
        add_version_option: bool = True,
        load_dotenv: bool = True,
        set_debug_flag: bool = True,
        **extra: t.Any,
    ) -> None:
        params: list[click.Parameter] = [*(extra.pop("params", None) or ())]
        params += [_env_file_option, _app_option, _debug_option]
        if add_version_option:
            params.append(version_option)
        super().__init__(create_app=create_app, load_dotenv=load_dotenv, set_debug_flag=set_debug_flag, params=params, **extra)
        if add_default_commands:
            for command in (run_command, shell_command, routes_command):
                self.add_command(command)


class CertParamType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A certificate: a file, the word `adhoc`, or the import name of an `ssl.SSLContext`."""

    name = "path"

    def __init__(self) -> None:
        self.path_type = click.Path(exists=True, dir_okay=False, resolve_path=True)

    def convert(self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None) -> t.Any:
        try:
            import ssl
        except ImportError:
            raise click.BadParameter('"--cert" needs a Python with SSL support.', ctx, param) from None
        try:
            return self.path_type(value, param, ctx)
        except click.BadParameter as no_file:
            text = str(click.STRING(value, param, ctx))
            if text.lower() == "adhoc":
                try:
                    importlib.import_module("cryptography")
                except ImportError:
                    raise click.BadParameter("'adhoc' needs the cryptography library.", ctx, param) from None
                return "adhoc"
            found = import_string(text, silent=True)
            if isinstance(found, ssl.SSLContext):
                return found
            raise no_file


def _validate_key(ctx: click.Context, param: click.Parameter, value: t.Any) -> t.Any:
    """Join `--key` to `--cert`; one without the other is refused. `--cert` is eager, so it is known here."""
    cert = ctx.params.get("cert")
    is_file = isinstance(cert, str) and cert != "adhoc"
    if value is None:
        if is_file:
            raise click.BadParameter('Required when "--cert" is a file.', ctx, param)
        return None
    if cert is None:
        raise click.BadParameter('"--cert" must be given too.', ctx, param)
    if not is_file:
        kind = '"--cert" is "adhoc"' if cert == "adhoc" else '"--cert" is an SSLContext'
        raise click.BadParameter(f'When {kind}, "--key" is not used.', ctx, param)
    ctx.params["cert"] = cert, value
    return value


class SeparatedPathType(click.Path):
    """Several paths, separated as in PATH."""

    def convert(self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None) -> t.Any:
        # zero-argument super() has no class cell inside a comprehension before Python 3.12
        convert = super().convert
        return [convert(item, param, ctx) for item in self.split_envvar_value(value)]


def show_server_banner(debug: bool, app_import_path: str | None) -> None:
    """Say what is served; once, not again in the reloader's child."""
    if is_running_from_reloader():
        return
    if app_import_path is not None:
        click.echo(f" * Serving Flask app '{app_import_path}'")
    if debug is not None:
        click.echo(f" * Debug mode: {'on' if debug else 'off'}")


@click.command("run", short_help="Run a development server.")
@click.option("--host", "-h", default="127.0.0.1", help="The interface to bind to.")
@click.option("--port", "-p", default=5000, help="The port to bind to.")
@click.option("--cert", type=CertParamType(), help="A certificate file, to use HTTPS; or 'adhoc'.", is_eager=True)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    callback=_validate_key,
    expose_value=False,
    help="The key file of the certificate.",
)
@click.option("--reload/--no-reload", default=None, help="Reload on change; by default in debug mode.")
@click.option("--debugger/--no-debugger", default=None, help="Debug in the browser; by default in debug mode.")
@click.option("--with-threads/--without-threads", default=True, help="Serve several requests at a time.")
@click.option(
    "--extra-files",
    default=None,
    type=SeparatedPathType(),
    help=f"Further files that cause a reload, separated by {os.path.pathsep!r}.",
)
@click.option(
    "--exclude-patterns",
    default=None,
    type=SeparatedPathType(),
    help=f"fnmatch patterns of files that cause none, separated by {os.path.pathsep!r}.",
)
@pass_script_info
def run_command(
    info: ScriptInfo,
    host: str,
    port: int,
    reload: bool | None,
    debugger: bool | None,
    with_threads: bool,
    cert: t.Any,
    extra_files: list[str] | None,
    exclude_patterns: list[str] | None,
) -> None:
    """Run a local development server.

    It is neither secure nor fast enough for production; 'carboy run' is. With '--debug' it reloads on change and
    shows the debugger.
    """
    app: t.Any
    try:
        app = info.load_app()
    except Exception as error:
        if not is_running_from_reloader():
            raise
        # The reloader goes on watching: the next save may mend it. Until then each request shows the error.
        traceback.print_exc()
        app = _raising(error)

    debug = get_debug_flag()
    show_server_banner(debug, info.app_import_path)
    run_simple(
        host,
        port,
        app,
        use_reloader=debug if reload is None else reload,
        use_debugger=debug if debugger is None else debugger,
        threaded=with_threads,
        ssl_context=cert,
        extra_files=extra_files,
        exclude_patterns=exclude_patterns,
    )


def _raising(error: Exception) -> Callable[[t.Any, t.Any], Iterable[bytes]]:
    """Make a WSGI application of an error."""

    def application(environ: t.Any, start_response: t.Any) -> Iterable[bytes]:
        raise error from None

    return application


run_command.params.insert(0, _debug_option)


@click.command("routes", short_help="Show the routes for the app.")
@click.option(
    "--sort",
    "-s",
    type=click.Choice(("endpoint", "methods", "domain", "rule", "match")),
    default="endpoint",
    help="Sort by this column; 'match' is the order in which rules are tried.",
)
@click.option("--all-methods", is_flag=True, help="Show HEAD and OPTIONS too.")
@with_appcontext
def routes_command(sort: str, all_methods: bool) -> None:
    """Show all rules with their endpoints and methods."""
    app: t.Any = app_var.get().app
    rules = list(app.url_map.iter_rules())
    if not rules:
        click.echo("No routes were registered.")
        return
    hidden = set() if all_methods else {"HEAD", "OPTIONS"}
    has_hosts = app.url_map.host_matching
    domain = "Host" if has_hosts else "Subdomain"
    rows = [
        {
            "Endpoint": rule.endpoint,
            "Methods": ", ".join(sorted((rule.methods or set()) - hidden)),
            domain: (rule.host if has_hosts else rule.subdomain) or "",
            "Rule": rule.rule,
        }
        for rule in rules
    ]
    titles = ["Endpoint", "Methods", "Rule"]
    if any(row[domain] for row in rows):
        titles.insert(2, domain)
    if sort != "match":
        key = domain if sort == "domain" else sort.capitalize()
        rows.sort(key=lambda row: row[key])
    widths = [max(len(title), *(len(row[title]) for row in rows)) for title in titles]
    for line in (titles, ["-" * width for width in widths], *([row[title] for title in titles] for row in rows)):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)))


cli = FlaskGroup(
    name="flask",
    help="""\
A utility for applications written for Flask.

The application is named by '--app', by the FLASK_APP environment variable, or is in 'wsgi.py' or 'app.py' in the
working directory.
""",
)


def main() -> None:
    """Run the `flask` command."""
    cli.main()
