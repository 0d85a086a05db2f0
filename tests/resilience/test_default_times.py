"""The time limits as they are without an option, waited for in full beside the other tests: in the long form only."""

import contextlib
import faulthandler
import importlib.util
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

pytestmark = pytest.mark.skipif(os.environ.get("CARBOY_RESILIENCE") != "full", reason="the long form: CARBOY_RESILIENCE=full")


def until_closed(port, sent, *, drip=b"", every=1.0, most=70.0):
    """Send, go on dripping, and return the seconds until the server closes, with what it said."""
    begun = time.monotonic()
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=every) as connection:
        if sent:
            connection.sendall(sent)
        while time.monotonic() - begun < most:
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                if drip:
                    with contextlib.suppress(ConnectionError):  # the answer has just come, and the end with it
                        connection.sendall(drip)
                continue
            except OSError:
                break
            if not chunk:
                break
            said += chunk
    return time.monotonic() - begun, said


def until_reset(port, path):
    """Ask for more than is read, and return the seconds until the server's end of the connection is gone from its kernel."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", port))
        connection.sendall(wire.get(path))
        # As in /proc/net/tcp, seen from the server: its port, ours, ESTABLISHED.
        theirs = f":{port:04X} 0100007F:{connection.getsockname()[1]:04X} 01"
        begun = time.monotonic()
        time.sleep(1)
        assert theirs in Path("/proc/net/tcp").read_text()
        while time.monotonic() - begun < 80 and theirs in Path("/proc/net/tcp").read_text():
            time.sleep(0.5)
    return time.monotonic() - begun, b""


KEPT = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: What is waited for → most seconds that it may take, the status of the answer, what a client does with a port.
LIMITS = {
    "no first byte": (30, None, lambda port: until_closed(port, b"")),
    "half a head": (30, None, lambda port: until_closed(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n")),
    "a head that drips": (30, None, lambda port: until_closed(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n", drip=b"x: y\r\n")),
    "an idle kept connection": (30, 200, lambda port: until_closed(port, KEPT)),
    "a stalled body": (30, 408, lambda port: until_closed(port, wire.post("/take", "Content-Length: 99", body=b"abc"))),
    "a body of 500 B/s": (30, 408, lambda port: until_closed(port, wire.post("/take", "Content-Length: 99999"), drip=b"x" * 500)),
    "a stream's reader that stops": (60, None, lambda port: until_reset(port, "/flow")),
    "the reader of 50 MB that stops": (60, None, lambda port: until_reset(port, "/big")),
    "no answer": (65, 504, lambda port: until_closed(port, wire.get("/wait/300.0"), most=90)),
}
STOP = "stop with a request that never ends"


def stop(served):
    """Tell a server to stop that has such a request; return the seconds until it has ended."""
    threading.Thread(target=until_closed, args=(served.port, wire.get("/patient/300.0")), daemon=True).start()
    time.sleep(1)
    served.signal(signal.SIGTERM)
    return served.wait(60), b""


@pytest.fixture(scope="session")
def waits(run_all_along):
    """All of them at once, each in a thread that goes on while other tests run; what they find, when it is asked for."""
    served = run_all_along(ready=1, target="limits:app")
    stopping = run_all_along("--control", "off", ready=None, target="limits:app")
    deadline = time.monotonic() + 20
    while "stop  " not in stopping.text() and time.monotonic() < deadline:
        time.sleep(0.1)
    calls = {name: (call, served.port) for name, (_, _, call) in LIMITS.items()} | {STOP: (stop, stopping)}
    # Not waited for at the end: the servers are ended next, and with them what still waits.
    pool = ThreadPoolExecutor(len(calls))
    yield {name: pool.submit(*call) for name, call in calls.items()}
    pool.shutdown(wait=False, cancel_futures=True)


def test_default_times_are_waited_for_from_here_on(waits):
    """The first limit is ten seconds away."""
    time.sleep(0.5)

    assert [name for name, each in waits.items() if not each.running()] == []


@pytest.mark.last
def test_default_time_limits(waits, figure):
    """First byte, head, kept connection, body, rate, reader, deadline, stop: each within its goal."""
    faulthandler.cancel_dump_traceback_later()
    found = {name: each.result(120) for name, each in waits.items()}

    for name, (seconds, _) in found.items():
        figure(f"{name}, seconds", f"{seconds:.1f}")
    assert {name: found[name][0] <= most for name, (most, _, _) in LIMITS.items()} == dict.fromkeys(LIMITS, True)
    assert {name: wire.status_of(found[name][1]) for name in LIMITS} == {name: status for name, (_, status, _) in LIMITS.items()}
    assert found[STOP][0] <= 30.5
