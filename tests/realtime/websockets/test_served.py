"""Servers of their own: one that stops says goodbye to its sockets, one behind a proxy believes what that tells."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from socket_peers import Closed, Refused, Served

PATHS = ("/echo/x", "/sync/echo/x", "/waits", "/rooms/x")


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    served = Served(request.param, tmp_path)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.wait()


@pytest.mark.parametrize("server", ["carboy run behind a proxy"], indirect=True)
def test_origin_is_compared_with_the_host_that_a_trusted_proxy_tells(server: Any) -> None:
    """The proxy's word counts: for the check of the origin, and for the socket's own URL, which is wss behind TLS."""
    told = [("X-Forwarded-Host", "board.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7")]

    with server.open("/urls", headers=[*told, ("Origin", "https://board.example")]) as line:
        assert json.loads(line.receive()) == ["wss://board.example/echo/a%20b", "https://board.example/session", "wss://board.example/urls"]
    for origin in ("https://other.example", f"http://127.0.0.1:{server.port}"):
        with pytest.raises(Refused) as refused, server.open("/echo/x", headers=[*told, ("Origin", origin)]):
            pass
        assert refused.value.status == 403


@pytest.mark.parametrize("server", ["uvicorn", "carboy run"], indirect=True)
def test_stopping_server_closes_its_sockets(server: Any) -> None:
    """SIGTERM: each peer hears of it, whatever its view waits for, and the process ends at once.

    `carboy run` knows that it does not come back, so the code is 1001. Uvicorn closes with 1012 itself.
    """
    code = 1001 if server.name == "carboy run" else 1012
    with ExitStack() as stack:
        lines = [stack.enter_context(server.open(path)) for path in PATHS]
        for line in lines[:2]:
            line.send("hello")
            assert line.receive() == "x: hello"
        begun = time.monotonic()

        server.process.send_signal(signal.SIGTERM)

        for line in lines:
            with pytest.raises(Closed) as closed:
                while True:
                    line.receive(10)
            assert closed.value.code == code
    # Uvicorn ends by the signal it was sent.
    assert server.process.wait(15) in (0, -signal.SIGTERM)
    assert time.monotonic() - begun < 10
    assert "Traceback" not in server.text(), server.text()


@pytest.mark.parametrize("server", ["carboy run"], indirect=True)
def test_reload_closes_the_sockets_of_the_old_worker(server: Any) -> None:
    """SIGHUP: who is connected gets 1012, and is served by the new worker when it comes again."""
    with server.open("/echo/x") as line:
        line.send("hello")
        line.receive()

        server.process.send_signal(signal.SIGHUP)

        with pytest.raises(Closed) as closed:
            line.receive(15)
        assert closed.value.code == 1012
    with server.open("/echo/y") as line:
        line.send("again")
        assert line.receive() == "y: again"
