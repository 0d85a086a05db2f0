"""The table of docs/doors.md: which attack each door holds, tried on each; a door that changes, or a table, fails here."""

import contextlib
import importlib.util
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

DOORS = ("asgi", "rsgi", "wsgi")
LIMIT = 1.0
OPTIONS = ("--body-timeout", "1s", "--write-timeout", "1s", "--request-timeout", "1s", "--header-timeout", "1s", "--max-in-flight", "20")
GIB = 1 << 30


def declared(port):
    answer, _ = wire.exchange(port, wire.post("/take", f"Content-Length: {GIB}", "Expect: 100-continue"))
    return wire.status_of(answer) == 413 and b"100 Continue" not in answer


def chunked(port):
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer, _ = wire.exchange(port, wire.post("/take", "Transfer-Encoding: chunked"), *[piece] * 320, b"0\r\n\r\n")
    return wire.status_of(answer) == 413


def truncated(port):
    answer, _ = wire.exchange(port, wire.post("/take", "Content-Length: 10", body=b"abc"), half_close=True, wait=2.5)
    return wire.status_of(answer) == 400


def malformed(port):
    answer, _ = wire.exchange(port, wire.post("/take", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\nzz\r\n"), wait=2.5)
    return wire.status_of(answer) == 400


def stalled(port):
    answer, seconds = wire.exchange(port, wire.post("/take", "Content-Length: 10", body=b"abc"), wait=LIMIT + 2)
    return wire.status_of(answer) == 408 and seconds < LIMIT + 1.5


def dripping(port):
    with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
        connection.sendall(wire.post("/take", "Content-Length: 1000"))
        begun = time.monotonic()
        while time.monotonic() - begun < 4:
            with contextlib.suppress(ConnectionError):  # the answer has just come, and the end with it
                connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                return b" 408 " in connection.recv(4096)
    return False


def unread(port):
    """Whether the connection ends, and the answer is cut."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", port))
        connection.sendall(wire.get("/big"))
        time.sleep(4 * LIMIT)
        connection.settimeout(3)
        size = 0
        with contextlib.suppress(OSError):
            while chunk := connection.recv(1 << 20):
                size += len(chunk)
    return size < 50_000_000


def overdue(port):
    answer, seconds = wire.exchange(port, wire.get("/wait/5.0"), wait=3)
    return wire.status_of(answer) == 504 and seconds < LIMIT + 1.5


def left(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(wire.get("/wait/0.9"))
        time.sleep(0.2)
    time.sleep(0.4)
    return "wait cancelled" in wire.exchange(port, wire.get("/seen"))[0].decode()


def broken_stream(port):
    answer, _ = wire.exchange(port, wire.get("/breaks"), wait=3)
    return wire.status_of(answer) == 500 or not answer.endswith(b"0\r\n\r\n")


def silent(port):
    with socket.create_connection(("127.0.0.1", port), timeout=4) as nothing, socket.create_connection(("127.0.0.1", port), timeout=4) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost:")
        with contextlib.suppress(TimeoutError):
            return all(each.recv(4096) == b"" or each.recv(4096) == b"" for each in (nothing, half))
    return False


def shed(port):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(wire.get("/wait/0.9"))
        time.sleep(0.2)
        answer, _ = wire.exchange(port, wire.get("/"))
    return wire.status_of(answer) == 503


def named(port):
    answer, _ = wire.exchange(port, wire.get("/who"))
    return b"x-request-id: " in answer.lower()


def hosts(port):
    return [wire.status_of(wire.exchange(port, each)[0]) for each in (wire.get(host=None), wire.get("/", "Host: other"), wire.get(host="a/b"))] == [400] * 3


#: As in the docs → the attack, and the doors that hold it.
ATTACKS = {
    "a missing, second or invalid Host is a 400": (hosts, DOORS),
    "an id for each request": (named, ("asgi", "wsgi")),
    "silent connections and slow heads are closed": (silent, DOORS),
    "a declared body over the limit is a 413 before `100 Continue`": (declared, DOORS),
    "a chunked body over the limit is a 413": (chunked, DOORS),
    "a body shorter than its Content-Length is a 400": (truncated, DOORS),
    "a malformed or cut chunked body is a 400": (malformed, ("asgi",)),
    "a stalled body is ended": (stalled, ("asgi",)),
    "a body of 5 B/s is ended": (dripping, ("asgi",)),
    "a client that stops reading is cut off": (unread, DOORS),
    "a stream without a length that breaks off is seen to be broken": (broken_stream, ("asgi", "rsgi")),
    "no answer in time is a 504": (overdue, ("asgi",)),
    "a client that leaves cancels its `async def` view": (left, ("asgi", "rsgi")),
    "more requests than `--max-in-flight` are 503": (shed, ("asgi",)),
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """Try an attack on all doors side by side, for most of it is waiting; each has a server with short limits."""
    with contextlib.ExitStack() as stack:
        ports = {door: stack.enter_context(wire.serving(tmp_path_factory.mktemp(door), "--interface", door, *OPTIONS)).port for door in DOORS}
        pool = stack.enter_context(ThreadPoolExecutor(len(DOORS)))
        begun = {}

        def outcome(attack, door):
            if attack not in begun:
                begun[attack] = {each: pool.submit(ATTACKS[attack][0], port) for each, port in ports.items()}
                wait(begun[attack].values())
            return begun[attack][door].result()

        yield outcome


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_door(tried, group, attack, door):
    """A door holds what the table says that it holds, and nothing else."""
    known = door in ATTACKS[attack][1]
    group(f"{door}: attacks that the docs say it {'holds' if known else 'does not hold'}")

    assert tried(attack, door) is known


def test_table_of_the_docs():
    """docs/doors.md says the same."""
    text = (Path(__file__).parents[2] / "docs" / "doors.md").read_text()

    told = {name: cells for name, *cells in re.findall(r"(?m)^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", text)}

    expected = {name: ["held" if door in holds else "no" for door in DOORS] for name, (_, holds) in ATTACKS.items()}
    assert {name: cells for name, cells in told.items() if name in expected} == expected
