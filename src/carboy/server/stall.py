"""Clients that stop reading, seen by the kernel: the only one that can end a connection whose answer is handed over whole."""

from __future__ import annotations

import contextlib
import socket

#: Linux; accepted connections inherit it from the socket they were accepted on.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


def end_stalled_writes(listening: socket.socket, seconds: float) -> bool:
    """Have the kernel reset connections whose client has read (or acknowledged) nothing for so long.

    It is seen by the application as any client that has gone. Holds for each door.

    Args:
        seconds: 0 for no limit.

    Returns:
        Whether this system can: not without TCP, and not outside Linux.

    Source: RFC 5482; tcp(7), TCP_USER_TIMEOUT, which counts a closed window too.
    """
    if _USER_TIMEOUT is None or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(seconds * 1000))
        return True
    return False
