"""Real servers in processes of their own, on free ports, ended by pid. No tests live here."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
PATIENCE = 20.0

Address = tuple[str, int] | str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(address: Address) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


class Server:
    """A server's command, running.

    Args:
        command: without the interpreter: `-m carboy run ...`.
        address: where it will listen.
        folder: for its output.
    """

    def __init__(self, command: list[str], address: Address, folder: Path) -> None:
        self.address = address
        self.output = folder / "output.txt"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_", "GUNICORN_"))}
        environ["PYTHONPATH"] = str(SOURCE)
        with self.output.open("wb") as output:
            # A session of its own: what a server leaves behind is ended with it.
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=HERE, env=environ, stdout=output, stderr=output, start_new_session=True
            )

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            AssertionError: it ended, or took too long; with what it wrote.
        """
        end = time.monotonic() + PATIENCE
        while not listens(self.address):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the server did not start: {self.text()}")
            time.sleep(0.02)

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def stop(self) -> None:
        """Ask it to end, and see that nothing of it is left."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def carboy(*options: str, folder: Path) -> list[str]:
    return ["-m", "carboy", "run", "subject:app", *(() if "--workers" in options else ("--workers", "1")), "--control", str(folder / "control"), "--log-level", "warning", "--security", "off", "--no-compress", *options]


def start(kind: str, folder: Path) -> Server:
    """Start a server of a kind in `KINDS`; FastCGI is started without its nginx."""
    port = free_port()
    address: Address = ("127.0.0.1", port)
    bind = f"127.0.0.1:{port}"
    door = kind.rpartition(" ")[2]
    if kind.startswith("carboy run"):
        if door == "unix":
            address = str(folder / "s")
            command = carboy("--unix", address, folder=folder)
        elif door == "fastcgi":
            address = str(folder / "s")
            command = carboy("--fastcgi", f"unix:{address}", folder=folder)
        else:
            command = carboy("--port", str(port), "--interface", door, folder=folder)
    elif kind.startswith("granian"):
        interface = {"wsgi": "wsgi", "asgi": "asgi", "rsgi": "rsgi"}[door]
        command = ["-m", "granian", "--interface", interface, "--host", "127.0.0.1", "--port", str(port), "--no-ws", "subject:app"]
    elif kind == "uvicorn":
        command = ["-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "subject:app"]
    elif kind == "uvicorn h11":
        command = ["-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--http", "h11", "--log-level", "warning", "subject:app"]
    elif kind.startswith("gunicorn"):
        command = ["-m", "gunicorn", "--bind", bind, "--worker-class", door, "--log-level", "warning", "--no-control-socket", "subject:app"]
    else:
        raise ValueError(kind)
    return Server(command, address, folder)


#: Every way to serve the application that the project answers for.
KINDS = (
    "carboy run asgi",
    "carboy run wsgi",
    "carboy run rsgi",
    "carboy run unix",
    "granian asgi",
    "granian wsgi",
    "granian rsgi",
    "uvicorn",
    "uvicorn h11",
    "gunicorn sync",
    "gunicorn gthread",
    "gunicorn asgi",
    "carboy run fastcgi",
)


@contextlib.contextmanager
def running(kind: str, folder: Path) -> Iterator[Server]:
    """Run a server while the block runs."""
    server = start(kind, folder)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
