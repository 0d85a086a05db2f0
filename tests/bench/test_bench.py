"""The benchmark's own instruments: they see what they must see, and lose nothing."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Load a module of the benchmark by its name; none of them stays."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCH)):
            del sys.modules[name]


class StallingServer:
    """Answers at once, but stands still for a while, one time, for everybody."""

    def __init__(self, after: float, pause: float) -> None:
        self.stall = (time.monotonic() + after, pause)
        self.free = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer: socket.socket) -> None:
        with peer:
            while peer.recv(4096):
                with self.free:
                    moment, pause = self.stall
                    if pause and time.monotonic() > moment:
                        self.stall = (0, 0)
                        time.sleep(pause)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def test_a_pause_is_seen_by_all_who_come_meanwhile(module: Any) -> None:
    """The driver does not wait for the server before it counts: half a second of standing still is in the times of a tenth of the requests."""
    steady = module("steady")
    server = StallingServer(after=2.0, pause=0.5)

    found = steady.drive(
        "127.0.0.1", server.port, "/", 300, 5, headers={}, cookies=[""], must_have="hello", connections=8, warm_seconds=0.5, compressed=False
    )

    server.listener.close()
    assert found.errors == {}
    assert found.sent == found.answered == 1500
    # 150 of 1,500 came in that half second: those of its first half waited for more than a quarter of one.
    assert found.p99 > 250


def test_an_answer_that_is_not_compressed_is_an_error(module: Any) -> None:
    """Nothing passes for an answer because it came."""
    steady = module("steady")
    server = StallingServer(after=0, pause=0)

    found = steady.drive("127.0.0.1", server.port, "/", 50, 0.4, headers={}, cookies=[""], connections=2, warm_seconds=0)

    server.listener.close()
    assert found.answered == 0
    assert found.errors == {"not compressed": 20}


def test_what_was_not_measured_again_stays(module: Any, tmp_path: Path) -> None:
    """Merging replaces the cells that are new, keeps the others, and the runs that they came from; a file gives back what it got."""
    figures = module("figures")
    old, new = figures.Figures(), figures.Figures()
    for kept, run, names in ((old, "monday", ("Flask", "Sanic")), (new, "tuesday", ("Sanic",))):
        kept.runs[run] = {"date": run}
        for name in names:
            kept.set(name, "json", figures.Cell(rates=[1.0, 2.0], shares=[0.5, None], run=run))
    new.absent["Robyn"] = "no wheel"

    old.merge(new)
    old.save(tmp_path / "figures.json")

    assert figures.Figures.load(tmp_path / "figures.json") == old
    assert {name: works["json"].run for name, works in old.cells.items()} == {"Flask": "monday", "Sanic": "tuesday"}
    assert set(old.runs) == {"monday", "tuesday"}
    assert old.absent == {"Robyn": "no wheel"}


def test_a_frame_is_masked(module: Any) -> None:
    """RFC 6455 §5.3: what a client sends is masked, and a server that takes the mask off has the text."""
    sockets = module("sockets")

    made = sockets.frame(b"hello")

    assert made[:2] == bytes((0x81, 0x85))
    assert bytes(byte ^ made[2 + at % 4] for at, byte in enumerate(made[6:])) == b"hello"
