"""Bytes to the server and back, without an HTTP client that would mend them."""

import re
import socket
import time


def exchange(port, *pieces, wait=5.0, pause=0.0, half_close=False):
    """Send pieces and read to the end of the connection, or for *wait* seconds; return what came and the seconds it took.

    `<open>` stands at the end where the server has kept the connection.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        try:
            for index, piece in enumerate(pieces):
                if index and pause:
                    time.sleep(pause)
                connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has answered and closed before all was sent
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < wait:
                chunk = connection.recv(65536)
                if not chunk:
                    return received, time.monotonic() - begun
                received += chunk
        except TimeoutError:
            pass
        except OSError as error:
            return received + f"<{type(error).__name__}>".encode(), time.monotonic() - begun
    return received + b"<open>", time.monotonic() - begun


def get(path="/", *headers, host="localhost"):
    """The bytes of a GET that closes its connection."""
    lines = [f"GET {path} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin1")


def post(path, *headers, body=b""):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode("latin1") + body


def status_of(received):
    """The status of the first answer that is not a 1xx."""
    found = [int(each) for each in re.findall(rb"HTTP/1\.[01] ([0-9]{3})", received)]
    return next((each for each in found if each >= 200), None)
