"""A room of many WebSockets: `python bench/rooms.py [--sockets N] [--messages N] [--workers N] [--idle N]`.

It starts `carboy run` on this file's own application, whose sockets do `ws.join`, and holds raw connections to it from one
process, with one epoll. A second process publishes, through the server, at a steady pace; each message carries its number and
the moment before it was published (one clock for all processes). Printed: milliseconds from publishing until the frame was read, over all
sockets and messages; whether each socket had every message once and in order; and, with `--idle`, what an idle socket
costs, as resident and as proportional memory of the worker with and without the sockets.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import sockets

from carboy import Carboy, Request, WebSocket
from carboy.server.control import ask
from carboy.server.errors import ControlError

app = Carboy(__name__)


@app.websocket("/room/<name>")
async def room(ws: WebSocket, name: str) -> None:
    await ws.join(name)
    async for _ in ws:
        pass


@app.websocket("/idle")
async def idle(ws: WebSocket) -> None:
    await ws.accept()
    async for _ in ws:
        pass


@app.post("/publish/<name>")
async def publish(name: str, request: Request) -> dict[str, str]:
    return {"id": await app.channels.publish(name, request.get_data(as_text=True))}


class Serving:
    """A `carboy run` of the application above; the pids of its workers."""

    def __init__(self, folder: str, workers: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.control = f"{folder}/control.sock"
        self.output = Path(folder, "output.txt")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "carboy", "run", "rooms:app", "--port", str(self.port), "--workers", str(workers), "--control", self.control],
                cwd=Path(__file__).parent, stdout=output, stderr=output,
            )  # fmt: skip
        self.workers = workers

    def ready(self) -> list[int]:
        """The workers' pids, once all serve.

        Raises:
            RuntimeError: they do not within half a minute.
        """
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(ControlError):
                told = ask({"do": "status"}, self.control, timeout=5)["status"]["workers"]
                pids = [each["pid"] for each in told if each["state"] == "ready"]
                if len(pids) == self.workers:
                    return pids
            time.sleep(0.1)
        raise RuntimeError(self.output.read_text())

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def serving(workers: int) -> Iterator[Serving]:
    with tempfile.TemporaryDirectory(prefix="carboy-rooms-") as folder:
        server = Serving(folder, workers)
        try:
            server.ready()
            yield server
        finally:
            server.stop()


class Member:
    """One socket of the room, and what it was sent."""

    def __init__(self, port: int, path: str) -> None:
        self.peer = sockets.connect(port, path)
        self.rest = b""
        self.seen: list[int] = []

    def read(self) -> list[float]:
        """The moments at which the messages that are there now were published.

        Raises:
            sockets.Refused: the connection was closed, or a frame is no whole text of less than 126 bytes.
        """
        more = self.peer.recv(65536)
        if not more:
            raise sockets.Refused("the connection was closed")
        data, at, found = self.rest + more, 0, []
        while len(data) - at >= 2 and len(data) - at >= 2 + data[at + 1]:
            kind, size = data[at], data[at + 1]
            if kind == 0x89:  # a ping
                self.peer.sendall(b"\x8a\x80" + sockets.MASK)
            elif kind == 0x81 and size < 126:
                number, _, moment = data[at + 2 : at + 2 + size].partition(b" ")
                self.seen.append(int(number))
                found.append(float(moment))
            else:
                raise sockets.Refused(f"not a whole text frame: {data[at : at + 16]!r}")
            at += 2 + size
        self.rest = data[at:]
        return found


def publish_all(port: int, messages: int, pause: float) -> None:
    """The second process: publish, and print the seconds that each publication took."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took = []
    for number in range(messages):
        begun = time.monotonic()
        client.request("POST", "/publish/r", f"{number} {begun:.6f}")
        answer = client.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"publication {number} was answered with {answer.status}")
        took.append(time.monotonic() - begun)
        time.sleep(max(0.0, pause - took[-1]))
    print(json.dumps(took))


def measure_room(count: int, messages: int, pause: float, workers: int) -> str:
    with serving(workers) as server:
        members = [Member(server.port, "/room/r") for _ in range(count)]
        poll = select.epoll()
        by_number = {member.peer.fileno(): member for member in members}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        # The accept is told before the room is joined on the bus of the host.
        time.sleep(2)
        publisher = subprocess.Popen(
            [sys.executable, __file__, "--publish", str(server.port), "--messages", str(messages), "--pause", str(pause)],
            stdout=subprocess.PIPE,
        )
        late: list[float] = []
        wanted = count * messages
        end = time.monotonic() + messages * pause + 60
        while len(late) < wanted and time.monotonic() < end:
            for number, _ in poll.poll(0.5):
                moments = by_number[number].read()
                now = time.monotonic()
                late += [now - moment for moment in moments]
        took = json.loads(publisher.communicate(timeout=30)[0])
        # Nothing comes twice.
        for number, _ in poll.poll(0.5):
            by_number[number].read()
        complete = sum(member.seen == list(range(messages)) for member in members)
        for member in members:
            member.peer.close()
    return (
        f"{count} sockets on {workers} worker(s), {messages} messages, one each {pause * 1000:.0f} ms:"
        f" received p50 {at(late, 0.5):.1f} p99 {at(late, 0.99):.1f} ms,"
        f" published p50 {at(took, 0.5):.1f} p99 {at(took, 0.99):.1f} ms;"
        f" {complete} of {count} sockets had all, once, in order"
    )


def at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


def memory(pid: int) -> dict[str, int]:
    """Bytes of a process, by `/proc`: resident, and proportional (pages that are shared count in parts)."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {name: int(told[name].split()[0]) * 1024 for name in ("Rss", "Pss")}


def measure_idle(count: int, path: str) -> str:
    with serving(1) as server:
        (pid,) = server.ready()
        # It has not seen a socket yet: what the first one loads is paid by all of them.
        bare = memory(pid)
        peers = [sockets.connect(server.port, path) for _ in range(count)]
        time.sleep(2)
        full = memory(pid)
        if server.ready() != [pid]:
            raise RuntimeError("the worker was replaced")
        for peer in peers:
            peer.close()
    each = {name: (full[name] - bare[name]) / count / 1024 for name in bare}
    return f"{count} idle sockets on {path}: {each['Rss']:.1f} KB each resident, {each['Pss']:.1f} KB proportional; bare {bare['Rss'] / 2**20:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds from one publication to the next")
    parser.add_argument("--idle", type=int, default=0, help="so many idle sockets instead of a room")
    parser.add_argument("--publish", type=int, metavar="PORT", help="publish only; used by the script itself")
    options = parser.parse_args()
    if options.publish:
        publish_all(options.publish, options.messages, options.pause)
    elif options.idle:
        for path in ("/idle", "/room/r"):
            print(measure_idle(options.idle, path), flush=True)
    else:
        print(f"load {os.getloadavg()[0]:.1f};", measure_room(options.sockets, options.messages, options.pause, options.workers), flush=True)


if __name__ == "__main__":
    main()
