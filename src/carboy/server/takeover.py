"""How a connection that granian accepted becomes ours: the hand-over of one TCP socket, and the reasons it is safe.

Granian (hyper) reads a handshake as it reads any request, and its own threads hold the connection's descriptor. We know
that connection by the addresses of both ends only. The way, in this order:

1. *Find* the number whose peer is the one granian saw, and whose local port is the one we listen at. A number may be
   closed and given to another file at any moment by granian's threads, so nothing is done to a number but to copy it.
2. *Copy* it (`F_DUPFD_CLOEXEC`), and look again, at the copy: it is ours, so nobody can change what it means. If it is
   not the connection, the copy is closed, which harms nobody. Linux gives each open socket an inode number of its own;
   it is not given again while our copy is open, so it tells this connection from every other.
3. *Answer 101 through granian.* After a 101, hyper gives the connection up for whatever protocol comes next: it flushes
   the answer, reads nothing more, and, since nobody asked it for the upgraded stream, closes its descriptor without
   `shutdown`. A TCP connection ends with its *last* descriptor; that is now our copy, and it lives on.
4. *Wait for the release*: until the number is closed, or means another inode. Before that we neither read nor write,
   so at no moment two parties use the socket, and what we write stands behind the whole 101. If it does not come, the
   copy is closed, and the connection is granian's as before.

What follows from it. No descriptor is ever put under a number that is another's (`dup2`), so no accident of timing can
touch a stranger's file. A client that aborts makes granian close its number sooner: we then hold the only descriptor,
read the end, and close. Nothing is to be given back at the end, and a socket costs one descriptor, as it did before.
Where no descriptor is free, the copy fails and the handshake is answered 503.

A client must not send frames before it has read the 101 (RFC 6455 §4.1). What one sends all the same, in one piece with
its handshake, is in granian's buffer and lost; frames that arrive after the answer are in the kernel, and are ours.

Two connections can agree in peer and local port only if the machine has two addresses. If both are here, neither
is taken over. Not possible at all: TLS (the keys are in granian's memory), Unix sockets (their peers have no
addresses), other systems than Linux. `can_take_over` says so once, when the worker starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Container

from .machine import descriptor_limit
from .options import Options

#: Descriptors above the connections that granian may hold: those of the application and of the worker itself.
_OTHERS = 1024
#: So many numbers in a row that mean nothing: connections beyond them would be remains of a rush. The kernel gives the
#: lowest number that is free.
_GAP = 64
#: Seconds that granian has to give its descriptor up. Measured: 0.02 to 4 ms.
RELEASE_LIMIT = 5.0


def can_take_over(options: Options, listening: socket.socket) -> bool:
    """Tell whether connections of this worker can be taken over from granian."""
    return (
        sys.platform == "linux"
        and options.interface == "asgi"
        and options.http != "2"
        and options.tls_cert is None
        and listening.family in (socket.AF_INET, socket.AF_INET6)
    )


class Held:
    """Our copy of a connection's descriptor, and what tells whether granian has given up its own."""

    __slots__ = ("fd", "inode", "number")

    def __init__(self, fd: int, number: int, inode: int) -> None:
        self.fd = fd
        self.number = number
        self.inode = inode

    def is_released(self) -> bool:
        """Whether granian holds the connection no more."""
        try:
            return os.fstat(self.number).st_ino != self.inode
        except OSError:
            return True

    async def released(self, within: float = RELEASE_LIMIT) -> bool:
        """Wait until granian holds the connection no more; return whether it came to that."""
        until = time.monotonic() + within
        pause = 0.0
        turns = 0
        while not self.is_released():
            if time.monotonic() > until:
                return False
            # Mostly some 50 µs: a few turns of the loop. A loop that has nothing else to do must not spin for longer.
            turns += 1
            if turns > 4:
                pause = min(0.05, pause * 2 or 0.0005)
            await asyncio.sleep(pause)
        return True

    def close(self) -> None:
        """Let go of it without a word: the connection is whose it was."""
        os.close(self.fd)


class Finder:
    """Finds the connections of one worker.

    Args:
        listening: the socket at which they were accepted; TCP.
        most: connections that granian may hold at once.
    """

    def __init__(self, listening: socket.socket, most: int) -> None:
        self.port: int = listening.getsockname()[1]
        #: Ours are put above granian's, so that a search does not walk over them.
        limit = descriptor_limit()
        self.floor = max(3, min(most + _OTHERS, limit // 2))
        #: Where the search ends. With few descriptors granian's stand among ours.
        self.ceiling = self.floor if self.floor == most + _OTHERS else limit
        # PERF: 0.4 µs a number, where socket.socket(fileno=…) takes 3. PyDLL: the call never blocks, so the
        # interpreter's lock is kept.
        self.getpeername = ctypes.PyDLL(None).getpeername
        self.raw = bytearray(128)
        self.buffer = (ctypes.c_char * 128).from_buffer(self.raw)
        self.length = ctypes.c_uint32()

    def find(self, peer: tuple[str, int], taken: Container[int]) -> Held | None:
        """Find and copy the connection of a peer.

        Args:
            peer: address and port as granian gives them.
            taken: inodes of connections that are ours already.

        Returns:
            None where there is no such connection any more, or more than one.

        Raises:
            OSError: EMFILE or ENFILE, no descriptor is free.
        """
        held: Held | None = None
        try:
            for number in self.numbers(peer):
                found = self.copy(number, peer)
                if found is None:
                    continue
                if found.inode in taken:
                    found.close()
                elif held is not None:
                    found.close()
                    held.close()
                    return None
                else:
                    held = found
        except OSError:
            if held is not None:
                held.close()
            raise
        return held

    def numbers(self, peer: tuple[str, int]) -> list[int]:
        """The descriptors that seem to be of a peer."""
        try:
            address = socket.inet_pton(socket.AF_INET6 if ":" in peer[0] else socket.AF_INET, peer[0])
        except OSError:
            return []
        # struct sockaddr_in and sockaddr_in6: family, port, (flow,) address.
        wanted, offset = peer[1].to_bytes(2, "big"), 8 if ":" in peer[0] else 4
        family = (socket.AF_INET6 if ":" in peer[0] else socket.AF_INET).to_bytes(2, sys.byteorder)
        start, end = family + wanted, offset + len(address)
        found: list[int] = []
        getpeername, raw, buffer, length = self.getpeername, self.raw, self.buffer, self.length
        reference = ctypes.byref(length)
        nothing = 0
        for number in range(3, self.ceiling):
            length.value = 128
            if getpeername(number, buffer, reference) == 0:
                nothing = 0
                if raw[:4] == start and raw[offset:end] == address:
                    found.append(number)
            elif not found:
                continue
            else:
                # Files and listening sockets fail too, but they do not stand in rows of so many.
                nothing += 1
                if nothing > _GAP:
                    break
        return found

    def copy(self, number: int, peer: tuple[str, int]) -> Held | None:
        """Copy a number, if it is the peer's connection."""
        try:
            fd = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, self.floor)
        except OSError as error:
            if error.errno == errno.EBADF:  # closed since we looked
                return None
            raise
        try:
            copy = socket.socket(fileno=fd)
        except OSError:  # another file by now, and no socket
            os.close(fd)
            return None
        with contextlib.suppress(OSError):
            if copy.type == socket.SOCK_STREAM and copy.getpeername()[:2] == peer and copy.getsockname()[1] == self.port:
                return Held(copy.detach(), number, os.fstat(fd).st_ino)
        copy.close()
        return None
