"""How the resilience tests attack: the real command in a process of its own, and clients that count every loss.

Nothing of the server is imported but the client of its control socket; all else is seen from outside. The short form
runs always; CARBOY_RESILIENCE=full makes every attack longer. Figures are kept in the
report and printed in a table at the end (in the long form, or with `-v`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from carboy.server.control import ask
from carboy.server.errors import ControlError

FULL = os.environ.get("CARBOY_RESILIENCE") == "full"
SOURCE = Path(__file__).parents[2] / "src"


def eventually(question: Callable[[], Any], within: float, every: float = 0.02) -> float:
    """Wait until the answer is true; return the seconds it took."""
    begun = time.monotonic()
    while not question():
        if time.monotonic() - begun > within:
            raise AssertionError(f"not within {within:g} s: {question}")
        time.sleep(every)
    return time.monotonic() - begun


def is_alive(pid: int) -> bool:
    """True while the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is installed has bytecode, and so has what is attacked here, wherever Python is told to write none.

    Else each of the hundreds of processes that are started here compiles the framework and its libraries anew, which is
    two thirds of its start. The applications are compiled each time: some tests change them within a second.
    """
    where = tmp_path_factory.mktemp("bytecode")
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("PYTHONPYCACHEPREFIX", str(where))
        environ.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        for command in (["-m", "compileall", "-q", str(SOURCE)], ["-c", "import carboy.cli, granian, importlib.metadata"]):
            subprocess.run([sys.executable, *command], env={**os.environ, "PYTHONPATH": str(SOURCE)})
        environ.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield


class Served:
    """A running `carboy run`, seen from outside."""

    def __init__(self, folder: Path, *options: str, target: str = "app:app", descriptors: int | None = None, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or find_free_port()
        self.control = str(folder.resolve() / "control.sock")
        self.output = folder.resolve() / "output.txt"
        environ = {**os.environ, "PYTHONPATH": str(SOURCE), "PWD": str(folder)}
        environ = {name: value for name, value in environ.items() if not name.startswith(("CARBOY_", "FLASK_"))}

        def limit() -> None:
            # A run in the background has SIGINT ignored, and so would have what it starts.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "carboy", "run", target, "--port", str(self.port), "--control", self.control, *options],
                cwd=folder,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=limit,  # noqa: PLW1509 - only the signal and setrlimit
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        return self.output.read_text()

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = ask({"do": "status"}, self.control, timeout=5)["status"]
        return status

    def ready(self) -> list[int]:
        """Pids of the workers that serve."""
        with contextlib.suppress(ControlError):
            return [each["pid"] for each in self.status()["workers"] if each["state"] == "ready"]
        return []

    def pids(self) -> list[int]:
        """Pids of all workers."""
        return [each["pid"] for each in self.status()["workers"]]

    def wait_ready(self, count: int, within: float = 20) -> float:
        def enough() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.text()}")
            return len(self.ready()) == count

        return eventually(enough, within)

    def get(self, path: str = "/", timeout: float = 10) -> str:
        """One request on a connection of its own; the body of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), received
        return body.decode()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, within: float) -> float:
        """Wait for the end of the main process; return the seconds it took."""
        begun = time.monotonic()
        self.process.wait(within)
        return time.monotonic() - begun

    def children(self) -> set[int]:
        """Pids of all that it has started and that is there: workers, and the process that stands by."""
        return {int(each) for each in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()}

    def close(self) -> None:
        """End everything that is left, by pid."""
        left: set[int] = set()
        if self.process.poll() is None:
            left = self.children()
            self.process.kill()
            self.process.wait()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Find a port that nobody uses."""
    return find_free_port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the application, to be changed at will."""
    shutil.copytree(Path(__file__).parent / "app", tmp_path, dirs_exist_ok=True)
    return tmp_path


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[Callable[..., Served]]:
    """Start servers in a directory; all are ended after the block."""
    with contextlib.ExitStack() as started:

        def start(*options: str, ready: int | None = 2, folder: Path = folder, **kwargs: Any) -> Served:
            if ready is not None and "--workers" not in options:
                options = ("--workers", str(ready), *options)
            served = Served(folder, *options, **kwargs)
            started.callback(served.close)
            if ready is not None:
                served.wait_ready(ready)
            return served

        yield start


@pytest.fixture
def run(folder: Path) -> Iterator[Callable[..., Served]]:
    """Start servers; all are ended after the test."""
    with starting(folder) as start:
        yield start


@pytest.fixture(scope="session")
def run_all_along(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Start servers that serve on while other tests run."""
    folder = tmp_path_factory.mktemp("all-along")
    shutil.copytree(Path(__file__).parent / "app", folder, dirs_exist_ok=True)
    with starting(folder) as start:
        yield start


class Closable(Protocol):
    """A socket, or a client that has one."""

    def close(self) -> object: ...


Kept = TypeVar("Kept", bound=Closable)


@pytest.fixture
def keep() -> Iterator[Callable[[Kept], Kept]]:
    """`keep(connection)` has it closed when the test is over, also when it has failed.

    What a failed test leaves open is found by the garbage collector during another one, which then fails for it.
    """
    with contextlib.ExitStack() as kept:

        def keep(connection: Kept) -> Kept:
            kept.callback(connection.close)
            return connection

        yield keep


@dataclass
class Losses:
    """What became of the requests of a load."""

    #: What the clients ask for; may be changed while they run.
    path: str = "/"
    answered: int = 0
    #: Sent on a fresh connection that was accepted, and not (wholly) answered.
    lost: int = 0
    #: Sent on a kept connection that the server was closing; clients repeat these (RFC 9112 §9.3.1).
    repeated: int = 0
    #: The connection was refused: nothing was accepted, so nothing is lost.
    refused: int = 0
    seconds: list[float] = field(default_factory=list)
    pids: set[str] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def __str__(self) -> str:
        return (
            f"{self.answered} answered, {self.lost} lost, {self.repeated} repeated, {self.refused} refused, "
            f"p50 {self.quantile(0.5) * 1000:.1f} ms, p99 {self.quantile(0.99) * 1000:.1f} ms"
        )


class Load:
    """Clients in a thread's loop, each sending one request after the other."""

    def __init__(self, port: int, clients: int, *, kept: bool, path: str, pause: float, body: bytes | None) -> None:
        self.port = port
        self.kept = kept
        self.pause = pause
        self.body = body
        self.losses = Losses(path)
        self.over = False
        self.clients = clients

    async def client(self) -> None:
        losses = self.losses
        while not self.over:
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), 5)
            except (OSError, TimeoutError):
                losses.refused += 1
                await asyncio.sleep(0.05)
                continue
            fresh = True
            try:
                while not self.over or fresh:
                    if not await self.request(reader, writer, fresh) or not self.kept:
                        break
                    fresh = False
                    if self.pause:
                        await asyncio.sleep(self.pause)
            finally:
                writer.close()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fresh: bool) -> bool:
        """Send one request; return whether the connection can be used again."""
        losses = self.losses
        begun = time.monotonic()
        kept = "keep-alive" if self.kept else "close"
        received = False
        try:
            method, length = ("GET", "") if self.body is None else ("POST", f"Content-Length: {len(self.body)}\r\n")
            writer.write(f"{method} {losses.path} HTTP/1.1\r\nHost: localhost\r\nConnection: {kept}\r\n{length}\r\n".encode())
            if self.body:
                writer.write(self.body)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            received = True
            size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await asyncio.wait_for(reader.readexactly(size), 20)
            if not head.startswith(b"HTTP/1.1 200"):
                # An answer, but not the application's: a proxy's 502.
                losses.lost += 1
                return False
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            partial = isinstance(error, asyncio.IncompleteReadError) and error.partial
            if fresh or received or partial or isinstance(error, TimeoutError):
                losses.lost += 1
            else:
                losses.repeated += 1
            return False
        losses.answered += 1
        losses.seconds.append(time.monotonic() - begun)
        release, pid = body.decode().split()
        losses.releases.add(release)
        losses.pids.add(pid)
        return b"connection: close" not in head.lower()

    async def main(self) -> None:
        await asyncio.gather(*(self.client() for _ in range(self.clients)))


@contextlib.contextmanager
def load(port: int, clients: int = 16, *, kept: bool = True, path: str = "/", pause: float = 0.002, body: bytes | None = None) -> Iterator[Losses]:
    """Keep a server busy while the block runs; the losses are complete at its end.

    Args:
        port: where.
        clients: how many at once.
        kept: keep connections between requests, or make one for each.
        path: what they ask for.
        pause: seconds between the requests of a client.
        body: what they send, by POST; None for a GET.
    """
    import threading

    work = Load(port, clients, kept=kept, path=path, pause=pause, body=body)
    thread = threading.Thread(target=lambda: asyncio.run(work.main()), daemon=True)
    thread.start()
    try:
        yield work.losses
    finally:
        work.over = True
        thread.join(30)
        assert not thread.is_alive(), "a client hangs"


@pytest.fixture
def under_load() -> Callable[..., contextlib.AbstractContextManager[Losses]]:
    """`with under_load(port, ...) as losses:`."""
    return load


@pytest.fixture
def full() -> bool:
    """True in the long form."""
    return FULL


@pytest.fixture
def wait_until() -> Callable[..., float]:
    """`wait_until(question, within)` returns the seconds it took."""
    return eventually


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Tell whether a process runs."""
    return is_alive


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """Note a figure: into the report, and into the table at the end of the long form."""
    return lambda name, value: record_property(name, str(value))


@pytest.fixture
def group(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Have many small cases counted on one line of the table."""
    return lambda name: record_property("group", name)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: comes after all others, for what it asks for is waited for while they run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder takes seconds."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what held, with its figures: in the long form, and whenever asked for details (`-v`)."""
    if not FULL and terminalreporter.verbosity <= 0:
        return
    terminalreporter.section("resilience")
    for outcome, word in (("passed", "held"), ("failed", "NOT HELD")):
        groups: Counter[str] = Counter()
        for report in terminalreporter.stats.get(outcome, []):
            if "resilience" not in report.nodeid or report.when != "call":
                continue
            figures = dict(report.user_properties)
            if "group" in figures and outcome == "passed":
                groups[figures["group"]] += 1
                continue
            name = report.nodeid.rpartition("::")[2]
            terminalreporter.write_line(f"{word:<9} {name.removeprefix('test_').replace('_', ' ')}")
            for what, value in report.user_properties:
                terminalreporter.write_line(f"{'':<12}{what}: {value}")
        for name, count in groups.items():
            terminalreporter.write_line(f"{word:<9} {name}: {count} cases")
