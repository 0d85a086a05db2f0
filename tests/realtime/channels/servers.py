"""Whole servers for the tests, each with its workers, and clients that keep account of what they are sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from carboy.server.control import ask
from carboy.server.errors import ControlError

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src"


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running `carboy run`."""

    def __init__(self, folder: Path, *options: str, workers: int = 4, **environ: str) -> None:
        self.port = find_free_port()
        folder.mkdir(exist_ok=True)
        self.control = str(folder / "control.sock")
        self.output = folder / "output.txt"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_"))}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "carboy", "run", "talk:app", "--port", str(self.port), "--workers", str(workers),
                 "--control", self.control, *options],
                cwd=HERE / "app", env={**inherited, "PYTHONPATH": str(SOURCE), **environ}, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.workers = workers

    def pids(self) -> list[int]:
        with contextlib.suppress(ControlError):
            status = ask({"do": "status"}, self.control, timeout=5)["status"]
            return [each["pid"] for each in status["workers"] if each["state"] == "ready"]
        return []

    async def ready(self, within: float = 40) -> list[int]:
        """Wait until all workers serve."""
        end = time.monotonic() + within
        while len(found := self.pids()) < self.workers:
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < end, self.output.read_text()
            await asyncio.sleep(0.1)
        return found

    def kill(self) -> None:
        """End the whole node at once: main process and workers, by kill -9."""
        pids = self.pids()
        self.process.kill()
        self.process.wait()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    async def request(self, method: str, path: str, body: bytes = b"") -> Any:
        """One request on a connection of its own.

        Raises:
            OSError, ValueError: it was not answered, or not with a 200.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            async with asyncio.timeout(20):
                answer = await reader.read()
        finally:
            writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"answered {answer[:300]!r}")
        return json.loads(content)


class Client:
    """A subscriber over HTTP, which comes again when its connection breaks, with the last id it has seen."""

    def __init__(self, server: Server, topic: str, who: str = "", *, events: bool = False) -> None:
        self.server = server
        self.topic = topic
        self.query = (f"&who={who}" if who else "") + ("&events=1" if events else "")
        self.after = ""
        #: Messages: data, in the order of arrival; events: (event, who).
        self.seen: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.missed = 0
        self.connections = 0
        self.pid = 0
        self.is_listening = asyncio.Event()
        self.task = asyncio.create_task(self.follow())

    async def follow(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                await self.listen()
            self.is_listening.clear()
            await asyncio.sleep(0.05)

    async def listen(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            after = f"&after={self.after}" if self.after else ""
            writer.write(f"GET /listen/{self.topic}?x=1{after}{self.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                return
            rest = b""
            while (length := int(await reader.readline(), 16)) > 0:
                chunk = await reader.readexactly(length + 2)
                *lines, rest = (rest + chunk[:-2]).split(b"\n")
                for line in lines:
                    self.heard(json.loads(line))
        finally:
            writer.close()

    def heard(self, told: dict[str, Any]) -> None:
        if "pid" in told:
            self.pid = told["pid"]
            self.connections += 1
            self.is_listening.set()
            return
        if told["event"] != "message":
            self.events.append((told["event"], told["data"]["who"]))
            return
        self.seen.append(told["data"])
        self.missed += told["missed"]
        self.after = told["id"]

    async def close(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


class SocketClient(Client):
    """The same over a WebSocket, that has joined the topic."""

    async def listen(self) -> None:
        after = f"&after={self.after}" if self.after else ""
        url = f"ws://127.0.0.1:{self.server.port}/listen/{self.topic}?x=1{after}{self.query}"
        with contextlib.suppress(WebSocketException):
            async with connect(url, proxy=None, compression=None, ping_interval=None, close_timeout=2) as line:
                async for text in line:
                    self.heard(json.loads(text))


class Redis:
    """A Redis of the test's own, that may be killed and started again."""

    def __init__(self, folder: Path, *, keeps: bool) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.port = find_free_port()
        self.keeps = keeps
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "redis.out").open("ab") as output:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder),
                 "--appendonly", "yes" if self.keeps else "no", "--appendfsync", "always"],
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            assert time.monotonic() < end, (self.folder / "redis.out").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def find_postgres() -> Path | None:
    """Where the programs of a PostgreSQL server are; Debian keeps them off the path."""
    found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))] or [shutil.which("postgres")]
    return Path(found[-1]).parent if found[-1] else None


class Postgres:
    """A PostgreSQL of the test's own, that may be killed and started again."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder / "data"
        self.binaries = binaries
        self.port = find_free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        # PostgreSQL does not run as root.
        self.user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [binaries / "initdb", "-D", self.folder, "-U", "postgres", "-A", "trust", "--no-sync"],
            check=True, capture_output=True, cwd="/", **self.user,
        )  # fmt: skip

    def start(self) -> None:
        command = [self.binaries / "postgres", "-D", self.folder, "-p", str(self.port), "-k", "", "-c", "listen_addresses=127.0.0.1"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self.user
        )
        import psycopg

        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
                return
            assert time.monotonic() < end
            time.sleep(0.1)

    def stop(self) -> None:
        """A fast shutdown: connections are cut, the tables are kept."""
        if self.process is not None:
            self.process.send_signal(2)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(3)  # immediate: what a crash is, without shared memory left behind
            self.process.wait(30)
            self.process = None


class Publisher:
    """Publishes numbers through any of some servers, and keeps account of what was acknowledged."""

    def __init__(self, servers: list[Server], topic: str, name: str, pause: float = 0.005) -> None:
        self.servers = servers
        self.topic = topic
        self.name = name
        self.pause = pause
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self.longest = 0.0
        self.is_over = False
        self.task = asyncio.create_task(self.publish())

    async def publish(self) -> None:
        number = 0
        while not self.is_over:
            number += 1
            data = f"{self.name}:{number}"
            begun = time.monotonic()
            try:
                await self.servers[number % len(self.servers)].request("POST", f"/publish/{self.topic}", data.encode())
            except (OSError, ValueError, TimeoutError):
                # A worker died with our request in its hands: nobody knows whether it was published.
                self.failed.append(data)
            else:
                self.acknowledged.append(data)
                self.longest = max(self.longest, time.monotonic() - begun)
            await asyncio.sleep(self.pause)

    async def stop(self) -> None:
        self.is_over = True
        await self.task


async def until(question: Any, within: float, what: str) -> float:
    """Wait until the answer is true; the seconds it took."""
    begun = time.monotonic()
    while not question():
        assert time.monotonic() - begun < within, what
        await asyncio.sleep(0.02)
    return time.monotonic() - begun
