"""How a verb of `carboy` is told which application it works on: as its argument, by `--app`, or not at all."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..core.commands import ScriptInfo
from .group import app_option

F = TypeVar("F", bound=Callable[..., Any])

#: The same option stands before and behind the verb; the nearer one wins.
VARIABLES = ["CARBOY_APP", "FLASK_APP"]


def with_target(command: click.Command) -> click.Command:
    """Give a command the `--app` option and the optional argument APP."""
    command.params.append(click.Argument(["target"], required=False, expose_value=False, callback=_take, metavar="[APP]"))
    return with_app_option(command)


def with_app_option(command: click.Command) -> click.Command:
    """Give a command the `--app` option, as the group has it."""
    command.params.append(app_option(hidden=True))
    return command


def _take(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        ctx.ensure_object(ScriptInfo).app_import_path = value
    return value


def loaded(ctx: click.Context) -> Any:
    """The application of this command line; its class is the user's own."""
    return ctx.ensure_object(ScriptInfo).load_app()
