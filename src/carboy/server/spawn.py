"""Starting a worker process: a fresh interpreter, a channel to it, and the application it is to load.

The conversation begins here, for every worker: main process -> what to load; worker -> `loaded` (or `failed`), with
what the application's configuration says of the server; main process -> the listening socket and the options.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .around import Around
from .channel import Lines, Message, Sender
from .errors import WorkerFailed
from .options import Options


class Link:
    """A worker's process and the channel to it."""

    __slots__ = ("channel", "lines", "listens", "process", "send", "spawner")

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, spawner: Spawner) -> None:
        self.spawner = spawner
        self.process = process
        self.channel = channel
        self.lines = Lines()
        #: Addresses at which the application it has loaded wants to listen beside HTTP.
        self.listens: list[Mapping[str, Any]] = []
        self.send = Sender(channel).send

    @property
    def pid(self) -> int:
        return self.process.pid

    def send_off(self, listening: socket.socket, options: Options, services: Mapping[str, int]) -> None:
        """Give a worker that has loaded its application the socket, those of its services, and the options."""
        # A worker that died meanwhile will be seen; the one byte only carries the descriptor.
        with contextlib.suppress(OSError):
            shared = {**self.spawner.shared, **services}
            socket.send_fds(self.channel, [b" "], [listening.fileno(), *shared.values()])
            self.send({"do": "serve", "options": options.to_json(), "shared": list(shared)})

    def end(self) -> None:
        """Kill the process and forget it."""
        self.process.kill()
        self.process.wait()
        self.channel.close()


class Spare:
    """A process that has loaded Python, Carboy and granian, and waits to be told what to load. It ends with its channel."""

    __slots__ = ("channel", "place", "process")

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, place: tuple[int, int] | None) -> None:
        self.process = process
        self.channel = channel
        #: The directory it stands in.
        self.place = place

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """Kill the process and forget it."""
        self.process.kill()
        self.process.wait()
        self.channel.close()


class Spawner:
    """Starts workers for one target, from the place where the server was started."""

    def __init__(self, target: str | None, around: Around | None = None) -> None:
        self.target = target
        self.around = around
        #: Descriptors that every worker gets beside the listening socket, by name.
        self.shared: Mapping[str, int] = {}
        self.where = Whereabouts()
        self.spare: Spare | None = None
        #: What the workers of this server have in common, and nobody else: where their channels meet is named by it.
        self.instance = f"{os.getpid()}-{secrets.token_hex(8)}"

    def spawn(self) -> Link:
        """Have a process load the application: the spare one if there is one, or else a new one.

        Raises:
            OSError: the machine has no process, memory or descriptor left.
        """
        chosen, self.spare = self.spare, None
        if chosen is not None and not (chosen.is_alive and chosen.place == self.where.place()):
            # A release that has been switched meanwhile must not be loaded from the directory of the one before.
            chosen.end()
            chosen = None
        chosen = chosen or self.begin()
        link = Link(chosen.process, chosen.channel, self)
        link.send(
            {
                "parent": os.getpid(),
                "path": self.where.sys_path(),
                "python_path": os.environ.get("PYTHONPATH"),
                "target": self.target,
                "around": self.around.worker if self.around is not None else None,
            }
        )
        return link

    def prepare(self) -> None:
        """Have a spare process at hand, so that the next worker is ready sooner.

        Raises:
            OSError: the machine has no process, memory or descriptor left.
        """
        if self.spare is None:
            self.spare = self.begin()

    def discard(self) -> None:
        """End the spare process: we stop, or what it has loaded is of the release before."""
        if self.spare is not None:
            self.spare.end()
            self.spare = None

    def begin(self) -> Spare:
        """Start a process that waits for its first message."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, *subprocess._args_from_interpreter_flags(), "-m", "carboy.server", str(theirs.fileno())],  # type: ignore[attr-defined]  # as multiprocessing does
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    cwd=self.where.directory,
                    env={**os.environ, "PYTHONPATH": self.where.python_path, "CARBOY_INSTANCE": self.instance},
                    # Not in our process group: the terminal's Ctrl-C is for the main process alone.
                    process_group=0,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return Spare(process, ours, self.where.place())


def wait_loaded(link: Link, timeout: float) -> Message:
    """Wait until a worker has loaded its application; for the very first one, when there is nothing else to do.

    Args:
        link: a worker just started.
        timeout: seconds.

    Raises:
        WorkerFailed: it could not, or not in time. The text is for the operator.
    """
    until = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(link.channel, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            try:
                received = link.channel.recv(65536)
            except OSError:
                received = b""
            if not received:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    link.process.wait(1)
                raise WorkerFailed(f"a worker ended with exit code {link.process.poll()} while it loaded the application")
            for message in link.lines.feed(received):
                if message["is"] == "failed":
                    raise WorkerFailed(message["why"])
                if message["is"] == "loaded":
                    return message
    raise WorkerFailed(not_ready(timeout))


def not_ready(timeout: float) -> str:
    """What to tell of a worker that takes too long."""
    return f"a worker was not ready within {timeout:g} s; see what the application waits for, or give --start-timeout"


class Whereabouts:
    """Where the server was started: the directory by its logical name, and the import path.

    Releases are often switched by a symbolic link (`current -> releases/42`). A process stays in the directory it was
    started in; workers of the next release must start where the link leads *then*.
    """

    def __init__(self) -> None:
        physical = os.getcwd()
        logical = os.environ.get("PWD", "")
        same = False
        with contextlib.suppress(OSError):
            same = bool(logical) and os.path.samefile(logical, physical)
        self.physical = physical
        self.directory = logical if same else physical
        self.had_terminal = _terminal() is True
        self.python_path = os.pathsep.join(self.sys_path())

    def sys_path(self) -> list[str]:
        """The import path for a worker: ours, with the start directory by its logical name."""
        found: list[str] = []
        for entry in sys.path:
            logical = entry
            if entry == "" or entry == self.physical:
                logical = self.directory
            elif entry.startswith(self.physical + os.sep):
                logical = str(Path(self.directory) / Path(entry).relative_to(self.physical))
            if logical not in found:
                found.append(logical)
        return found

    def place(self) -> tuple[int, int] | None:
        """Which directory that is now; None if there is none."""
        with contextlib.suppress(OSError):
            found = os.stat(self.directory)
            return found.st_dev, found.st_ino
        return None

    def lost_terminal(self) -> bool:
        """True if SIGHUP came because the terminal was closed, not because somebody asked for a reload."""
        return self.had_terminal and _terminal() is False


def _terminal() -> bool | None:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        return False if error.errno in {errno.ENXIO, errno.EIO, errno.ENOENT} else None
    return True
