"""Socket activation and notifications of systemd, without its library.

Source: sd_listen_fds(3), sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

_FIRST = 3


def activated_sockets(environ: MutableMapping[str, str]) -> list[int]:
    """Descriptors passed to this process; the variables are removed, so that no child takes them for its own."""
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    found = list(range(_FIRST, _FIRST + int(count)))
    for fd in found:
        os.set_inheritable(fd, False)
    return found


class Notifier:
    """Tells systemd how the service fares; silent where no systemd asked."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        # Taken out of the environment: a worker that notified would confuse the state of the service.
        self.address = environ.pop("NOTIFY_SOCKET", "")
        if self.address.startswith("@"):
            self.address = "\0" + self.address[1:]
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        meant = not pid or pid == str(os.getpid())
        #: Seconds between two signs of life that systemd asked for, halved as it advises; None if it did not.
        self.watchdog = int(usec) / 2_000_000 if usec.isdigit() and int(usec) > 0 and meant else None
        self.sign_due = 0.0

    def tell(self, *lines: str) -> None:
        if not self.address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), self.address)

    def ready(self, status: str) -> None:
        self.tell("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def reloading(self) -> None:
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self.tell("STOPPING=1")

    def sign_of_life(self, now: float) -> None:
        if self.watchdog is not None and now >= self.sign_due:
            self.sign_due = now + self.watchdog
            self.tell("WATCHDOG=1")
