"""The control socket: `carboy ctl` on one end, the supervisor on the other.

A Unix socket in a directory of the user's own (0700), named by the server's process id. One JSON object a line; a
client sends one order and reads one answer: `{"do": "status"}` -> `{"ok": true, "status": {...}}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..gateways.sockets import inode, remove_own_path
from .channel import Lines, Message, pack
from .errors import BindError, ControlError
from .listen import clear_stale

#: More than this at once is no operator.
MOST_CLIENTS = 16

Order = Callable[[Message, Callable[[Message], None]], None]


def directory() -> Path:
    """Where the control sockets of this user's servers are."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"carboy-{os.getuid()}"


def own_directory() -> Path:
    """The same, made and checked: in a shared /tmp somebody else might have put it there first."""
    path = directory()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BindError(f"{path} is not a directory of this user alone; remove it, or give --control PATH")
    return path


class ControlServer:
    """The listening end. Runs inside the supervisor's selector loop."""

    def __init__(self, path: str | None) -> None:
        """Bind the socket.

        Args:
            path: where; None for the user's directory and our process id.

        Raises:
            BindError: a server listens there already, or the place is not ours.
        """
        self.path = path or str(own_directory() / f"{os.getpid()}.sock")
        clear_stale(self.path)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self.listening.bind(self.path)
        except OSError as error:
            self.listening.close()
            raise BindError(f"--control {self.path} cannot be made: {error.strerror}") from error
        finally:
            os.umask(mask)
        self.owned = inode(self.path)
        self.listening.listen(8)
        self.listening.setblocking(False)
        self.clients: dict[socket.socket, Lines] = {}

    def attach(self, selector: selectors.BaseSelector, order: Order) -> None:
        self.selector = selector
        self.order = order
        selector.register(self.listening, selectors.EVENT_READ, self.accept)

    def accept(self) -> None:
        try:
            client, _ = self.listening.accept()
        except OSError:
            return
        if len(self.clients) >= MOST_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self.clients[client] = Lines()
        self.selector.register(client, selectors.EVENT_READ, lambda: self.hear(client))

    def hear(self, client: socket.socket) -> None:
        if client not in self.clients:
            return
        try:
            received = client.recv(65536)
            messages = list(self.clients[client].feed(received)) if received else None
        except BlockingIOError:
            return
        except (OSError, ValueError):
            messages = None
        if messages is None:
            self.drop(client)
            return
        for message in messages:
            self.order(message, lambda answer: self.answer(client, answer))

    def answer(self, client: socket.socket, message: Message) -> None:
        if client not in self.clients:
            return  # it did not wait
        try:
            client.sendall(pack(message))
        except OSError:
            self.drop(client)

    def drop(self, client: socket.socket) -> None:
        if self.clients.pop(client, None) is not None:
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(client)
            client.close()

    def close(self) -> None:
        for client in list(self.clients):
            self.drop(client)
        self.listening.close()
        remove_own_path(self.path, self.owned)


def running() -> list[str]:
    """Control sockets of this user's servers that answer; dead ones are removed."""
    found = []
    # Named by a process id: other things that belong to servers have sockets here too.
    for path in sorted(directory().glob("[0-9]*.sock")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(2)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    path.unlink()
            except OSError:
                continue
            else:
                found.append(str(path))
    return found


def find(path: str | None = None) -> str:
    """The control socket to talk to.

    Raises:
        ControlError: there is no server, or there are several and none was named.
    """
    if path is not None:
        return path
    found = running()
    if not found:
        raise ControlError("no server of this user is running here; name its socket with --control PATH if it is elsewhere")
    if len(found) > 1:
        raise ControlError("several servers are running; name one with --control:\n  " + "\n  ".join(found))
    return found[0]


def ask(order: Message, path: str | None = None, timeout: float = 120.0) -> Message:
    """Send one order to a running server and wait for its answer.

    Args:
        order: `{"do": "status"}`, `{"do": "reload"}`, `{"do": "stop"}`, `{"do": "scale", "to": 4}`.
        path: the control socket; found by itself if this user runs one server.
        timeout: seconds to wait for the answer; a reload answers when it is through.

    Raises:
        ControlError: no server there, or it did not answer in time.

    Example:
        >>> ask({"do": "status"})["status"]["workers"]  # doctest: +SKIP
    """
    place = find(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(place)
            connection.sendall(pack(order))
            received = b""
            while not received.endswith(b"\n"):
                chunk = connection.recv(65536)
                if not chunk:
                    raise ControlError(f"the server at {place} closed the connection without an answer")
                received += chunk
        except TimeoutError as error:
            raise ControlError(f"the server at {place} did not answer within {timeout:g} s") from error
        except OSError as error:
            raise ControlError(f"no server answers at {place}: {error.strerror}") from error
    answer: Message = json.loads(received)
    return answer
