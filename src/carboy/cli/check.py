"""`carboy check`: every mistake of setup that can be found without a request, each with what to do about it."""

import sys

import click

from ..core.errors import SetupError
from .target import loaded, with_target


@click.command("check", short_help="Find mistakes of setup: views, rules, settings.")
@click.pass_context
def check_command(ctx: click.Context) -> None:
    """Load the application, compile every route, and run the checks of its equipment.

    Leaves with 1 if something is wrong, so that a pipeline stops.
    """
    app = loaded(ctx)
    problems = []
    try:
        app.freeze()
    except SetupError as error:
        problems.append(("routes", str(error)))
    problems.extend(app.run_checks())
    for name, text in problems:
        click.echo(f"{name}: {text}")
    count = len(app.checks) + 1
    if problems:
        click.echo(f"{len(problems)} of {count} checks found something.")
        sys.exit(1)
    click.echo(f"{count} checks, nothing found.")


check_command = with_target(check_command)
