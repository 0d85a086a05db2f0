"""What `carboy run` promises of its workers: many requests that wait do so together, and two workers are two processes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the harness is found whatever pytest's import mode

from client import Case, Connection
from processes import HERE, Server, carboy, free_port


@pytest.fixture
def serve() -> Iterator:
    """Start `carboy run` with options; ended after the test."""
    servers = []
    with tempfile.TemporaryDirectory(prefix="srv") as folder:

        def start(*options: str) -> tuple[str, int]:
            port = free_port()
            command = carboy("--port", str(port), *options, folder=Path(folder))
            server = Server(command, ("127.0.0.1", port), Path(folder))
            servers.append(server)
            server.wait()
            return "127.0.0.1", port

        yield start
        for server in servers:
            server.stop()


def test_a_thousand_requests_that_wait_a_second_take_little_more(serve, record_property) -> None:
    """1,000 concurrent `await asyncio.sleep(1)` on one worker are answered in under 1.5 s."""
    _, port = serve("--workers", "1")
    warm = Connection(("127.0.0.1", port))
    warm.ask(Case("warm", "/async/json"))
    warm.close()

    took: list[float] = []
    for _ in range(3):  # a machine with other work may need a second attempt; the promise is the server's, not the machine's
        crowd = [sys.executable, "crowd.py", str(port), "/second", "1000"]
        seconds, good = subprocess.run(crowd, cwd=HERE, capture_output=True, text=True, check=True, timeout=30).stdout.split()
        took.append(float(seconds))
        assert int(good) == 1000
        if took[-1] < 1.5:
            break

    record_property("seconds", took)
    assert 1.0 <= min(took) < 1.5, took


def test_two_workers_are_two_processes_that_answer(serve) -> None:
    """With `--workers 2`, answers come from two pids, neither of which is the main process."""
    address = serve("--workers", "2")

    pids = set()
    deadline = time.monotonic() + 15
    while len(pids) < 2 and time.monotonic() < deadline:
        connection = Connection(address)
        pids.add(json.loads(connection.ask(Case("pid", "/pid")).body)["pid"])
        connection.close()

    assert len(pids) == 2
