"""The access log: noted on the way of a request, made into lines and written by a thread a moment later.

A request costs an append to a list. What a crash can lose is what was noted since the last flush, a fifth of a second.
Every text that a client sends is escaped, so that a line is a line. The query string is left out: it carries tokens
and names.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from .settings import LogFormat

#: Most requests noted and not yet written; a reader of the log that does not read must not fill our memory.
MOST_PENDING = 100_000
#: Lines made at one go: 0.3 ms in which the interpreter is held.
AT_ONCE = 256
#: Most bytes of one write; into a pipe, more than this may be mixed with another process's.
_PIPE_WRITE = 4096
_FILE_WRITE = 262_144
#: Most characters of a text that the client chooses.
_LONGEST = 2048


class Noted(NamedTuple):
    """A request that has ended; what the client sent is still as it came, latin-1."""

    began: int
    nanoseconds: int
    method: str
    path: bytes | str
    route: str | None
    status: int
    size: int
    client: str | None
    agent: bytes | str | None = None
    request_id: bytes | str | None = None
    trace_id: str | None = None
    is_aborted: bool = False


class Closed(NamedTuple):
    """A WebSocket that has ended."""

    #: The handshake, from its accept to the socket's end; its size is the bytes of the messages sent.
    handshake: Noted
    #: What it was closed with, by whichever side; and the reason, if one was told.
    code: int
    reason: str | None
    #: Messages and their bytes from the peer, and messages to it.
    received: int
    received_bytes: int
    sent: int


class Socket(msgspec.Struct, omit_defaults=True):
    """What a line of the JSON log has of a WebSocket."""

    code: int
    received: int
    received_bytes: int
    sent: int
    reason: str | None = None


class Line(msgspec.Struct, omit_defaults=True):
    """A line of the JSON log; what is unknown is left out."""

    time: str
    method: str
    path: str
    status: int
    bytes: int
    ms: float
    pid: int
    route: str | None = None
    client: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    user_agent: str | None = None
    aborted: bool = False
    websocket: Socket | None = None


class Clock:
    """Turns readings of the performance counter into times of day, to the millisecond, in UTC."""

    def __init__(self) -> None:
        #: The second that is current, as readings, and its text.
        self.begin = self.end = 0
        self.text = ""
        self.offset = 0
        self.set()

    def set(self) -> None:
        """Follow the system's clock, which may be corrected while we run."""
        self.offset = time.time_ns() - time.perf_counter_ns()
        self.begin = self.end = 0

    def __call__(self, reading: int) -> str:
        if not self.begin <= reading < self.end:
            second = (reading + self.offset) // 1_000_000_000
            self.begin = second * 1_000_000_000 - self.offset
            self.end = self.begin + 1_000_000_000
            self.text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return self.text + _MILLISECONDS[(reading - self.begin) // 1_000_000]


# PERF: 0.1 µs less a line than formatting a number.
_MILLISECONDS = tuple(f"{each:03d}Z" for each in range(1000))

#: What makes a line.
Entry = Noted | Closed

_encode = msgspec.json.Encoder().encode
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f"\\\u2028\u2029]')


def json_line(entry: Entry, clock: Clock, pid: int) -> bytes:
    """One line of JSON."""
    socket: Socket | None = None
    if isinstance(entry, Closed):
        noted, code, reason, received, received_bytes, sent = entry
        socket = Socket(code, received, received_bytes, sent, reason)
    else:
        noted = entry
    began, nanoseconds, method, path, route, status, size, client, agent, request_id, trace_id, is_aborted = noted
    return _encode(
        Line(
            clock(began),
            method,
            _text(path),
            status,
            size,
            nanoseconds // 1000 / 1000,
            pid,
            route,
            client,
            _text(request_id) if request_id else None,
            trace_id,
            _text(agent) if agent else None,
            is_aborted,
            socket,
        )
    )


def plain_line(entry: Entry, clock: Clock, pid: int) -> bytes:
    """One line for people: time, client, request, status, bytes, time taken, route, ids, user agent; a WebSocket's end."""
    end = ""
    if isinstance(entry, Closed):
        noted, code, reason, received, received_bytes, sent = entry
        end = f' websocket {code} "{safe(reason or "-")}" received {received} ({received_bytes} bytes) sent {sent}'
    else:
        noted = entry
    began, nanoseconds, method, path, route, status, size, client, agent, request_id, trace_id, is_aborted = noted
    return (
        f'{clock(began)} {safe(client or "-")} "{safe(method)} {safe(path)}" {status} {size} {nanoseconds / 1e6:.1f}ms'
        f' "{safe(route or "-")}" {safe(request_id or "-")} {trace_id or "-"} "{safe(agent or "-")}"{" aborted" if is_aborted else ""}{end}'
    ).encode("utf-8", "backslashreplace")


def _text(sent: bytes | str) -> str:
    if isinstance(sent, bytes):
        sent = sent.decode("latin1")
    return sent if len(sent) <= _LONGEST else sent[:_LONGEST]


def safe(sent: bytes | str) -> str:
    """Escape what could end a field or a line, or drive a terminal."""
    text = _text(sent)
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


FORMATS: dict[LogFormat, Callable[[Entry, Clock, int], bytes]] = {"line": plain_line, "json": json_line}


class Sink:
    """Where lines go: standard output, or a file that may be moved away at any time (logrotate).

    Args:
        path: None for standard output.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.fd = self._open() if path is not None else sys.__stdout__.fileno() if sys.__stdout__ is not None else os.open(os.devnull, os.O_WRONLY)
        self.looked = time.monotonic()

    def _open(self) -> int:
        return os.open(self.path or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, lines: list[bytes]) -> int:
        """Write whole lines; return how many could not be."""
        if self.path is not None:
            self._follow()
        lost = 0
        for count, chunk in _chunks(lines, self._longest()):
            try:
                _write_all(self.fd, chunk)
            except OSError:
                # A full disk, a reader that has gone: serving goes on, the loss is counted.
                lost += count
        return lost

    def _longest(self) -> int:
        try:
            return _FILE_WRITE if stat.S_ISREG(os.fstat(self.fd).st_mode) else _PIPE_WRITE
        except OSError:
            return _PIPE_WRITE

    def _follow(self) -> None:
        """Open the file anew if its name stands for another one, or for none."""
        now = time.monotonic()
        if now - self.looked < 1:
            return
        self.looked = now
        with contextlib.suppress(OSError):
            try:
                same = os.path.samestat(os.stat(self.path or ""), os.fstat(self.fd))
            except FileNotFoundError:
                same = False
            if not same:
                new = self._open()
                os.close(self.fd)
                self.fd = new

    def close(self) -> None:
        if self.path is not None:
            os.close(self.fd)


def _chunks(lines: list[bytes], longest: int) -> Iterator[tuple[int, bytes]]:
    """Join lines into writes that hold whole lines; with how many."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) + 1 > longest:
            yield len(chunk), b"\n".join(chunk) + b"\n"
            chunk, size = [], 0
        chunk.append(line)
        size += len(line) + 1
    if chunk:
        yield len(chunk), b"\n".join(chunk) + b"\n"


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            # Somebody made the pipe non-blocking; only this thread waits, and not for ever.
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            if not poller.poll(5000):
                raise


class AccessLog:
    """The access log of one process.

    Args:
        form: "line" or "json".
        sink: where the lines go.
        sample: share of the requests to log; 5xx always are.
        chance: a number in [0, 1); replaced in tests.
    """

    def __init__(self, form: LogFormat, sink: Sink, sample: float = 1.0, chance: Callable[[], float] = random.random) -> None:
        self.form = FORMATS[form]
        self.sink = sink
        self.sample = sample
        self.chance = chance
        self.clock = Clock()
        self.pending: list[Entry] = []
        self.lost = 0

    def wants(self, status: int) -> bool:
        """Whether a request with this status is to be noted; asked before anything is looked up."""
        if self.sample < 1 and status < 500 and self.chance() >= self.sample:
            return False
        if len(self.pending) >= MOST_PENDING:
            self.lost += 1
            return False
        return True

    def flush(self) -> int:
        """Write what was noted; return how many lines were lost since the last time. Called by one thread at a time."""
        # The list is exchanged in one step, so a request on another thread notes either here or there.
        noted, self.pending = self.pending, []
        lost, self.lost = self.lost, 0
        if not noted:
            return lost
        self.clock.set()
        pid = os.getpid()
        for start in range(0, len(noted), AT_ONCE):
            lines = [self.form(each, self.clock, pid) for each in noted[start : start + AT_ONCE]]
            lost += self.sink.write(lines)
        return lost

    def close(self) -> None:
        self.flush()
        self.sink.close()
