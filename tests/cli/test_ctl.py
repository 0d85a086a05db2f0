"""Facts of `carboy ctl`: what it asks, and how the answer looks."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

import carboy.cli.ctl as ctl
from carboy.server.errors import ControlError

Run = Callable[..., Result]
Asked = list[tuple[dict[str, Any], str | None]]

STATUS = {
    "pid": 10,
    "app": "shop",
    "url": "http://127.0.0.1:8000",
    "interface": "asgi",
    "uptime": 3725.0,
    "release": 2,
    "size": 1,
    "state": "serving",
    "waiting": 0,
    "restarts": {},
    "workers": [
        {
            "slot": 0,
            "pid": 11,
            "state": "ready",
            "accepting": True,
            "release": 2,
            "age": 61.0,
            "requests": 5,
            "in_flight": 1,
            "memory": 52428800,
            "lag": 0.002,
            "threads": 8,
            "queue": 0,
        }
    ],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What was asked of the server; it answers as the server does, and refuses a reload."""
    orders: Asked = []

    def ask(order: dict[str, Any], path: str | None = None, timeout: float = 1.0) -> dict[str, Any]:
        orders.append((order, path))
        return {"ok": True, "status": STATUS} if order["do"] == "status" else {"ok": order["do"] != "reload", "what": "said"}

    monkeypatch.setattr(ctl, "ask", ask)
    return orders


def test_the_status_is_two_lines_and_a_table_of_workers(run: Run, asked: Asked) -> None:
    """Times and sizes are for people."""
    lines = run("ctl", "status").output.splitlines()

    assert lines[0] == "shop at http://127.0.0.1:8000, asgi, serving, main process 10"
    assert lines[1].startswith("up 1h 2m, release 2, 1 workers")
    assert " ".join(lines[-1].split()) == "1 11 ready 2 1m 1s 5 1 50 MiB 2 ms 8"


def test_the_status_may_be_had_as_json(run: Run, asked: Asked) -> None:
    """For scripts."""
    assert json.loads(run("ctl", "status", "--json").output)["pid"] == 10


def test_orders_and_numbers_are_passed_on(run: Run, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket too, by option or by variable."""
    assert run("ctl", "scale", "4", "--control", "/run/x.sock").output == "said\n"
    monkeypatch.setenv("CARBOY_CONTROL", "/run/y.sock")
    assert run("ctl", "stop").output == "said\n"

    assert asked == [({"do": "scale", "to": 4}, "/run/x.sock"), ({"do": "stop"}, "/run/y.sock")]


def test_an_order_that_failed_is_an_exit_code(run: Run, asked: Asked) -> None:
    """A reload that did not come through is no success."""
    result = run("ctl", "reload")

    assert result.exit_code == 1
    assert result.stderr == "Error: said\n"


def test_no_server_is_told_in_the_servers_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, no traceback."""

    def ask(*args: object) -> None:
        raise ControlError("no server is running")

    monkeypatch.setattr(ctl, "ask", ask)

    result = run("ctl", "status")

    assert result.exit_code == 1
    assert result.stderr == "Error: no server is running\n"
