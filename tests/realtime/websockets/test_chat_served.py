"""The chat of docs/realtime.md by four workers of one host: no broker is installed for it, and nothing is set."""

from __future__ import annotations

import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from socket_peers import CHAT, Served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="who holds a connection is asked of /proc")

WORKERS, SAYINGS = 4, 5


def holder_of(port: int, peer: int, process: int) -> int:
    """The child of a process that holds the connection from port *peer* to *port*."""
    ends = f":{port:04X}", f":{peer:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = [row[9] for row in rows if (row[1][-5:], row[2][-5:]) == ends]
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        for descriptor in Path(f"/proc/{child}/fd").iterdir():
            try:
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return int(child)
            except FileNotFoundError:
                continue
    raise AssertionError("no worker holds the connection")


def cookie_of(port: int, name: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/login/{name}", method="POST"), timeout=10) as answer:
        return str(answer.headers["Set-Cookie"]).partition(";")[0]


def test_chat_of_the_guide_across_workers(tmp_path: Path) -> None:
    """People on each of four workers hear everybody, once and in one order, whoever's worker they are on."""
    server = Served("the guide's chat", tmp_path)
    rooms: dict[int, list[Any]] = {}
    try:
        with ExitStack() as stack:
            cookie = cookie_of(server.port, "ada")
            end = time.monotonic() + 30
            # The kernel chooses the worker; those that start last are among them in the end.
            while len(rooms) < WORKERS or any(len(lines) < 2 for lines in rooms.values()):
                assert time.monotonic() < end, (rooms, server.text())
                line = stack.enter_context(server.open("/chat/tea", headers=[("Cookie", cookie)]))
                peer = line.line.socket.getsockname()[1]
                line.send(f"{peer} is here")
                # Who hears itself has joined.
                while line.receive(10) != f"ada: {peer} is here":
                    pass
                rooms.setdefault(holder_of(server.port, peer, server.process.pid), []).append(line)
                if sum(map(len, rooms.values())) % 16 == 0:
                    time.sleep(0.5)
            lines = [line for held in rooms.values() for line in held]
            elsewhere = stack.enter_context(server.open("/chat/cake", headers=[("Cookie", cookie)]))

            for number in range(SAYINGS):
                for pid, held in rooms.items():
                    held[0].send(f"said {pid} {number}")

            orders = []
            for line in lines:
                heard: list[str] = []
                while len(heard) < WORKERS * SAYINGS:
                    text = line.receive(10)
                    if text.startswith("ada: said "):
                        heard.append(text)
                orders.append(heard)
            assert all(order == orders[0] for order in orders)
            assert sorted(orders[0]) == sorted(f"ada: said {pid} {number}" for pid in rooms for number in range(SAYINGS))
            for pid in rooms:
                assert [text for text in orders[0] if f" {pid} " in text] == [f"ada: said {pid} {number}" for number in range(SAYINGS)]
            for line in (lines[0], lines[-1], elsewhere):
                with pytest.raises(TimeoutError):
                    line.receive(0.1)
    finally:
        status = server.stop()
    assert status == 0
    assert "Traceback" not in server.text(), server.text()


def test_chat_of_the_guide_is_small() -> None:
    """At most sixty lines, all told."""
    assert len(CHAT.read_text().splitlines()) <= 60
