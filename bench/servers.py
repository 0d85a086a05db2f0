"""Servers that are measured: started on a core of their own, watched from outside by what /proc says of their processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """A server has ended, or does not answer; the text has the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def processes_of(pid: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += parents.get(one, [])
    return found


def processor_seconds(pids: Iterable[int]) -> float:
    """Processor time (user and system) that processes have used so far, all their threads together."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mib(pids: Iterable[int]) -> float:
    """Resident memory of the largest process: the worker."""
    sizes = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids]
    return max(int(size[1]) for size in sizes if size) / 1024


class Server:
    """A server on a free port, with all its processes pinned to some cores."""

    def __init__(
        self, command: Sequence[str], port: int, cores: Iterable[int], log: Path, *, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it, and wait until it takes connections.

        Raises:
            NotStarted: it has ended, or does not listen after half a minute.
        """
        self.port = port
        self.log = log
        pinned = set(cores)
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=lambda: os.sched_setaffinity(0, pinned),
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise NotStarted(self.last_words() or f"exit status {self.process.returncode}")
            time.sleep(0.05)
        self.pids = processes_of(self.process.pid)

    def wait_for_answer(self, seconds: float = 30) -> None:
        """Wait until it answers a request, whatever the answer: a master may listen before its workers can answer.

        Raises:
            NotStarted: it does not.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as peer:
                peer.sendall(b"GET /json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if peer.recv(5) == b"HTTP/":
                    self.pids = processes_of(self.process.pid)
                    return
            time.sleep(0.1)
        self.stop()
        raise NotStarted(self.last_words() or "it takes connections and does not answer")

    def last_words(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-12:])

    def processor_seconds(self) -> float:
        return processor_seconds(self.pids)

    def stop(self) -> None:
        """End it and all it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
