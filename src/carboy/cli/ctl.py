"""`carboy ctl`: ask a running server how it fares, or tell it to reload, stop or change its size."""

import json
import sys
from typing import Any

import click

from ..server.control import ask
from ..server.errors import ControlError
from .listing import show, table


@click.command("ctl", short_help="Ask or tell a running server: status, reload, stop, scale.")
@click.argument("order", type=click.Choice(("status", "reload", "stop", "scale")))
@click.argument("number", type=click.IntRange(1, 1024), required=False)
@click.option("--control", metavar="PATH", help="The server's control socket, where there are several.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.pass_context
def ctl_command(ctx: click.Context, order: str, number: int | None, control: str | None, as_json: bool) -> None:
    """Ask a running server of this user, or tell it something.

    \b
    status   workers with their process ids, age, requests, memory
    reload   load the application anew; old workers finish what they have
    stop     finish what was accepted, then end
    scale N  change the number of workers
    """
    if (order == "scale") is not (number is not None):
        raise click.UsageError("'scale' needs a number of workers, and only 'scale' takes one.", ctx)
    try:
        answer = ask({"do": order, "to": number} if number is not None else {"do": order}, control)
    except ControlError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif "status" in answer:
        show(status_lines(answer["status"]))
    else:
        click.echo(answer.get("what", ""), err=not answer.get("ok"))
    if not answer.get("ok"):
        sys.exit(1)


def status_lines(status: dict[str, Any]) -> list[str]:  # what the supervisor says of itself
    """The state of the server in a line, then its workers in a table."""
    head = (
        f"{status['app']} at {status['url']} ({status['interface']}), {status['state']}, release {status['release']}, "
        f"up {_time(status['uptime'])}, main process {status['pid']}, {status['waiting']} waiting"
    )
    rows = [
        (
            str(worker["pid"]),
            str(worker["state"]),
            str(worker["release"]),
            _time(worker["age"]),
            str(worker["requests"]),
            str(worker["in_flight"]),
            f"{worker['memory'] / 2**20:.0f} MB" if worker["memory"] else "",
            f"{worker['lag'] * 1000:.0f} ms" if worker["lag"] is not None else "",
        )
        for worker in status["workers"]
    ]
    return [head, "", *table(("Worker", "State", "Release", "Age", "Requests", "Now", "Memory", "Lag"), rows)]


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
