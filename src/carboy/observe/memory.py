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

from .series import WORDS as _TABLE_WORDS
from .series import Table

_MAGIC, _LAYOUT = 0x59_4F_42_52_41_43, 3
#: Most workers at once, those on their way out among them; pages that nobody touches cost nothing.
SLOTS = 128
#: Most routes by method that one worker tells apart; what is beyond counts as `OTHER`.
ENTRIES = 1024
_HEAD_WORDS = 64
_SLOT_WORDS = 64
_NAME_WORDS = 25
_NAME_BYTES = (_NAME_WORDS - 1) * 8
_ENTRY_WORDS = 104

# -- words of a slot ------------------------------------------------------------------------------
PID, CLAIMS, DEATHS, BORN, TICKED, STATE, STARTED, CUT_OFF, USED = range(9)
THREADS, THREADS_BUSY, THREADS_WAITING, MEMORY, LAG, ACCEPTING_QUEUE, LINES_LOST, SHED, BLOCKED, BLOCKED_NANOSECONDS = range(9, 19)
_GAUGES = (THREADS, THREADS_BUSY, THREADS_WAITING, MEMORY, LAG, ACCEPTING_QUEUE)

# -- states of a worker ---------------------------------------------------------------------------
STARTING, READY, DRAINING, GONE = 1, 2, 3, 4

# -- words of an entry, after its name ------------------------------------------------------------
_NANOSECONDS = _NAME_WORDS
_BYTES = _NANOSECONDS + 1
#: A counter for each status class, 1xx to 5xx, and each bound: one count tells both.
_CELLS = _BYTES + 1
_CLASSES = 5

#: Upper bounds of the histogram, seconds; beyond the last is infinity.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BOUNDS = tuple(int(each * 1_000_000_000) for each in BOUNDS)
_COLUMNS = len(BOUNDS) + 1

OTHER = ("other", "(other)")
#: The label of requests that no rule matched.
MISS = "(none)"
#: Methods with a label of their own; others share one.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})

#: After the entries of all slots: the main process's table of names, and one for each slot.
_TABLES = _HEAD_WORDS + SLOTS * (_SLOT_WORDS + ENTRIES * _ENTRY_WORDS)
_SIZE = (_TABLES + (1 + SLOTS) * _TABLE_WORDS) * 8


#: The slots that this process has claimed: process, device, inode, number.
_claimed: set[tuple[int, int, int, int]] = set()
_claiming = threading.Lock()


@dataclass(slots=True)
class Entry:
    """What was counted of one route and method."""

    #: Answers by the status's first digit, 1xx to 5xx.
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
    #: Requests that have ended.
    ended: int
    is_alive: bool

    @property
    def is_serving(self) -> bool:
        return self.is_alive and self.words[STATE] == READY

    @property
    def in_flight(self) -> int:
        return max(0, self.words[STARTED] - self.ended - self.words[CUT_OFF]) if self.is_alive else 0

    @property
    def died_unburied(self) -> bool:
        """The worker has died and no other has claimed its slot yet."""
        return not self.is_alive and self.words[STATE] != GONE

    @property
    def deaths(self) -> int:
        return self.words[DEATHS] + self.died_unburied

    @property
    def cut_off(self) -> int:
        return max(self.words[CUT_OFF], self.words[STARTED] - self.ended) if self.died_unburied else self.words[CUT_OFF]


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
        place = os.fstat(self.fd)
        with _claiming:
            for number in range(SLOTS):
                # The kernel's locks are between processes; two observers of one process must not share a slot either.
                key = (os.getpid(), place.st_dev, place.st_ino, number)
                if key in _claimed:
                    continue
                try:
                    fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
                except OSError:
                    continue
                _claimed.add(key)
                return Slot(self, number, key)
        return None

    def readings(self) -> Iterator[Reading]:
        """Every slot that was ever claimed; the lowest are claimed first, so the first unclaimed one is the end."""
        for number in range(SLOTS):
            start = _slot_start(number)
            words = tuple(self.words[start : start + _SLOT_WORDS])
            if not words[CLAIMS]:
                return
            yield Reading(number, words, self.ended(number), words[STATE] != GONE and _runs(words[PID]))

    def table(self, number: int | None) -> Table:
        """What is counted by name in a slot; by the main process, for None."""
        return Table(self.words, self.map, _TABLES if number is None else _TABLES + (1 + number) * _TABLE_WORDS)

    def ended(self, number: int) -> int:
        """Requests that have ended in a slot: what all its entries have counted."""
        return sum(sum(entry.classes) for _, entry in self.entries(number))

    def entries(self, number: int) -> Iterator[tuple[tuple[str, str], Entry]]:
        """What was counted in a slot, by method and route."""
        first = _entries_start(number)
        used = min(ENTRIES, self.words[_slot_start(number) + USED])
        for start in range(first, first + used * _ENTRY_WORDS, _ENTRY_WORDS):
            name = self.name_at(start)
            if name is None:
                continue
            words = list(self.words[start : start + _ENTRY_WORDS])
            rows = [words[cell : cell + _COLUMNS] for cell in range(_CELLS, _CELLS + _CLASSES * _COLUMNS, _COLUMNS)]
            yield name, Entry([sum(row) for row in rows], words[_NANOSECONDS], words[_BYTES], [sum(column) for column in zip(*rows, strict=True)])

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
    """A worker's own counters. Written by one process; where several of its threads count, they hold `counting`."""

    def __init__(self, memory: Memory, number: int, key: tuple[int, int, int, int]) -> None:
        self.memory = memory
        self.key = key
        self.number = number
        self.words = memory.words
        self.start = _slot_start(number)
        #: The word of the requests begun.
        self.begun = self.start + STARTED
        self.lock = threading.Lock()
        #: For doors where many threads count.
        self.counting = threading.Lock()
        #: Where the counters of a method and rule are, as requests have them.
        self.known: dict[tuple[str, str | None], int] = {}
        #: The same by label.
        self.labelled: dict[tuple[str, str], int] = {}
        #: What is counted beside requests.
        self.named = memory.table(number)
        self._bury()
        self._take_over()

    def _bury(self) -> None:
        """Settle what the one before left: what it had in flight is lost, what it counted is kept."""
        words, start = self.words, self.start
        if words[start + CLAIMS] and words[start + STATE] != GONE:
            words[start + DEATHS] += 1
        self._cut_off()
        for gauge in _GAUGES:
            words[start + gauge] = 0
        self.named.clear_gauges()
        words[start + PID] = os.getpid()
        words[start + STATE] = STARTING
        words[start + BORN] = words[start + TICKED] = time.time_ns()
        words[start + CLAIMS] += 1

    def _cut_off(self) -> None:
        """What was begun and never ended is lost."""
        words, start = self.words, self.start
        words[start + CUT_OFF] = max(words[start + CUT_OFF], words[start + STARTED] - self.memory.ended(self.number))

    def _take_over(self) -> None:
        first = _entries_start(self.number)
        for index in range(min(ENTRIES, self.words[self.start + USED])):
            name = self.memory.name_at(first + index * _ENTRY_WORDS)
            if name is not None:
                self.labelled[name] = first + index * _ENTRY_WORDS
        if OTHER not in self.labelled:
            self._add(OTHER)

    def begin(self) -> None:
        """Count a request that begins."""
        self.words[self.begun] += 1

    def count(self, method: str, rule: str | None, status: int, nanoseconds: int, size: int) -> None:
        """Count a request that has ended.

        Args:
            method: as sent.
            rule: the rule's text, never the path; None for a miss.
            status: of the answer.
            nanoseconds: from the first to the last byte.
            size: bytes of the answer's body.
        """
        base = self.known.get((method, rule)) or self.place(method, rule)
        # PERF: 0.1 µs a word; numbers copied here from time to time would cost half, and be lost with a killed worker.
        words = self.words
        row = status // 100
        words[base + _CELLS - _COLUMNS + (row if 0 < row < 6 else 5) * _COLUMNS + bisect_left(_BOUNDS, nanoseconds)] += 1
        words[base + _NANOSECONDS] += nanoseconds
        words[base + _BYTES] += size

    def place(self, method: str, rule: str | None) -> int:
        """Where a method and rule are counted; a new place while there is one."""
        with self.lock:
            label = (method if method in METHODS else "other", MISS if rule is None else rule)
            found = self.labelled.get(label)
            if found is None:
                if self.words[self.start + USED] >= ENTRIES:
                    return self.labelled[OTHER]
                found = self._add(label)
            if method in METHODS:
                # Not for others: clients choose them, and must not fill our memory.
                self.known[method, rule] = found
            return found

    def _add(self, key: tuple[str, str]) -> int:
        words = self.words
        index = words[self.start + USED]
        start = _entries_start(self.number) + index * _ENTRY_WORDS
        name = " ".join(key).encode("utf-8", "replace")[:_NAME_BYTES]
        self.memory.map[(start + 1) * 8 : (start + 1) * 8 + len(name)] = name
        words[start] = len(name)
        words[self.start + USED] = index + 1
        self.labelled[key] = start
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
        self._cut_off()
        for gauge in _GAUGES:
            words[start + gauge] = 0
        self.named.clear_gauges()
        words[start + STATE] = GONE
        _claimed.discard(self.key)


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
