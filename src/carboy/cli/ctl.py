"""`carboy ctl`: ask and order a running server through its control socket."""

import json
import sys
from typing import Any

import click

from ..server.control import ask
from ..server.errors import ControlError
from .listing import show, table

_control = click.option(
    "--control",
    metavar="PATH",
    envvar="CARBOY_CONTROL",
    help="The server's control socket; found by itself if you run one server here.",
)


@click.group("ctl", short_help="Ask and order a running server: status, reload, stop, scale N.")
def ctl_command() -> None:
    """Ask and order a running server."""


@ctl_command.command("status")
@_control
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
def status_command(control: str | None, as_json: bool) -> None:
    """Show the workers: pid, age, requests, in flight, memory, loop lag."""
    status = _ordered({"do": "status"}, control, 10)["status"]
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    show(status_lines(status))


@ctl_command.command("reload")
@_control
@click.option("--timeout", default=300.0, metavar="SECONDS", show_default=True, help="Wait so long for the outcome.")
def reload_command(control: str | None, timeout: float) -> None:
    """Load the application anew, worker by worker.

    The first new worker proves the release; if it does not start, nothing is changed and the exit code is 1.
    """
    click.echo(_ordered({"do": "reload"}, control, timeout)["what"])


@ctl_command.command("stop")
@_control
def stop_command(control: str | None) -> None:
    """Stop the server in order: what was accepted is answered."""
    click.echo(_ordered({"do": "stop"}, control, 10)["what"])


@ctl_command.command("scale")
@click.argument("workers", type=click.IntRange(1, 1024))
@_control
def scale_command(workers: int, control: str | None) -> None:
    """Change the number of workers, up or down, without loss."""
    click.echo(_ordered({"do": "scale", "to": workers}, control, 10)["what"])


def _ordered(order: dict[str, Any], control: str | None, timeout: float) -> dict[str, Any]:
    """Send an order; end with exit code 1 and the reason if it is refused or nobody hears it."""
    # "auto" is what the variable says when the server chose the place itself.
    place = None if control in {None, "", "auto"} else control
    try:
        answer = ask(order, place, timeout)
    except ControlError as error:
        click.secho(f"Error: {error}", err=True, fg="red")
        sys.exit(1)
    if not answer["ok"]:
        click.secho(f"Error: {answer['what']}", err=True, fg="red")
        sys.exit(1)
    return answer


def status_lines(status: dict[str, Any]) -> list[str]:
    """The status as a person reads it."""
    restarts = ", ".join(f"{number} {why}" for why, number in status["restarts"].items())
    lines = [
        f"{status['app']} at {status['url']}, {status['interface']}, {status['state']}, main process {status['pid']}",
        f"up {age(status['uptime'])}, release {status['release']}, {status['size']} workers, "
        f"{status['waiting']} connections waiting" + (f", restarts: {restarts}" if restarts else ""),
        "",
    ]
    titles = ("slot", "pid", "state", "release", "age", "requests", "in flight", "memory", "loop lag", "threads", "queued")
    return lines + table(titles, [_row(each) for each in status["workers"]])


def _row(worker: dict[str, Any]) -> tuple[str, ...]:
    state = worker["state"] if worker["accepting"] or worker["state"] != "ready" else "ready, not accepting"
    return (
        str(worker["slot"] + 1),
        str(worker["pid"]),
        state,
        str(worker["release"]),
        age(worker["age"]),
        str(worker["requests"]),
        str(worker["in_flight"]),
        f"{worker['memory'] / 1048576:.0f} MiB",
        f"{worker['lag'] * 1000:.0f} ms",
        str(worker["threads"] or ""),
        str(worker["queue"] or ""),
    )


def age(seconds: float) -> str:
    """A duration in its two greatest units."""
    whole = int(seconds)
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // smaller}{smaller_unit}"
    return f"{whole}s"
