"""The examples of `docs/services.md` run and do what the page says; Twisted among them, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "docs" / "examples" / "realtime"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place for copies of examples, whose ports are changed to free ones."""
    return tmp_path


def copied(folder: Path, name: str, told: str) -> int:
    """Put an example there; return the port in the place of the one it tells."""
    port = free_port()
    text = (EXAMPLES / f"{name}.py").read_text()
    assert text.count(told) == 1
    (folder / f"{name}.py").write_text(text.replace(told, f"127.0.0.1:{port}"))
    return port


@contextlib.contextmanager
def served(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_"))}
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, stdout=output, stderr=subprocess.STDOUT,
            env=environment | {"PYTHONPATH": str(PROJECT / "src")},
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(40)


def get(folder: Path, url: str, within: float = 30) -> str:
    """The answer, once there is a server."""
    end = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < end, (folder / "output.txt").read_text()
            time.sleep(0.05)


def test_background(caplog: pytest.LogCaptureFixture) -> None:
    """An order is answered before its mail is sent; the loop keeps the rates; a group is waited for."""
    app = runpy.run_path(str(EXAMPLES / "background.py"), run_name="background")["app"]

    async def main() -> tuple[int, str, Any]:
        with caplog.at_level("INFO"):
            async with app.async_test_client() as client:
                answer = await client.post("/orders", data={"email": "ann@example.org"})
                assert "sent to" not in caplog.text
                together = (await client.get("/together")).text
                rates = app.extensions["rates"]
            return answer.status_code, together, rates

    assert asyncio.run(main()) == (202, "ab", {"EUR": 1.0})
    assert "sent to ann@example.org, asked for at http://localhost/orders" in caplog.text


def test_line_service(folder: Path) -> None:
    """Values of a connection, and the count of connections by HTTP."""
    port, http = copied(folder, "line_service", "127.0.0.1:7000"), free_port()

    with served(folder, "carboy", "run", "line_service:app", "--port", str(http), "--workers", "1", "--control", "off"):
        get(folder, f"http://127.0.0.1:{http}/")
        with socket.create_connection(("127.0.0.1", port), 5) as peer, peer.makefile("rw") as file:
            peer.settimeout(5)
            for sent, heard in (("SET a 1", "OK"), ("GET a", "1"), ("GET b", "nothing"), ("?", "line_service knows SET and GET")):
                file.write(f"{sent}\n")
                file.flush()
                assert file.readline() == f"{heard}\n"
            assert json.loads(get(folder, f"http://127.0.0.1:{http}/")) == {"connections": 1, "accepted": 1}


SERVERS = {
    "uvloop": ("carboy", "run", "twisted_service:app", "--workers", "2", "--control", "off", "--loop", "uvloop"),
    "asyncio": ("carboy", "run", "twisted_service:app", "--workers", "2", "--control", "off", "--loop", "asyncio"),
    "wsgi": ("carboy", "run", "twisted_service:app", "--workers", "2", "--control", "off", "--interface", "wsgi"),
    "uvicorn": ("uvicorn", "twisted_service:app"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_twisted_service(folder: Path, server: str) -> None:
    """A Twisted protocol and HTTP on one loop; at the end the line in progress is answered, then the connection closed."""
    pytest.importorskip("twisted", reason="`pip install twisted`")
    port, http = copied(folder, "twisted_service", "127.0.0.1:7001"), free_port()

    with served(folder, *SERVERS[server], "--port", str(http)) as process:
        assert get(folder, f"http://127.0.0.1:{http}/") == "from a Deferred"
        with socket.create_connection(("127.0.0.1", port), 5) as peer, peer.makefile("rw") as file:
            peer.settimeout(10)
            for _ in range(2):
                file.write("hello\n")
                file.flush()
                assert file.readline() == "HELLO from twisted_service\n"
            file.write("last\n")
            file.flush()
            process.send_signal(signal.SIGTERM)
            assert file.readline() == "LAST from twisted_service\n"
            assert file.readline() == ""
        # uvicorn takes the signal's own way out.
        assert process.wait(20) in {0, -signal.SIGTERM}
    assert "Traceback" not in (folder / "output.txt").read_text()


def test_a_reactor_that_was_there_first_is_said(folder: Path) -> None:
    """Imported at the top of a file it is Twisted's default one; the start fails and says what to do."""
    pytest.importorskip("twisted", reason="`pip install twisted`")
    copied(folder, "twisted_service", "127.0.0.1:7001")
    path = folder / "twisted_service.py"
    path.write_text("from twisted.internet import reactor\n" + path.read_text())

    with served(folder, "carboy", "run", "twisted_service:app", "--port", str(free_port()), "--workers", "1", "--control", "off") as process:
        assert process.wait(30) == 1

    assert "import it inside the functions that use it" in (folder / "output.txt").read_text()


@pytest.mark.parametrize("door", ["wsgi", "asgi", "rsgi"])
def test_tornado_mounted(door: str) -> None:
    """Both applications answer."""
    pytest.importorskip("tornado", reason="`pip install tornado`")
    app = runpy.run_path(str(EXAMPLES / "tornado_mounted.py"), run_name="tornado_mounted")["app"]
    client = app.test_client(door=door)

    assert client.get("/legacy/greet/Ann").text == "Hello from Tornado, Ann!"
    assert client.get("/").text == "Hello from Carboy!"


def test_what_an_app_has_beside_requests_is_listed(folder: Path) -> None:
    """`carboy services`: names, addresses, kinds and places; loops too; nothing where there is nothing."""
    copied(folder, "line_service", "127.0.0.1:7000")
    (folder / "background.py").write_text((EXAMPLES / "background.py").read_text())
    (folder / "plain.py").write_text("from carboy import Carboy\napp = Carboy(__name__)\n")
    said = {
        name: subprocess.run(
            [sys.executable, "-m", "carboy", "services", f"{name}:app"], cwd=folder, capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONPATH": str(PROJECT / "src")},
        ).stdout
        for name in ("line_service", "background", "plain")
    }  # fmt: skip

    assert "values  tcp://127.0.0.1:" in said["line_service"] and "10000 connections, idle 300 s" in said["line_service"]
    assert "line_service.py:6" in said["line_service"]
    assert "refresh_rates  background loop" in said["background"]
    assert said["plain"] == "Nothing runs beside the requests.\n"
