"""A port for the operator alone: health and metrics, answered by a thread, so also while the event loop hangs.

All workers accept on one socket; whichever is quickest answers, for all. HTTP/1.0's manners: one request a connection.
Nothing of the application is reachable here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import stat
import threading
from collections.abc import Callable, Mapping

from .observer import Page

log = logging.getLogger("carboy.observe")

#: Seconds a client has for its request; requests at once; most bytes of a head.
PATIENCE, AT_ONCE, LONGEST = 5.0, 8, 8192
_WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error", 503: "Service Unavailable"}
_TEXT = (("content-type", "text/plain; charset=utf-8"),)


def open_port(address: str) -> socket.socket:
    """Listen on `HOST:PORT` or `unix:PATH`.

    Raises:
        ValueError: the address is neither.
        OSError: it cannot be had.
    """
    if address.startswith("unix:"):
        return _open_unix(address.removeprefix("unix:"))
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is no address for the management port; write 127.0.0.1:9000, [::1]:9000 or unix:/path")
    return socket.create_server((host.strip("[]") or "127.0.0.1", int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64)


def _open_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(f"{path} is there and is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                os.unlink(path)  # nobody listens: left by a server that was killed
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    os.chmod(path, 0o660)
    listening.listen(64)
    return listening


class Management(threading.Thread):
    """Answers on a listening socket until it is stopped.

    Args:
        listening: shared with the other workers.
        pages: by path.
        is_leaving: a worker on its way out leaves the port to others while there are any.
        is_early: a worker that starts while others serve does not answer: it would say what is true of itself alone.
    """

    def __init__(
        self,
        listening: socket.socket,
        pages: Mapping[str, Page],
        is_leaving: Callable[[], bool] = lambda: False,
        is_early: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(name="carboy-management", daemon=True)
        self.listening = listening
        # Another worker may take the connection that we were told of.
        self.listening.setblocking(False)
        self.pages = pages
        self.is_leaving = is_leaving
        self.is_early = is_early
        self.places = threading.Semaphore(AT_ONCE)
        self.over = threading.Event()

    def run(self) -> None:
        poller = select.poll()
        poller.register(self.listening, select.POLLIN)
        while not self.over.is_set():
            if not poller.poll(500) or self.over.is_set():
                continue
            if self.is_leaving() and self.over.wait(0.05):
                return
            if self.is_early():
                self.over.wait(0.05)
                continue
            if not self.places.acquire(timeout=PATIENCE):
                continue
            try:
                connection, _ = self.listening.accept()
            except OSError:
                self.places.release()
                self.over.wait(0.01)
                continue
            threading.Thread(target=self.answer, args=(connection,), name="carboy-management-answer", daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        """Serve one connection."""
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(PATIENCE)
                method, path = _request(connection)
                status, headers, body = self.page(method, path)
                head = [f"HTTP/1.1 {status} {_WORDS.get(status, 'Unknown')}", *(f"{name}: {value}" for name, value in headers)]
                head += [f"content-length: {len(body)}", "connection: close", "", ""]
                connection.sendall("\r\n".join(head).encode("latin1") + (b"" if method == "HEAD" else body))
                # A reset would take the answer away from a client that is still sending.
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(1)
                while connection.recv(4096):
                    pass
        finally:
            self.places.release()

    def page(self, method: str, path: str) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        if not method:
            return 400, _TEXT, b"not understood\n"
        page = self.pages.get(path)
        if page is None:
            return 404, _TEXT, ("here are: " + " ".join(sorted(self.pages)) + "\n").encode()
        if method not in ("GET", "HEAD"):
            return 405, (*_TEXT, ("allow", "GET, HEAD")), b"only GET and HEAD\n"
        try:
            return page()
        except Exception:
            log.exception("the management page %s failed", path)
            return 500, _TEXT, b"failed; see the server's log\n"

    def stop(self) -> None:
        self.over.set()


def _request(connection: socket.socket) -> tuple[str, str]:
    """Read a request's head; method and path, empty if it is none."""
    received = b""
    while b"\r\n\r\n" not in received and b"\n\n" not in received:
        chunk = connection.recv(4096)
        if not chunk or len(received) > LONGEST:
            return "", ""
        received += chunk
    words = received.split(b"\n", 1)[0].decode("latin1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return "", ""
    return words[0], words[1].partition("?")[0]
