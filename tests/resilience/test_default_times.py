"""The time limits as they are without an option, waited for in full: a minute and a half, so in the long form only."""

import contextlib
import faulthandler
import importlib.util
import os
import signal
import socket
import threading
import time
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


def test_default_time_limits(run, figure):
    """First byte, head, kept connection, body, rate, reader, deadline, stop: each within its goal."""
    faulthandler.cancel_dump_traceback_later()
    served = run(ready=1, target="limits:app")
    stopping = run("--control", "off", ready=None, target="limits:app")
    with contextlib.suppress(AssertionError):
        deadline = time.monotonic() + 20
        while "stop  " not in stopping.text() and time.monotonic() < deadline:
            time.sleep(0.1)
    kept = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    limits = {
        "no first byte": (30, None, lambda: until_closed(served.port, b"")),
        "half a head": (30, None, lambda: until_closed(served.port, b"GET / HTTP/1.1\r\nHost: localhost\r\n")),
        "a head that drips": (30, None, lambda: until_closed(served.port, b"GET / HTTP/1.1\r\nHost: localhost\r\n", drip=b"x: y\r\n")),
        "an idle kept connection": (30, 200, lambda: until_closed(served.port, kept)),
        "a stalled body": (30, 408, lambda: until_closed(served.port, wire.post("/take", "Content-Length: 99", body=b"abc"))),
        "a body of 500 B/s": (30, 408, lambda: until_closed(served.port, wire.post("/take", "Content-Length: 99999"), drip=b"x" * 500)),
        "a stream's reader that stops": (60, None, lambda: until_reset(served.port, "/flow")),
        "the reader of 50 MB that stops": (60, None, lambda: until_reset(served.port, "/big")),
        "no answer": (65, 504, lambda: until_closed(served.port, wire.get("/wait/300.0"), most=90)),
    }
    found = {}

    def stop():
        threading.Thread(target=until_closed, args=(stopping.port, wire.get("/patient/300.0")), daemon=True).start()
        time.sleep(1)
        stopping.signal(signal.SIGTERM)
        found["stop with a request that never ends"] = (stopping.wait(60), b"")

    threads = [threading.Thread(target=lambda name=name, call=call: found.update({name: call()})) for name, (_, _, call) in limits.items()]
    threads.append(threading.Thread(target=stop))
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)

    for name, (seconds, _) in found.items():
        figure(f"{name}, seconds", f"{seconds:.1f}")
    assert {name: found[name][0] <= most for name, (most, _, _) in limits.items()} == dict.fromkeys(limits, True)
    assert {name: wire.status_of(found[name][1]) for name in limits} == {name: status for name, (_, status, _) in limits.items()}
    assert found["stop with a request that never ends"][0] <= 30.5
