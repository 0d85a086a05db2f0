"""Three places where the application of these tests is served, and one way to speak with it. No tests live here."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from carboy import WebSocketDisconnect
from carboy.testing.websocket import WebSocketRefused

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src"
CHAT = HERE.parents[2] / "docs" / "examples" / "realtime" / "chat.py"
PATIENCE = 20.0

COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "socket_app:app", "--port", "{port}", "--log-level", "warning"],
    "carboy run": ["-m", "carboy", "run", "socket_app:app", "--port", "{port}", "--workers", "1"],
    "carboy run behind a proxy": [
        "-m", "carboy", "run", "socket_app:app", "--port", "{port}", "--workers", "1", "--trusted-proxies", "127.0.0.1",
    ],
    "the guide's chat": ["-m", "carboy", "run", str(CHAT), "--port", "{port}", "--workers", "4"],
}


class Refused(Exception):
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Closed(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class InProcess:
    """The test client."""

    name = "in process"

    def __init__(self, app: Any) -> None:
        self.app = app

    @contextlib.contextmanager
    def open(self, path: str, headers: Sequence[tuple[str, str]] = (), subprotocols: Sequence[str] = ()) -> Iterator[Any]:
        client = self.app.test_client(use_cookies=False)
        try:
            with client.websocket(path, headers=list(headers), subprotocols=subprotocols) as session:
                yield _Session(session)
        except WebSocketRefused as refused:
            response = refused.response
            raise Refused(response.status_code, response.headers, response.data) from None

    def get(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> tuple[int, Any, bytes]:
        response = self.app.test_client(door="asgi", use_cookies=False).get(path, headers=list(headers))
        return response.status_code, response.headers, response.data


class _Session:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.headers = session.headers
        self.subprotocol = session.subprotocol
        self.send = session.send

    def receive(self, timeout: float = 5.0) -> str | bytes:
        try:
            return self.session.receive(timeout)  # type: ignore[no-any-return]
        except WebSocketDisconnect as gone:
            raise Closed(gone.code, gone.reason) from None

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.session.close(code, reason)

    def abort(self) -> None:
        self.session.close(1006)


class Served:
    """A real server, in a process of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.output = folder / "output.txt"
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("CARBOY_", "FLASK_"))}
        environ["PYTHONPATH"] = str(SOURCE)
        command = [part.format(port=self.port) for part in COMMANDS[name]]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen([sys.executable, *command], cwd=HERE, env=environ, stdout=output, stderr=output)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.process.kill()
                    raise AssertionError(f"{name} did not start: {self.text()}") from None
                time.sleep(0.05)

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    @contextlib.contextmanager
    def open(self, path: str, headers: Sequence[tuple[str, str]] = (), subprotocols: Sequence[str] = ()) -> Iterator[Any]:
        try:
            line = connect(
                f"ws://127.0.0.1:{self.port}{path}",
                additional_headers=list(headers),
                subprotocols=list(subprotocols) or None,  # type: ignore[arg-type]
                compression=None,
                close_timeout=2,
                proxy=None,
            ).__enter__()
        except InvalidStatus as refused:
            response = refused.response
            raise Refused(response.status_code, response.headers, bytes(response.body)) from None
        try:
            yield _Line(line)
        finally:
            line.close()

    def get(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> tuple[int, Any, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=dict(headers))
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not stop: {self.text()}") from None


class _Line:
    def __init__(self, line: Any) -> None:
        self.line = line
        self.headers = line.response.headers
        self.subprotocol = line.subprotocol

    def send(self, message: Any) -> None:
        self.line.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def receive(self, timeout: float = 5.0) -> str | bytes:
        try:
            return self.line.recv(timeout)  # type: ignore[no-any-return]
        except ConnectionClosed as closed:
            frame = closed.rcvd
            raise Closed(frame.code if frame else 1006, frame.reason if frame else "") from None

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.line.close(code, reason)

    def abort(self) -> None:
        """Break the connection, without a word."""
        self.line.socket.shutdown(socket.SHUT_RDWR)
