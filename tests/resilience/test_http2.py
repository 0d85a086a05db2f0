"""HTTP/2: off on cleartext unless asked, and floods of what the protocol allows, from a client that speaks it by hand.

Each flood comes from a few connections as fast as they can; meanwhile others ask by HTTP/1.1 and must all be answered.
Frames: RFC 9113 §4.1; header blocks: RFC 7541, indexes of its static table.
"""

import contextlib
import importlib.util
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CANCEL = struct.pack("!I", 8)
WINDOW_OF_NOTHING = struct.pack("!HI", 4, 0)


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def text(value):
    """A string of less than 127 bytes, as it is."""
    return bytes([len(value)]) + value


def request(path=b"/", method=0x82):
    """`:method: GET`, `:scheme: http`, a path and `localhost`, nothing of it kept in the table."""
    return bytes([method, 0x86]) + b"\x04" + text(path) + b"\x01" + text(b"localhost")


def get(stream, path=b"/"):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, request(path))


def streams():
    """Numbers of streams of a client."""
    return range(1, 1 << 30, 2)


# Each flood gives bytes to send, for ever; it begins after preface and settings.


def rapid_reset():
    for stream in streams():
        yield get(stream, b"/wait/5.0") + frame(RST_STREAM, 0, stream, CANCEL)


def continuation():
    yield frame(HEADERS, END_STREAM, 1, request())
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x00" + text(b"x-a") + text(b"b" * 100)) * 50


def hpack():
    # An entry of 4,000 bytes into the table (index 62 from then on), and many fields that are this one.
    entry = b"\x40" + text(b"x-bomb") + b"\x7f" + bytes([0xA1, 0x1E]) + b"b" * 4000
    for stream in streams():
        yield frame(HEADERS, END_STREAM | END_HEADERS, stream, request() + (entry if stream == 1 else b"") + b"\xbe" * 12_000)


def ping():
    while True:
        yield frame(PING, 0, 0, b"12345678") * 500


def settings():
    while True:
        yield frame(SETTINGS) * 500


def priority():
    while True:
        yield b"".join(frame(PRIORITY, 0, stream, b"\0\0\0\0\x10") for stream in range(1, 1001, 2))


def empty_data():
    yield frame(HEADERS, END_HEADERS, 1, request(b"/take", 0x83))
    while True:
        yield frame(DATA, 0, 1) * 500


def too_many_streams():
    for stream in streams():
        yield get(stream)


def window_updates():
    while True:
        yield frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 500


def unread_answers():
    """The largest answers there are, and no window for them."""
    for stream in range(1, 401, 2):
        yield get(stream, b"/ten")
    while True:
        time.sleep(0.1)
        yield frame(PING, 0, 0, b"12345678")


FLOODS = {
    each.__name__.replace("_", " "): each
    for each in (rapid_reset, continuation, hpack, ping, settings, priority, empty_data, too_many_streams, window_updates, unread_answers)
}  # fmt: skip


class Attack:
    """Connections that flood until told to stop; each begins anew when it is thrown out."""

    def __init__(self, port, flood, connections=4):
        self.port, self.flood = port, flood
        self.over = threading.Event()
        self.sent = self.begun = self.ended = 0
        self.threads = [threading.Thread(target=self.run) for _ in range(connections)]

    def __enter__(self):
        for each in self.threads:
            each.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for each in self.threads:
            each.join(20)

    def run(self):
        while not self.over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                self.begun += 1
                # What is asked for and not read stays the server's; that is what this tries.
                reads = self.flood is not unread_answers
                connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"" if reads else WINDOW_OF_NOTHING))
                if reads:
                    threading.Thread(target=self.drain, args=(connection,), daemon=True).start()
                for piece in self.flood():
                    if self.over.is_set():
                        return
                    connection.sendall(piece)
                    self.sent += len(piece)
            self.ended += 1
            time.sleep(0.05)

    @staticmethod
    def drain(connection):
        with contextlib.suppress(OSError, ValueError):
            while connection.recv(65536):
                pass


def memory(served):
    return sum(each["memory"] for each in served.status()["workers"])


def test_not_on_cleartext_unless_asked(run):
    """The preface of HTTP/2 is refused by default, and answered with --http auto."""
    plain = run(ready=1, target="limits:app")
    refused, _ = wire.exchange(plain.port, PREFACE + frame(SETTINGS), wait=3)
    plain.close()
    asked = run("--http", "auto", ready=1, target="limits:app")

    answered, _ = wire.exchange(asked.port, PREFACE + frame(SETTINGS) + get(1), wait=1)

    assert wire.status_of(refused) in (400, 505, None)
    assert not refused.endswith(b"<open>")
    assert b"one " in answered


@pytest.mark.parametrize("name", FLOODS)
def test_flood(run, under_load, figure, full, name):
    """Others lose nothing, memory stays, the worker lives."""
    served = run("--http", "auto", ready=1, target="limits:app")
    (worker,) = served.ready()
    served.get()
    time.sleep(0.6)
    before = memory(served)
    most = before

    with Attack(served.port, FLOODS[name]) as attack, under_load(served.port, 4) as losses:
        until = time.monotonic() + (6 if full else 1.5)
        while time.monotonic() < until:
            time.sleep(0.25)
            most = max(most, memory(served))

    figure("sent, MB; connections; thrown out", f"{attack.sent / (1 << 20):.1f}; {attack.begun}; {attack.ended}")
    figure("growth at the most, MB", f"{(most - before) / (1 << 20):.1f}")
    figure("others", losses)
    assert attack.sent > 0
    assert losses.lost == losses.repeated == losses.refused == 0
    assert losses.answered > 20
    assert losses.quantile(0.99) <= 2.0
    assert most - before <= 64 << 20
    assert served.ready() == [worker]
    assert served.get().startswith("one")


def test_stalled_bodies_are_ended(run):
    """A body that never comes is a 408 here too."""
    served = run("--http", "auto", "--body-timeout", "1s", ready=1, target="limits:app")
    head = frame(HEADERS, END_HEADERS, 1, request(b"/take", 0x83))

    answer, _ = wire.exchange(served.port, PREFACE + frame(SETTINGS) + head + frame(DATA, 0, 1, b"abc"), wait=2.5)

    assert b"too slowly" in answer
    assert served.get("/seen") == ""


def test_peers_that_answer_no_ping_are_closed(run, figure):
    """A connection that has begun and says no more is closed after a ping without an answer."""
    served = run("--http", "auto", "--header-timeout", "1s", ready=1, target="limits:app")

    ends = [wire.exchange(served.port, PREFACE + frame(SETTINGS) + begun, wait=8) for begun in (b"", frame(HEADERS, END_STREAM, 1, request()))]
    half, _ = wire.exchange(served.port, b"GET / HT", wait=5)

    figure("closed after (limits 1 s and 1 s), seconds", [f"{seconds:.1f}" for _, seconds in ends])
    assert not any(answer.endswith(b"<open>") for answer, _ in ends)
    assert not half.endswith(b"<open>")


@pytest.mark.skipif(shutil.which("h2load") is None, reason="needs h2load (Debian: nghttp2-client)")
def test_h2load(run, figure, full):
    """A flood of proper requests, a hundred at once on each connection: all are answered."""
    served = run("--http", "auto", ready=2, target="limits:app")
    count = 50_000 if full else 5_000

    done = subprocess.run(
        ["h2load", "-n", str(count), "-c", "10", "-m", "100", f"http://127.0.0.1:{served.port}/"], capture_output=True, text=True, timeout=80, check=True
    )

    line = re.search(r"requests: .*", done.stdout)[0]
    figure("h2load -c 10 -m 100", line)
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in line
