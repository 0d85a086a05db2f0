"""`carboy routes` and `carboy plan` show WebSockets; the app explains them."""

from __future__ import annotations

from typing import Any

import pytest
from socket_app import app

from carboy.cli.plan import lines
from carboy.cli.source import routes_of


def rows(method: str, path: str) -> list[str]:
    return [" ".join(line.split()) for line in lines(app, method, path)]


def test_routes_show_sockets() -> None:
    """The method is WS; the colour and the line are those of the function, of a class its method `websocket`."""
    found = {route.rule: route.answerers[0] for route in routes_of(app, all_methods=True)}

    assert (found["/echo/<room>"].methods, found["/echo/<room>"].colour) == (("WS",), "async")
    assert (found["/sync/class/<room>"].name, found["/sync/class/<room>"].colour) == ("SyncChat.websocket", "sync")
    assert "socket_app.py" in found["/sync/class/<room>"].where


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/echo/x", ["WS /echo/x: answered by echo", "before check_origin sync", "bind room, ws sync", "view echo async"]),
        ("/sync/class/x", ["in one thread for as long as the socket is open", "view SyncChat.websocket sync"]),
        ("/nowhere", ["no route answers; 404 Not Found", "one hop to a worker thread"]),
    ],
)
def test_plan_of_a_handshake(path: str, parts: list[Any]) -> None:
    """`carboy plan WS PATH`: the steps of the handshake, with the check of its origin."""
    text = "\n".join(rows("WS", path))

    assert [part for part in parts if part not in text] == [], text


def test_plan_of_the_page_of_a_socket() -> None:
    """`carboy plan GET PATH` says what such a page is answered with."""
    assert "no route answers; 426 Upgrade Required" in rows("GET", "/echo/x")[0]
