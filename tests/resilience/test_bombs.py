"""Bodies made to hurt: many parts, deep or huge JSON, endless chunks. No 5xx, no growth over 32 MB, nobody else waits."""

import contextlib
import gzip
import importlib.util
import json
import socket
import threading
import time
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

MIB = 1 << 20
#: Most bytes of a body by default.
MOST = 16 * MIB
BOUNDARY = "0123456789abcdef"
FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"


def part(head, body=b""):
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + body + b"\r\n"


def filled(piece, size=MOST - 1000):
    return piece * (size // len(piece))


def multipart(*pieces):
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


FIELD = 'Content-Disposition: form-data; name="a"'
FILE = 'Content-Disposition: form-data; name="a"; filename="b"'

#: name → path, content type, body, statuses that are right.
BOMBS = {
    "16 MB of tiny form parts": ("/form", FORM, lambda: multipart(filled(part(FIELD))), (200, 400, 413)),
    "16 MB of tiny files": ("/form", FORM, lambda: multipart(filled(part(FILE))), (200, 400, 413)),
    "16 MB in one form part": ("/form", FORM, lambda: multipart(part(FIELD, b"x" * (MOST - 1000))), (200, 400, 413)),
    "16 MB in one file": ("/form", FORM, lambda: multipart(part(FILE, b"x" * (MOST - 1000))), (200,)),
    "a part's head of 10 MB": ("/form", FORM, lambda: multipart(part(FIELD + "\r\nX-A: " + "x" * (10 * MIB))), (400, 413)),
    "a part of 500,000 header lines": ("/form", FORM, lambda: multipart(part(FIELD + "\r\nX-A: b" * 500_000)), (400, 413)),
    "16 MB of almost boundaries": ("/form", FORM, lambda: multipart(part(FILE, filled(f"\r\n--{BOUNDARY[:-1]}".encode()))), (200, 400)),
    "16 MB of line ends in a file": ("/form", FORM, lambda: multipart(part(FILE, filled(b"\r\n"))), (200,)),
    "a form that never ends": ("/form", FORM, lambda: part(FILE, b"x" * (8 * MIB)), (400,)),
    "16 MB of urlencoded fields": ("/form", "Content-Type: application/x-www-form-urlencoded", lambda: filled(b"a=b&"), (200, 400, 413)),
    "JSON, a million brackets deep": ("/json", "Content-Type: application/json", lambda: b"[" * 1_000_000 + b"]" * 1_000_000, (400,)),
    "JSON, a million objects deep": ("/json", "Content-Type: application/json", lambda: b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, (400,)),
    "JSON, 10,000 brackets deep": ("/json", "Content-Type: application/json", lambda: b"[" * 10_000 + b"]" * 10_000, (200, 400)),
    "a number of 5,000 digits": ("/json", "Content-Type: application/json", lambda: b"9" * 5000, (400,)),
    "a number of a million digits": ("/json", "Content-Type: application/json", lambda: b"[" + b"9" * 1_000_000 + b"]", (400,)),
    "an exponent beyond everything": ("/json", "Content-Type: application/json", lambda: b"[1e999999999]", (200, 400)),
    "JSON that is no UTF-8": ("/json", "Content-Type: application/json", lambda: b'"\xff\xfe"', (400,)),
    "JSON with a lonely surrogate": ("/json", "Content-Type: application/json", lambda: b'"\\ud800"', (200, 400)),
    "JSON cut off": ("/json", "Content-Type: application/json", lambda: b'{"a": [1, 2', (400,)),
    "16 MB of JSON strings": ("/json", "Content-Type: application/json", lambda: json.dumps(["abc"] * (2 * MIB)).encode(), (200,)),
    "gzip of a gigabyte": ("/json", "Content-Type: application/json\r\nContent-Encoding: gzip", lambda: gzip.compress(bytes(64 * MIB)), (400, 415)),
}  # fmt: skip


def ask(port, path, kind, body, wait=30):
    return wire.exchange(port, wire.post(path, kind, f"Content-Length: {len(body)}", "Connection: close", body=body), wait=wait)


def memory(running):
    return json.loads(running.get("/memory"))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One server that all bombs are thrown at, one after the other."""
    with wire.serving(tmp_path_factory.mktemp("bombs"), target="rules:app") as running:
        yield running


@pytest.mark.parametrize("name", BOMBS)
def test_bomb(served, figure, name):
    """Answered for what it is, no 5xx; others are answered meanwhile."""
    path, kind, make, right = BOMBS[name]
    body = make()
    over = threading.Event()
    slowest = []

    def bystander():
        while not over.is_set():
            begun = time.monotonic()
            assert served.get("/n/1") == "number 1"
            slowest.append(time.monotonic() - begun)
            time.sleep(0.01)

    other = threading.Thread(target=bystander)
    other.start()
    try:
        answer, seconds = ask(served.port, path, kind, body)
    finally:
        over.set()
        other.join()

    figure("status, seconds, slowest answer to others", f"{wire.status_of(answer)}, {seconds:.2f}, {max(slowest) * 1000:.0f} ms")
    assert wire.status_of(answer) in right, answer[:300]
    assert max(slowest) < 3
    assert "Traceback" not in served.text()


def test_bodies_grow_a_worker_by_32_mb_at_most(tmp_path, figure):
    """Twenty times 16 MB at once, held open before the last byte, and endless chunks: bodies live on the disk."""
    with wire.serving(tmp_path, target="rules:app") as running, contextlib.ExitStack() as stack:
        running.get("/")
        ask(running.port, "/take", "X-A: b", b"x" * MIB)
        before = memory(running)
        held = []
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
            connection.sendall(wire.post("/take-async", f"Content-Length: {MOST}", body=b"x" * (MOST - 1)))
            held.append(connection)
        endless, _ = wire.exchange(running.port, wire.post("/take-async", "Transfer-Encoding: chunked"), *[b"100000\r\n" + b"x" * MIB + b"\r\n"] * 40)
        time.sleep(0.5)
        after = memory(running)
    growth = (after["most"] - before["now"]) / 1024

    figure("20 bodies of 16 MB on their way, and 40 MB of chunks: growth at the most, MB", f"{growth:.1f}")
    assert wire.status_of(endless) == 413
    assert growth <= 32
