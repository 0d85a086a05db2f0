"""Who serves the bus: the process that holds the lock. The kernel takes it from a process that dies, however it dies.

The lock file is there as long as there is, or was, a hub with others around it. Who finds it there and can lock it
is a successor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
import weakref
from pathlib import Path

from .place import Place

#: Seconds after which a lock that nobody holds is litter.
LITTER = 60.0

_taken: weakref.WeakSet[Seat] = weakref.WeakSet()


class Seat:
    """The hub's seat at a place, taken: a lock held, and a socket that listens.

    Attributes:
        listening: the socket.
        is_successor: whether there was a hub before.
    """

    def __init__(self, place: Place, lock: int, listening: socket.socket, is_successor: bool) -> None:
        self.place = place
        self.lock = lock
        self.listening = listening
        self.is_successor = is_successor
        _taken.add(self)

    def give_up(self, *, is_last: bool) -> None:
        """Stop serving.

        Args:
            is_last: nobody else is there; leave nothing behind.
        """
        _taken.discard(self)
        with contextlib.suppress(FileNotFoundError):
            Path(self.place.socket).unlink()
        if is_last:
            with contextlib.suppress(FileNotFoundError):
                Path(self.place.lock).unlink()
        self.listening.close()
        os.close(self.lock)


def take_seat(place: Place) -> Seat | None:
    """Become the hub, if nobody is.

    Raises:
        OSError: the files cannot be made.
    """
    found = _lock(place.lock)
    if found is None:
        return None
    lock, existed = found
    try:
        with contextlib.suppress(FileNotFoundError):
            Path(place.socket).unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(place.socket)
            listening.listen(256)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    except BaseException:
        os.close(lock)
        raise
    _clear_litter(Path(place.lock).parent, place)
    return Seat(place, lock, listening, existed)


def _lock(path: str) -> tuple[int, bool] | None:
    """Lock a file; tell too whether it was there before. None if another process holds it."""
    while True:
        existed = True
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            existed = False
        except FileExistsError:
            try:
                lock = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        # Who held it may have removed it before we got it: then the lock is on a file that nobody else will find.
        try:
            found = os.stat(path)
        except FileNotFoundError:
            os.close(lock)
            continue
        held = os.fstat(lock)
        if (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino):
            return lock, existed
        os.close(lock)


def _clear_litter(directory: Path, own: Place) -> None:
    """Remove what hubs that were killed have left."""
    for path in directory.glob("bus-*.lock"):
        if str(path) == own.lock:
            continue
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < LITTER:
                continue
            found = _lock(str(path))
            if found is not None:
                with contextlib.suppress(FileNotFoundError):
                    path.with_suffix(".sock").unlink()
                path.unlink()
                os.close(found[0])


def _forget_seats() -> None:
    """A forked child holds copies of the lock and the socket; while it did, nobody could succeed its parent."""
    for seat in tuple(_taken):
        with contextlib.suppress(OSError):
            os.close(seat.listening.detach())
        with contextlib.suppress(OSError):
            os.close(seat.lock)
    _taken.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_seats)
