"""`carboy run`: the options are those of the server room, made into flags from its one definition."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from ..core.commands import ScriptInfo
from ..core.locate import check_target
from ..server.errors import OptionError
from ..server.options import Field, Options
from .group import debug_option
from .target import with_target

#: On the first help page; the others are on the long one.
COMMON = (
    "host",
    "port",
    "unix",
    "fastcgi",
    "interface",
    "workers",
    "threads",
    "root_path",
    "tls_cert",
    "tls_key",
    "log_level",
)

# Names that other servers use for the same thing.
_ALIASES = {"tls_cert": ("--certfile", "--cert"), "tls_key": ("--keyfile", "--key")}

# FLASK: variables that a project may have set for `flask run`.
_FLASK = {"host": "FLASK_RUN_HOST", "port": "FLASK_RUN_PORT", "tls_cert": "FLASK_RUN_CERT", "tls_key": "FLASK_RUN_KEY"}


class RunCommand(click.Command):
    """A command with more options than fit a screen: they are grouped, and the rare ones are on a page of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        everything = ctx.meta.get(__name__, False)
        known = {each.name: each for each in Options.fields()}
        grouped: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            each = known.get(str(param.name))
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if each is not None and (everything or each.name in COMMON):
                grouped.setdefault(each.group, []).append(_record(each))
            elif each is None and record is not None:
                grouped.setdefault("Other", []).append(record)
        for title, rows in grouped.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Print the help page with every option, and leave."""
    if value and not ctx.resilient_parsing:
        ctx.meta[__name__] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


def option_for(each: Field) -> click.Option:
    """Make the flag of an option; what it may be is decided by the option itself."""
    attrs: dict[str, Any] = {"help": _help(each), "default": None, "callback": _parser(each)}
    if each.kind == "switch":
        attrs["type"] = click.BOOL
    elif each.choices:
        attrs["type"] = click.Choice(each.choices)
    else:
        attrs["type"] = click.UNPROCESSED
    return click.Option([*each.flags, *_ALIASES.get(each.name, ()), each.name], **attrs)


_METAVARS = {
    "text": "TEXT",
    "path": "PATH",
    "whole": "N",
    "seconds": "TIME",
    "bytes": "SIZE",
    "share": "SHARE",
    "octal": "MODE",
    "workers": "N",
}


def _record(each: Field) -> tuple[str, str]:
    """The line of the help page: one spelling, and a placeholder no wider than needed."""
    value = "" if each.kind == "switch" else " " + (each.metavar or ("NAME" if each.choices else _METAVARS[each.kind]))
    listed = not each.choices or all(choice in each.help for choice in each.choices)
    return ", ".join(each.flags) + value, _help(each) if listed else f"{_help(each)} ({', '.join(each.choices)})"


def _help(each: Field) -> str:
    default = each.default
    if default is None or (default == 0 and "0" in each.help) or (default in {0, "auto"} and "auto" in each.help):
        return each.help
    return f"{each.help} [{_text(each, default)}]"


def _text(each: Field, value: Any) -> str:
    if each.kind == "switch":
        return "yes" if value else "no"
    if not value:
        return "off"
    if each.kind == "octal":
        return f"{value:o}"
    if each.kind == "seconds":
        return f"{value:g}s"
    if each.kind == "share":
        return f"{value:.0%}"
    if each.kind == "bytes" and value % 1024 == 0:
        return f"{value // 1024}K"
    return str(value)


def _parser(each: Field) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def parse(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is None:
            return None
        from_variable = ctx.get_parameter_source(each.name) is ParameterSource.ENVIRONMENT
        origin = f"{ctx.auto_envvar_prefix}_{each.name.upper()}" if from_variable else each.flag
        try:
            return each.parse(value, origin)
        except OptionError as error:
            raise click.UsageError(str(error), ctx) from error

    return parse


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables as the server reads them: `flask run`'s stand in where Carboy's own are not set.

    Raises:
        OptionError: one of those of `flask run` has a value that does not fit.
    """
    found = {name: value for name, value in environ.items() if name.startswith("CARBOY_")}
    for each in Options.fields():
        borrowed = _FLASK.get(each.name)
        if borrowed is not None and environ.get(borrowed) and not found.get(each.env):
            each.parse(environ[borrowed], borrowed)
            found[each.env] = environ[borrowed]
    return found


@click.pass_context
def _run(ctx: click.Context, /, **values: Any) -> None:
    info = ctx.ensure_object(ScriptInfo)
    try:
        options = Options.load(values, environment(os.environ), {})
    except OptionError as error:
        raise click.UsageError(str(error), ctx) from error
    check_target(info.app_import_path)
    from ..observe.serving import count_restart, open_shared
    from ..server import Around, serve

    # The main process does not import the application: a reload must be able to load all of it anew.
    sys.exit(serve(info.app_import_path, options, Around("carboy.cli.serving:equip", open_shared, count_restart)))


run_command: click.Command = RunCommand(
    "run",
    params=[
        *(option_for(each) for each in Options.fields()),
        debug_option(),
        click.Option(
            ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=show_all, help="Show every option."
        ),
    ],
    callback=_run,
    help="""\
Serve APP, found as 'MODULE[:NAME]' or as a file; without it, 'wsgi.py' or 'app.py' here.

Each option has a variable too: CARBOY_PORT for '--port'.
""",
)
with_target(run_command)
