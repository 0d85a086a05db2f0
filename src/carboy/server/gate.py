"""Stop and start accepting on a socket that somebody else's code polls.

Granian's accept loop can only be ended, together with everything else, by its stop signal; it spins when there are no
descriptors left, and goes on accepting for a Python that hangs. So granian gets a descriptor of its own, and closing
the gate puts a silent socket under that number: `accept` then says "nothing there" and the loop sleeps. The real
socket stays registered with the kernel's poller, because the main process holds it open; putting it back opens the gate.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading

from .listen import queue_length


class Gate:
    """The door of one worker in the shared listening socket.

    Reasons are names; the gate is open while there is none. Used from any thread.
    """

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        #: The number to give away: its owner may close it.
        self.fd = os.dup(listening.fileno())
        os.set_inheritable(self.fd, False)
        self.reasons: set[str] = set()
        self.lock = threading.Lock()
        # Without epoll's registration by open file (kqueue drops it) the trick does not hold; the gate then stays open.
        self.works = sys.platform == "linux"
        self.silent = _silent_socket() if self.works else None

    def dispose(self) -> None:
        """Close what is ours; the number given away is its owner's, unless it was never used."""
        if self.silent is not None:
            self.silent.close()

    @property
    def is_open(self) -> bool:
        return not self.reasons

    def close(self, reason: str) -> None:
        """Accept nothing more until every reason is withdrawn."""
        with self.lock:
            if not self.reasons and self.silent is not None:
                # dup2 onto a number in use needs no free descriptor, so this works when there are none left.
                os.dup2(self.silent.fileno(), self.fd, inheritable=False)
            self.reasons.add(reason)

    def open(self, reason: str) -> None:
        """Withdraw a reason; accept again if it was the last."""
        with self.lock:
            if reason not in self.reasons:
                return
            self.reasons.discard(reason)
            if self.reasons or self.silent is None:
                return
            os.dup2(self.listening.fileno(), self.fd, inheritable=False)
        self._wake()

    def _wake(self) -> None:
        """Let the poller look at the queue again: it is edge-triggered, and those who came meanwhile made their edge."""
        if queue_length(self.listening) == 0 and self.listening.family != socket.AF_UNIX:
            return
        with contextlib.suppress(OSError), socket.socket(self.listening.family, socket.SOCK_STREAM) as knock:
            knock.setblocking(False)
            knock.connect(self.listening.getsockname())


def _silent_socket() -> socket.socket:
    """A listening socket that nobody can reach: its path is gone before anybody could know it."""
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory(prefix="carboy-") as folder:
        silent.bind(os.path.join(folder, "silent"))
    silent.listen(1)
    silent.setblocking(False)
    return silent
