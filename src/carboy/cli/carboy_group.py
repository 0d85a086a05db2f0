"""The `carboy` command itself: its verbs, in the order of their use, and its help page."""

from collections.abc import Callable
from typing import Any, ClassVar

import click

from .group import LoadingGroup, app_option, debug_option, env_file_option
from .target import VARIABLES


def _run() -> click.Command:
    from .run import run_command

    return run_command


def _routes() -> click.Command:
    from .routes import routes_command

    return routes_command


def _plan() -> click.Command:
    from .plan import plan_command

    return plan_command


def _check() -> click.Command:
    from .check import check_command

    return check_command


def _services() -> click.Command:
    from .services import services_command

    return services_command


def _ctl() -> click.Command:
    from .ctl import ctl_command

    return ctl_command


def _shell() -> click.Command:
    from .shell import shell_command
    from .target import with_target

    # `flask shell` is the same function, without the argument APP.
    return with_target(click.Command("shell", callback=shell_command.callback, help=shell_command.help))


def _flask() -> click.Command:
    from .flask_verb import flask_command

    return flask_command


def _adopt() -> click.Command:
    from .adopt import adopt_command

    return adopt_command


def _version() -> click.Command:
    from .version import version_command

    return version_command


#: Name, what the help page says, and how to get it. The page needs no import.
VERBS: dict[str, tuple[str, Callable[[], click.Command]]] = {
    "run": ("Serve the application.", _run),
    "routes": ("List the routes: method, rule, endpoint, colour, file:line.", _routes),
    "plan": ("Show the whole way of one request, a step a line.", _plan),
    "check": ("Find mistakes of setup: views, rules, settings.", _check),
    "services": ("List what runs beside the requests: protocols, background loops.", _services),
    "ctl": ("Ask or tell a running server: status, reload, stop, scale.", _ctl),
    "shell": ("Python with the application loaded; 'await' works.", _shell),
    "flask": ("The 'flask' command, on Carboy: 'carboy flask db upgrade'.", _flask),
    "adopt": ("Read a Flask application and say what to expect; changes nothing.", _adopt),
    "version": ("Show the versions of Carboy and of what it stands on.", _version),
}


class CarboyGroup(LoadingGroup):
    """The verbs of Carboy, those of plugins, and the application's own commands."""

    entry_points: ClassVar = ("flask.commands", "carboy.commands")
    variables: ClassVar = "CARBOY"
    needs_no_app: ClassVar = True

    def __init__(self, **attrs: Any) -> None:
        params = [env_file_option(envvar=["CARBOY_ENV_FILE", "FLASK_ENV_FILE"]), app_option(envvar=VARIABLES), debug_option()]
        super().__init__(params=[*params, *attrs.pop("params", ())], **attrs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # FLASK: a plugin made for `flask` may bring its own `shell` or `run`; the verbs of `carboy` stay ours.
        if cmd_name in VERBS:
            return VERBS[cmd_name][1]()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in their order, then the rest by name."""
        return [*VERBS, *(name for name in super().list_commands(ctx) if name not in VERBS)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, the plugins and the application's own commands under headings of their own."""
        verbs = [(name, text) for name, (text, _) in VERBS.items()]
        plugins = self._rows(ctx, sorted({*self.commands, *self.plugins()} - VERBS.keys()))
        own = self._rows(ctx, sorted({*self.app_commands(ctx)} - VERBS.keys() - self.plugins().keys()))
        for title, rows in (("Commands", verbs), ("Commands of plugins", plugins), ("Commands of the application", own)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _rows(self, ctx: click.Context, names: list[str]) -> list[tuple[str, str]]:
        found = ((name, self.get_command(ctx, name)) for name in names)
        return [(name, command.get_short_help_str(60)) for name, command in found if command and not command.hidden]


carboy = CarboyGroup(
    name="carboy",
    help="""\
Serve applications of Carboy, and of Flask, and look into them.

The application is named by '--app', or by the CARBOY_APP or FLASK_APP variable, or is in 'wsgi.py' or 'app.py' here.
""",
)
