"""Counters in memory that all workers share, and that outlives each of them.

One file without a name (or in a runtime folder) holds a fixed number of slots; a worker claims a free one and writes
there alone, so nothing is locked between processes on the way of a request. The claim is a lock on one byte, which the
kernel gives back when the process ends, however it ends. Who claims the slot next goes on counting where the dead one
stopped: nothing is lost and nothing is counted twice. Any process can read all slots.

Every word has 8 bytes and is aligned, so a reader sees the old value or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC, _LAYOUT = 0x59_4F_42_52_41_43, 1
#: Most workers at once, those on their way out among them; pages that nobody touches cost nothing.
SLOTS = 256
#: Most routes by method that one worker tells apart; what is beyond counts as `OTHER`.
ENTRIES = 1024
_HEAD_WORDS = 64
_SLOT_WORDS = 64
_NAME_WORDS = 25
_NAME_BYTES = (_NAME_WORDS - 1) * 8
_ENTRY_WORDS = 48

# -- words of a slot ------------------------------------------------------------------------------
PID, CLAIMS, DEATHS, BORN, TICKED, STATE, STARTED, ENDED, CUT_OFF, USED = range(10)
THREADS, THREADS_BUSY, THREADS_WAITING, MEMORY, LAG, ACCEPTING_QUEUE, LINES_LOST, SHED = range(10, 18)
_GAUGES = (THREADS, THREADS_BUSY, THREADS_WAITING, MEMORY, LAG, ACCEPTING_QUEUE)

# -- states of a worker ---------------------------------------------------------------------------
STARTING, READY, DRAINING, GONE = 1, 2, 3, 4

# -- words of an entry, after its name ------------------------------------------------------------
#: Six counters: no status at all, then 1xx to 5xx.
_CLASSES = _NAME_WORDS
_NANOSECONDS = _CLASSES + 6
_BYTES = _NANOSECONDS + 1
_BUCKETS = _BYTES + 1

#: Upper bounds of the histogram, seconds; beyond the last is infinity.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BOUNDS = tuple(int(each * 1_000_000_000) for each in BOUNDS)

OTHER = ("other", "(other)")

_SIZE = (_HEAD_WORDS + SLOTS * (_SLOT_WORDS + ENTRIES * _ENTRY_WORDS)) * 8


@dataclass(slots=True)
class Entry:
    """What was counted of one route and method."""

    #: Answers without a status, then by the status's first digit.
    classes: list[int]
    nanoseconds: int
    bytes: int
    #: Not cumulated; one for each bound, and one beyond.
    buckets: list[int]


@dataclass(frozen=True, slots=True)
class Reading:
    """A slot as a reader found it."""

    number: int
    words: tuple[int, ...]
    is_alive: bool

    @property
    def is_serving(self) -> bool:
        return self.is_alive and self.words[STATE] == READY

    @property
    def in_flight(self) -> int:
        return max(0, self.words[STARTED] - self.words[ENDED]) if self.is_alive else 0

    @property
    def died_unburied(self) -> bool:
        """The worker has died and no other has claimed its slot yet."""
        return not self.is_alive and self.words[STATE] != GONE

    @property
    def deaths(self) -> int:
        return self.words[DEATHS] + self.died_unburied

    @property
    def cut_off(self) -> int:
        lost = self.words[STARTED] - self.words[ENDED] if self.died_unburied else 0
        return self.words[CUT_OFF] + max(0, lost)


def make_memory() -> int:
    """Make memory for one server; return its descriptor, to be inherited by workers.

    Raises:
        OSError: the machine has none.
    """
    if sys.platform == "linux":
        fd = os.memfd_create("carboy-metrics", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="carboy-metrics-")
        os.unlink(path)
    os.ftruncate(fd, _SIZE)
    return fd


def open_memory(path: str) -> int:
    """Open memory that has a name, for servers that cannot hand descriptors to their workers.

    Raises:
        OSError: the file cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.fstat(fd).st_size < _SIZE:
        os.ftruncate(fd, _SIZE)
    return fd


class Memory:
    """The slots of one server.

    Args:
        fd: from `make_memory` or `open_memory`; owned from now on.

    Raises:
        ValueError: it was made by another version of this file.
    """

    def __init__(self, fd: int) -> None:
        if os.fstat(fd).st_size != _SIZE:
            raise ValueError("the metrics memory has another size than this version of Carboy makes")
        self.fd = fd
        self.map = mmap.mmap(fd, _SIZE)
        self.words = memoryview(self.map).cast("Q")
        if self.words[0] == 0:
            # Whoever comes at the same time writes the same.
            self.words[1] = _LAYOUT
            self.words[0] = _MAGIC
        if (self.words[0], self.words[1]) != (_MAGIC, _LAYOUT):
            raise ValueError("the metrics memory was made by another version of Carboy")

    def claim(self) -> Slot | None:
        """Take the first free slot for this process; None if all are taken."""
        for number in range(SLOTS):
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError:
                continue
            return Slot(self, number)
        return None

    def readings(self) -> Iterator[Reading]:
        """Every slot that was ever claimed; the lowest are claimed first, so the first unclaimed one is the end."""
        for number in range(SLOTS):
            start = _slot_start(number)
            words = tuple(self.words[start : start + _SLOT_WORDS])
            if not words[CLAIMS]:
                return
            yield Reading(number, words, words[STATE] != GONE and _runs(words[PID]))

    def entries(self, number: int) -> Iterator[tuple[tuple[str, str], Entry]]:
        """What was counted in a slot, by method and route."""
        first = _entries_start(number)
        used = min(ENTRIES, self.words[_slot_start(number) + USED])
        for start in range(first, first + used * _ENTRY_WORDS, _ENTRY_WORDS):
            name = self.name_at(start)
            if name is None:
                continue
            words = tuple(self.words[start : start + _ENTRY_WORDS])
            yield (
                name,
                Entry(
                    list(words[_CLASSES : _CLASSES + 6]),
                    words[_NANOSECONDS],
                    words[_BYTES],
                    list(words[_BUCKETS : _BUCKETS + len(BOUNDS) + 1]),
                ),
            )

    def name_at(self, start: int) -> tuple[str, str] | None:
        length = self.words[start]
        if not 0 < length <= _NAME_BYTES:
            return None
        raw = bytes(self.map[(start + 1) * 8 : (start + 1) * 8 + length])
        method, _, route = raw.decode("utf-8", "replace").partition(" ")
        return method, route

    def close(self) -> None:
        """Give everything back, the claim of this process among it."""
        self.words.release()
        # A reader's slice may still be alive somewhere; the process's end frees the rest.
        with contextlib.suppress(BufferError):
            self.map.close()
        os.close(self.fd)


class Slot:
    """A worker's own counters. Written by one process; by several of its threads only under `lock`."""

    def __init__(self, memory: Memory, number: int) -> None:
        self.memory = memory
        self.number = number
        self.words = memory.words
        self.start = _slot_start(number)
        self.lock = threading.Lock()
        #: Where the counters of a method and route are.
        self.known: dict[tuple[str, str], int] = {}
        self._bury()
        self._take_over()

    def _bury(self) -> None:
        """Settle what the one before left: what it had in flight is lost, what it counted is kept."""
        words, start = self.words, self.start
        if words[start + CLAIMS] and words[start + STATE] != GONE:
            words[start + DEATHS] += 1
        words[start + CUT_OFF] += max(0, words[start + STARTED] - words[start + ENDED])
        words[start + ENDED] = words[start + STARTED]
        for gauge in _GAUGES:
            words[start + gauge] = 0
        words[start + PID] = os.getpid()
        words[start + STATE] = STARTING
        words[start + BORN] = words[start + TICKED] = time.time_ns()
        words[start + CLAIMS] += 1

    def _take_over(self) -> None:
        first = _entries_start(self.number)
        for index in range(min(ENTRIES, self.words[self.start + USED])):
            name = self.memory.name_at(first + index * _ENTRY_WORDS)
            if name is not None:
                self.known[name] = first + index * _ENTRY_WORDS
        if OTHER not in self.known:
            self._add(OTHER)

    def begin(self) -> None:
        """Count a request that begins."""
        self.words[self.start + STARTED] += 1

    def count(self, method: str, route: str, status: int, nanoseconds: int, size: int) -> None:
        """Count a request that has ended.

        Args:
            method: one of a bounded set.
            route: the rule's text, never the path.
            status: 0 for none.
            nanoseconds: from the first to the last byte.
            size: bytes of the answer's body.
        """
        base = self.known.get((method, route)) or self.place(method, route)
        # PERF: 0.06 µs a word; a struct or a list that is copied from time to time costs more or can be lost.
        words = self.words
        words[base + _CLASSES + (status // 100 if 0 < status < 600 else 0)] += 1
        words[base + _NANOSECONDS] += nanoseconds
        words[base + _BYTES] += size
        words[base + _BUCKETS + bisect_left(_BOUNDS, nanoseconds)] += 1
        words[self.start + ENDED] += 1

    def place(self, method: str, route: str) -> int:
        """Where a method and route are counted; a new place while there is one."""
        with self.lock:
            key = (method, route)
            found = self.known.get(key)
            if found is not None:
                return found
            if self.words[self.start + USED] >= ENTRIES:
                # Not remembered: only a bounded number of methods and routes may fill our memory.
                return self.known[OTHER]
            return self._add(key)

    def _add(self, key: tuple[str, str]) -> int:
        words = self.words
        index = words[self.start + USED]
        start = _entries_start(self.number) + index * _ENTRY_WORDS
        name = " ".join(key).encode("utf-8", "replace")[:_NAME_BYTES]
        self.memory.map[(start + 1) * 8 : (start + 1) * 8 + len(name)] = name
        words[start] = len(name)
        words[self.start + USED] = index + 1
        self.known[key] = start
        return start

    def set(self, word: int, value: int) -> None:
        """Set a gauge or the state."""
        self.words[self.start + word] = max(0, value)

    def add(self, word: int, value: int = 1) -> None:
        with self.lock:
            self.words[self.start + word] += value

    def leave(self) -> None:
        """Sign off in order: the next owner will know that this was no death."""
        words, start = self.words, self.start
        words[start + CUT_OFF] += max(0, words[start + STARTED] - words[start + ENDED])
        words[start + ENDED] = words[start + STARTED]
        for gauge in _GAUGES:
            words[start + gauge] = 0
        words[start + STATE] = GONE


def _slot_start(number: int) -> int:
    return _HEAD_WORDS + number * _SLOT_WORDS


def _entries_start(number: int) -> int:
    return _HEAD_WORDS + SLOTS * _SLOT_WORDS + number * ENTRIES * _ENTRY_WORDS


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
