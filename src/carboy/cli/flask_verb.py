"""`carboy flask ...`: the `flask` command on Carboy, with the real Flask installed beside it or not."""

import os

import click

from ..core.commands import ScriptInfo
from .flask_commands import cli


@click.command(
    "flask",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="The 'flask' command, on Carboy: 'carboy flask db upgrade'.",
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def flask_command(ctx: click.Context, args: tuple[str, ...]) -> None:
    """Run the 'flask' command on Carboy; what it starts in turn runs on Carboy too."""
    told = os.environ.get("CARBOY_ALIAS")
    if told == "0":
        raise click.UsageError("CARBOY_ALIAS=0 keeps Carboy out of Flask's way, so there is only 'flask' itself to call.", ctx)
    # Programs that the command starts, a reloader's child among them, import Flask before Carboy.
    os.environ["CARBOY_ALIAS"] = "1"
    try:
        cli.main(args=list(args), prog_name=f"{ctx.find_root().info_name} flask", obj=ctx.ensure_object(ScriptInfo))
    finally:
        if told is None:
            del os.environ["CARBOY_ALIAS"]
