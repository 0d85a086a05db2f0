"""A server that stops says goodbye: open sockets are closed with 1012, their views end, nothing keeps the process."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from socket_peers import Closed, Served

PATHS = ("/echo/x", "/sync/echo/x", "/waits", "/rooms/x")


@pytest.fixture(params=["uvicorn", "carboy run"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    served = Served(request.param, tmp_path)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.wait()


def test_stopping_server_closes_its_sockets(server: Any) -> None:
    """SIGTERM: each peer gets 1012, whatever its view waits for, and the process ends at once."""
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
            assert closed.value.code == 1012
    # Uvicorn ends by the signal it was sent.
    assert server.process.wait(15) in (0, -signal.SIGTERM)
    assert time.monotonic() - begun < 10
    assert "Traceback" not in server.text(), server.text()
