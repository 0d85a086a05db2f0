"""`carboy services`: what the application does beside requests: other protocols, and loops of its own."""

import click

from ..pipeline.step import is_async
from .listing import show, table
from .target import loaded, with_target


@click.command("services", short_help="List what runs beside the requests: protocols, background loops.")
@click.pass_context
def services_command(ctx: click.Context) -> None:
    """List the protocols that the application speaks beside HTTP, with their addresses, and its background loops."""
    app = loaded(ctx)
    rows = []
    for each in vars(app).get("listeners", ()):
        kind = "coroutine" if is_async(each.handler) else "protocol"
        limits = [f"{each.max_connections} connections"] if each.address.kind != "udp" else []
        limits += [f"idle {each.idle_timeout:g} s"] if each.idle_timeout is not None else []
        rows.append((each.name, each.url + (" with TLS" if each.tls is not None else ""), kind, ", ".join(limits), each.place))
    tasks = vars(app).get("tasks")
    rows += [(each.name, "", "background loop", "", each.place) for each in (tasks.backgrounds if tasks is not None else ())]
    if not rows:
        click.echo("Nothing runs beside the requests.")
        return
    show(table(("Name", "Address", "Kind", "Limits", "Where"), rows))


services_command = with_target(services_command)
