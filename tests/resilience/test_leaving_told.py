"""A worker that leaves says so on every door: `app.leaving` is set, and an event stream ends with a whole event."""

import signal
import socket
import struct

import pytest

APP = """
import asyncio
from carboy import Carboy, EventStream

app = Carboy(__name__)


@app.background
async def wait():
    await app.leaving.wait()
    print("told by app.leaving", flush=True)


@app.get("/events")
async def events():
    async def source():
        yield {"number": 1}
        await asyncio.sleep(60)

    return EventStream(source())
"""


def record(kind: int, content: bytes) -> bytes:
    """One record of FastCGI, of request 1."""
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def by_fastcgi() -> bytes:
    """The GET as a web server sends it: begin, parameters, an empty body."""
    named = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/events", "REQUEST_URI": "/events", "QUERY_STRING": "",
             "SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "x"}  # fmt: skip
    pairs = b"".join(bytes([len(name), len(value)]) + name.encode() + value.encode() for name, value in named.items())
    return record(1, struct.pack("!HB5x", 1, 0)) + record(4, pairs) + record(4, b"") + record(5, b"")


def plainly(received: bytes) -> bytes:
    """What FastCGI's records carry to standard output, and its word of the end."""
    text = b""
    while len(received) >= 8:
        _, kind, _, length, padding = struct.unpack("!BBHHBx", received[:8])
        text += received[8 : 8 + length] if kind == 6 else b"<end>" if kind == 3 else b""
        received = received[8 + length + padding :]
    return text


@pytest.mark.parametrize("door", ["asgi", "rsgi", "wsgi", "fastcgi"])
def test_every_door_is_told_of_the_leaving(run, folder, door):
    """A loop that waits for it goes on; a stream whose source sleeps for a minute ends at once, and properly."""
    (folder / "lasting.py").write_text(APP)
    path = str(folder.resolve() / "f.sock")
    options = ("--fastcgi", f"unix:{path}") if door == "fastcgi" else ("--interface", door)
    served = run("--workers", "1", "--no-spare", *options, target="lasting:app", ready=1)
    connection = socket.socket(socket.AF_UNIX) if door == "fastcgi" else socket.socket()
    with connection:
        connection.settimeout(10)
        connection.connect(path if door == "fastcgi" else ("127.0.0.1", served.port))
        connection.sendall(by_fastcgi() if door == "fastcgi" else b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b'"number"' not in received:
            received += connection.recv(65536)

        served.signal(signal.SIGTERM)
        while chunk := connection.recv(65536):
            received += chunk

    ended = b"\n\n<end>" if door == "fastcgi" else b"\n\n\r\n0\r\n\r\n"
    assert (plainly(received) if door == "fastcgi" else received).endswith(ended)
    assert served.wait(10) < 5
    assert "told by app.leaving" in served.text()
