"""`carboy plan METHOD PATH`: the whole way of one request, printed from the plan that it would follow."""

from typing import Any

import click

from .listing import show, table
from .source import near
from .target import loaded, with_app_option


@click.command("plan", short_help="Show the whole way of one request, a step a line.")
@click.argument("method")
@click.argument("path")
@click.pass_context
def plan_command(ctx: click.Context, method: str, path: str) -> None:
    """Show the whole way of the request METHOD PATH, a step a line: 'carboy plan GET /posts/3'.

    PATH may be a whole URL, where hosts or subdomains matter. No view is called. A request that no route answers has a
    way too, and so has a redirect.
    """
    if path.isupper() and not method.isupper():
        method, path = path, method  # said the other way round
    if "/" not in path:
        raise click.BadParameter(f"{path!r} is no path; a path begins with /", ctx, param_hint="PATH")
    show(lines(loaded(ctx).explain(method.upper(), path)))


plan_command = with_app_option(plan_command)


def lines(steps: Any) -> list[str]:  # what `explain` gives
    """The table of the steps."""
    rows = []
    phase = None
    for step in steps:
        rows.append((step.phase if step.phase != phase else "", step.name, step.colour, near(step.where)))
        phase = step.phase
    return table(("Phase", "Step", "Colour", "Where"), rows)
