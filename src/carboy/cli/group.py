"""A command group that finds an application and offers the application's own commands beside its own.

Both `carboy` and `flask` are such groups, and so is every management script that an application defines for itself.
Commands come from four places: the group, the plugins installed (entry points), and the application's `cli`.
"""

import importlib
import importlib.metadata
import os
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import click
from click.core import ParameterSource

from ..core.commands import AppGroup, ScriptInfo
from ..core.ctx import app_var
from ..core.locate import NoAppException, NothingHere
from .dotenv import load_dotenv


def set_app(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Note the target for whoever loads the application in this command line."""
    if value is not None:
        ctx.ensure_object(ScriptInfo).app_import_path = value
    return value


def set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> bool | None:
    """Put the flag into the environment, where reloader, workers and the application read it."""
    source = ctx.get_parameter_source(str(param.name))
    if source in {None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP}:
        return None
    os.environ["FLASK_DEBUG"] = flag = "1" if value else "0"
    if "CARBOY_DEBUG" in os.environ:  # it outranks the other
        os.environ["CARBOY_DEBUG"] = flag
    return value


def read_env_file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Load the file and, unless the group forbids it, the default files."""
    if value is not None:
        try:
            importlib.import_module("dotenv")
        except ImportError:
            raise click.BadParameter("python-dotenv must be installed to load an env file.", ctx, param) from None
    defaults = ctx.ensure_object(ScriptInfo).load_dotenv_defaults
    if value is not None or defaults:
        load_dotenv(value, load_defaults=defaults)
    return value


def app_option(**attrs: Any) -> click.Option:
    """`-A/--app`; eager, since the other options and the help page depend on it."""
    return click.Option(
        ["-A", "--app"],
        metavar="MODULE[:NAME]",
        help="The application or its factory; the module may be a file. NAME may be left out if it is 'app', 'application',"
        " 'create_app' or 'make_app', and may be 'name(args)'.",
        is_eager=True,
        expose_value=False,
        callback=set_app,
        **attrs,
    )


def env_file_option(**attrs: Any) -> click.Option:
    """`-e/--env-file`; eager, and before `--app`, which may stand in the file."""
    return click.Option(
        ["-e", "--env-file"],
        type=click.Path(exists=True, dir_okay=False),
        help="Take variables from this file, rather than from '.env'. Those that are set stay. Needs python-dotenv.",
        is_eager=True,
        expose_value=False,
        callback=read_env_file,
        **attrs,
    )


def debug_option() -> click.Option:
    """`--debug/--no-debug`, for the group and for `run`."""
    return click.Option(
        ["--debug/--no-debug"], help="Set debug mode.", expose_value=False, callback=set_debug, allow_from_autoenv=False
    )


class LoadingGroup(AppGroup):
    """A group with the commands of the application it loads.

    Args:
        create_app: makes the application, instead of finding it.
        load_dotenv: read the default `.env` files.
        set_debug_flag: set the application's `debug` from the environment.
        params: options; those called `env_file` and `app` are seen to before the help page is made.
    """

    #: Where installed packages announce commands.
    entry_points: ClassVar[Sequence[str]] = ("flask.commands",)
    #: Prefix of the variables that give options their values.
    variables: ClassVar[str] = "FLASK"
    #: The help page may be asked for where no application is, and says nothing of that.
    needs_no_app: ClassVar[bool] = False

    def __init__(
        self,
        *,
        create_app: Callable[..., Any] | None = None,
        load_dotenv: bool = True,
        set_debug_flag: bool = True,
        context_settings: dict[str, Any] | None = None,
        **extra: Any,
    ) -> None:
        settings = {"auto_envvar_prefix": self.variables, **(context_settings or {})}
        super().__init__(context_settings=settings, **extra)
        self.create_app = create_app
        self.load_dotenv = load_dotenv
        self.set_debug_flag = set_debug_flag
        self._plugins: dict[str, importlib.metadata.EntryPoint] | None = None

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        # FLASK: `app.run()` in a module that a command imports must not start a server; it looks at this variable.
        os.environ["FLASK_RUN_FROM_CLI"] = "true"
        if "obj" not in extra and "obj" not in self.context_settings:
            extra["obj"] = ScriptInfo(
                create_app=self.create_app, set_debug_flag=self.set_debug_flag, load_dotenv_defaults=self.load_dotenv
            )
        return super().make_context(info_name, args, parent=parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # The help page lists the application's commands, but click makes it before it looks at any variable.
        if (not args and self.no_args_is_help) or (len(args) == 1 and args[0] in self.get_help_option_names(ctx)):
            for param in self.params:
                if param.name in {"env_file", "app"}:
                    param.handle_parse_result(ctx, {}, [])
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command: a plugin's, the group's own, the application's. Only the last loads the application."""
        found = self.plugin_command(cmd_name) or super().get_command(ctx, cmd_name)
        return found or self.app_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names; if the application cannot be loaded, the reason goes to stderr and the other names are given."""
        return sorted({*super().list_commands(ctx), *self.plugins(), *self.app_commands(ctx)})

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Listing a command looks it up, which makes the application's context active. The page is written below a
        # context of its own, so that this one ends with it: before version 8.2 click leaves `--help`'s open.
        settings = {**self.context_settings, "obj": ctx.obj}
        with click.Context(self, parent=ctx.parent, info_name=ctx.info_name, **settings) as page:
            super().format_help(page, formatter)

    def plugins(self) -> dict[str, importlib.metadata.EntryPoint]:
        """The commands that installed packages announce, not loaded yet."""
        if self._plugins is None:
            announced: Iterable[importlib.metadata.EntryPoint] = (
                point for group in self.entry_points for point in importlib.metadata.entry_points(group=group)
            )
            self._plugins = {point.name: point for point in announced}
        return self._plugins

    def plugin_command(self, name: str) -> click.Command | None:
        point = self.plugins().get(name)
        if point is None:
            return None
        try:
            command = point.load()
        except Exception as error:
            # A broken plugin must not take the other commands with it.
            where = f"{point.value} of {point.dist.name}" if point.dist is not None else point.value
            click.secho(f"The command {name!r} ({where}) cannot be loaded: {error!r}", err=True, fg="red")
            return None
        return command if isinstance(command, click.Command) else None

    def app_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Find a command of the application; its context is then active, for callbacks of parameters too."""
        try:
            app = ctx.ensure_object(ScriptInfo).load_app()
        except NoAppException as error:
            click.secho(f"Error: {error.format_message()}\n", err=True, fg="red")
            return None
        current = app_var.get(None)
        if current is None or current.app is not app:
            ctx.with_resource(app.app_context())
        command: click.Command | None = app.cli.get_command(ctx, name)
        return command

    def app_commands(self, ctx: click.Context) -> list[str]:
        """The names of the application's commands; an error in loading it is printed."""
        try:
            names: list[str] = ctx.ensure_object(ScriptInfo).load_app().cli.list_commands(ctx)
        except NoAppException as error:
            if not (isinstance(error, NothingHere) and self.needs_no_app):
                click.secho(f"Error: {error.format_message()}\n", err=True, fg="red")
        except Exception:
            click.secho(f"{traceback.format_exc()}\n", err=True, fg="red")
        else:
            return names
        return []
