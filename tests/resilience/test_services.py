"""Protocols beside HTTP under `carboy run`: shared by all workers, drained with them, and never lost by a reload."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DOORS = {"asgi": (), "asyncio": ("--loop", "asyncio"), "rsgi": ("--interface", "rsgi"), "wsgi": ("--interface", "wsgi")}


@pytest.fixture
def port(folder: Path, free_port: Callable[[], int]) -> int:
    """Where the line protocol and the clock listen."""
    port = free_port()
    (folder / "service-port").write_text(str(port))
    return port


class Line:
    """A client of the line protocol."""

    def __init__(self, port: int | str, timeout: float = 10) -> None:
        self.socket = socket.socket(socket.AF_UNIX) if isinstance(port, str) else socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.settimeout(timeout)
        if isinstance(port, str):
            self.socket.connect(port)
        self.file = self.socket.makefile("rb")

    def send(self, command: str) -> None:
        self.socket.sendall(command.encode() + b"\n")

    def ask(self, command: str) -> str:
        self.send(command)
        return self.hear()

    def hear(self) -> str:
        """The next line, or nothing at the end."""
        return self.file.readline().decode().strip()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()
        self.socket.close()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.3).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("door", DOORS)
def test_a_line_protocol_and_http_are_drained_together(run: Any, port: int, wait_until: Any, figure: Any, door: str) -> None:
    """SIGTERM: nobody new is let in, a quiet connection ends, a command in progress is answered, HTTP as ever."""
    served = run("--stop-timeout", "15", *DOORS[door], target="beside:app", ready=2)

    with Line(port) as busy, Line(port) as quiet, Line(port) as half:
        assert quiet.ask("SET a 1") == "+OK"
        assert quiet.ask("GET a") == "$1 of beside"
        assert served.get("/").startswith("one ")
        assert half.ask("PING").startswith("+PONG one")
        busy.send("SLEEP 1.5")
        time.sleep(0.3)
        begun = time.monotonic()
        served.signal(signal.SIGTERM)
        assert quiet.hear() == ""
        quiet_after = time.monotonic() - begun
        assert is_refused(port)
        assert busy.hear() == "+SLEPT"
        assert busy.hear() == ""
    seconds = time.monotonic() - begun
    served.wait(10)

    figure("quiet connection ended after, seconds", f"{quiet_after:.2f}")
    figure("busy one answered after, seconds", f"{seconds:.2f}")
    assert quiet_after < 1.2
    assert served.process.returncode == 0
    assert "cut off" not in served.text()


def test_a_deaf_handler_does_not_hold_the_stop(run: Any, port: int, figure: Any) -> None:
    """Within the stop time-out it is cancelled, in order: the worker ends by itself and says what it cut."""
    served = run("--stop-timeout", "3", target="beside:app", ready=1)

    with Line(port) as deaf:
        deaf.send("DEAF")
        time.sleep(0.3)
        begun = time.monotonic()
        served.signal(signal.SIGTERM)
        assert deaf.hear() == ""
        served.wait(10)
    seconds = time.monotonic() - begun

    figure("gone after, seconds", f"{seconds:.2f}")
    assert seconds < 4
    assert served.process.returncode == 0
    assert "lines: 1 connections were cut off" in served.text()
    assert "did not leave in time" not in served.text()
    assert (served.folder / "notes").read_text().split() == ["begun", "ended"]


def test_all_workers_share_the_port(run: Any, port: int, wait_until: Any) -> None:
    """Connections and datagrams are served by either; the Unix socket is there and goes with the server."""
    served = run(target="beside:app", ready=2)
    pids: set[str] = set()
    clocks: set[str] = set()

    def both() -> bool:
        with Line(port) as line:
            pids.add(line.ask("PING").split()[-1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(5)
            peer.sendto(b"time", ("127.0.0.1", port))
            clocks.add(peer.recv(100).decode().split()[-1])
        return len(pids) == len(clocks) == 2

    wait_until(both, 15)
    with Line(str(served.folder / "service.sock")) as line:
        assert line.ask("PING").startswith("+PONG one")
    assert pids == clocks == {str(pid) for pid in served.ready()}

    served.signal(signal.SIGTERM)
    served.wait(20)

    assert not (served.folder / "service.sock").exists()


@contextlib.contextmanager
def knocking(port: int, clients: int = 4) -> Iterator[dict[str, int]]:
    """Clients that connect, ask once and go, again and again; what was not answered is counted."""
    seen: dict[str, int] = {}
    over = threading.Event()
    lock = threading.Lock()

    def note(what: str) -> None:
        with lock:
            seen[what] = seen.get(what, 0) + 1

    def client() -> None:
        while not over.is_set():
            try:
                with Line(port) as line:
                    answer = line.ask("PING")
                note(answer.split()[1] if answer.startswith("+PONG") else "lost")
            except OSError as error:
                note(f"lost: {type(error).__name__}")

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for each in threads:
        each.start()
    try:
        yield seen
    finally:
        over.set()
        for each in threads:
            each.join(15)
            assert not each.is_alive()


def test_a_rolling_reload_loses_no_connection(run: Any, port: int, wait_until: Any, figure: Any) -> None:
    """Whatever waits in the queue is taken by the next worker."""
    served = run(target="beside:app", ready=2)
    path = served.folder / "beside.py"

    with knocking(port) as seen:
        time.sleep(0.3)
        path.write_text(path.read_text().replace('RELEASE = "one"', 'RELEASE = "two"'))
        served.signal(signal.SIGHUP)
        wait_until(lambda: "renewed, release 2" in served.text(), 30)
        time.sleep(0.3)

    figure("connections", seen)
    assert set(seen) == {"one", "two"}
    assert min(seen.values()) > 10


def test_a_release_may_listen_elsewhere(run: Any, port: int, folder: Path, free_port: Any, wait_until: Any) -> None:
    """A new address is bound for the new release; the old one is closed when nobody asks for it any more."""
    served = run(target="beside:app", ready=1)
    other = free_port()
    (folder / "service-port").write_text(str(other))

    served.signal(signal.SIGHUP)
    wait_until(lambda: "renewed, release 2" in served.text(), 30)

    with Line(other) as line:
        assert line.ask("PING").startswith("+PONG")
    wait_until(lambda: is_refused(port), 10)


def test_a_release_whose_port_is_taken_does_not_replace_the_old(run: Any, port: int, folder: Path, wait_until: Any) -> None:
    """The reload fails, with the reason; the old release goes on."""
    served = run(target="beside:app", ready=1)

    with socket.create_server(("127.0.0.1", 0)) as stranger:
        (folder / "service-port").write_text(str(stranger.getsockname()[1]))
        served.signal(signal.SIGHUP)
        wait_until(lambda: "reload: the new release does not start" in served.text(), 30)

    assert "is taken: another server listens there" in served.text()
    with Line(port) as line:
        assert line.ask("PING").startswith("+PONG one")
    assert served.get("/").startswith("one")


def test_a_port_that_a_stranger_has_is_said_before_anything_is_served(run: Any, port: int) -> None:
    """By the main process, once, in a sentence; the exit code is 1."""
    with socket.create_server(("127.0.0.1", port)):
        served = run("--workers", "2", target="beside:app", ready=None)
        served.process.wait(20)

    assert served.process.returncode == 1
    assert f"carboy: the service lines: tcp://127.0.0.1:{port} is taken: another server listens there." in served.text()
    assert "Traceback" not in served.text()
    assert not (served.folder / "service.sock").exists()


def test_a_worker_that_dies_takes_only_its_own_connections(run: Any, port: int, wait_until: Any) -> None:
    """The socket is the main process's: who connects meanwhile waits for the next worker."""
    served = run(target="beside:app", ready=1)
    (pid,) = served.ready()

    os.kill(pid, signal.SIGKILL)
    with Line(port, timeout=20) as line:
        answer = line.ask("PING")

    assert answer.startswith("+PONG one") and not answer.endswith(f" {pid}")


@pytest.mark.parametrize("door", ["asgi", "wsgi"])
def test_background_work_is_waited_for(run: Any, port: int, door: str) -> None:
    """Work of both colours that is to be waited for ends before the worker; the rest is cancelled, the loops too."""
    served = run(*DOORS[door], "--stop-timeout", "15", target="beside:app", ready=1)

    assert served.get("/spawn/1.5") == "spawned"
    served.signal(signal.SIGTERM)
    seconds = served.wait(14)

    assert sorted((served.folder / "notes").read_text().splitlines()) == ["begun", "blocking work done", "ended", "work done"]
    assert seconds < 8
    assert served.process.returncode == 0


def test_under_uvicorn(folder: Path, port: int, free_port: Any, wait_until: Any) -> None:
    """Started and drained by the ASGI lifespan, without a main process of ours."""
    http = free_port()
    with (folder / "uvicorn.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "beside:app", "--port", str(http), "--log-level", "warning"],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or not is_refused(port), 20)
        with Line(port) as busy, Line(port) as quiet:
            assert quiet.ask("PING").startswith("+PONG one")
            busy.send("SLEEP 1")
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert quiet.hear() == ""
            assert busy.hear() == "+SLEPT"
        process.wait(10)
    finally:
        process.kill()
        process.wait()

    assert (folder / "notes").read_text().split() == ["begun", "ended"]
