"""A WebSocket client that costs little: frames made beforehand, raw sockets, one epoll. Only for echoes of short texts on loopback.

As a program (`python sockets.py PORT PATH CONNECTIONS SECONDS`) it sends on every connection as soon as the last echo is
back, and prints how many echoes came and how long it took.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator

#: A client's frames are masked (RFC 6455 §5.3). The key is fixed, for a frame is made once; nothing stands between us and the server.
MASK = b"\x17\x2a\x5c\x39"
TEXT = b"thirty-two characters of a text."


class Refused(Exception):
    """The server did not open a WebSocket, or broke the protocol."""


def frame(text: bytes) -> bytes:
    """A masked text frame (RFC 6455 §5.2) of less than 126 bytes."""
    assert len(text) < 126
    return bytes((0x81, 0x80 | len(text))) + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(text))


def read(peer: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = peer.recv(count - len(found))
        if not more:
            raise Refused(f"the connection was closed after {found[:100]!r}")
        found += more
    return found


def connect(port: int, path: str) -> socket.socket:
    """A connection on which the handshake is done.

    Raises:
        Refused: the answer is not 101.
    """
    peer = socket.create_connection(("127.0.0.1", port), 5)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    peer.sendall("\r\n".join(lines).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        try:
            head += read(peer, 1)
        except (Refused, TimeoutError):
            break
    if not head.startswith(b"HTTP/1.1 101 "):
        peer.close()
        first = head.decode("latin-1").partition("\r\n")[0]
        raise Refused(f"the handshake is answered with {first!r}")
    return peer


@contextlib.contextmanager
def opened(port: int, path: str) -> Iterator[socket.socket]:
    peer = connect(port, path)
    try:
        yield peer
    finally:
        peer.close()


def echo(peer: socket.socket, text: bytes) -> bytes:
    """Send a text and give what comes back, which must be one unmasked text frame.

    Raises:
        Refused: it is something else.
    """
    peer.sendall(frame(text))
    kind, size = read(peer, 2)
    if kind != 0x81 or size > 125:
        raise Refused(f"a whole text frame was wanted, not one that begins with {kind:#x} {size:#x}")
    return read(peer, size)


def drive(port: int, path: str, count: int, seconds: float) -> tuple[int, float]:
    """Echoes that came on some connections, and the seconds they took.

    Raises:
        Refused: a wrong echo, or a connection that was closed.
    """
    sent = frame(TEXT)
    wanted = bytes((0x81, len(TEXT))) + TEXT
    peers = {}
    poll = select.epoll()
    for _ in range(count):
        peer = connect(port, path)
        peers[peer.fileno()] = peer
        poll.register(peer, select.EPOLLIN)
    parts: dict[int, bytes] = {}
    echoes = 0
    begin = time.perf_counter()
    end = begin + seconds
    for peer in peers.values():
        peer.send(sent)
    while time.perf_counter() < end:
        ready = poll.poll(1)
        if not ready:
            raise Refused("no echo for a second")
        for number, _ in ready:
            peer = peers[number]
            found = parts.pop(number, b"") + peer.recv(256)
            if found == wanted:
                echoes += 1
                peer.send(sent)
            elif found and wanted.startswith(found):
                parts[number] = found
            else:
                raise Refused(f"not the echo that was wanted: {found[:100]!r}")
    took = time.perf_counter() - begin
    for peer in peers.values():
        peer.close()
    return echoes, took


if __name__ == "__main__":
    try:
        print(json.dumps(drive(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
    except (Refused, OSError) as error:
        sys.exit(str(error))
