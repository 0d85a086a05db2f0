"""Bytes to the server and back, without an HTTP client that would mend them; and a server to send them to."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


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


@contextlib.contextmanager
def serving(folder, *options, target="limits:app"):
    """The real command with one worker, for the tests of a module that change nothing in it."""
    shutil.copytree(HERE / "app", folder, dirs_exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_"))}
    environ["PYTHONPATH"] = str(HERE.parents[1] / "src")
    command = [sys.executable, "-m", "carboy", "run", target, "--port", str(port), "--control", "off", "--workers", "1", *options]
    output = folder / "output.txt"
    with output.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=stream, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 20
        while True:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < until, output.read_text()
            try:
                if exchange(port, get())[0]:
                    break
            except OSError:
                time.sleep(0.05)
        yield Running(port, output)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


class Running:
    """Where a server is, and what it has printed."""

    def __init__(self, port, output):
        self.port = port
        self.output = output

    def text(self):
        return self.output.read_text()

    def get(self, path):
        return exchange(self.port, get(path))[0].partition(b"\r\n\r\n")[2].decode()
