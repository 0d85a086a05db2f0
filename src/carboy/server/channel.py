"""One JSON object a line over a stream socket: how main process, workers and `carboy ctl` talk.

The reading half is sans-IO: bytes in, messages out.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

#: A message. JSON objects, so values are what JSON has.
Message = dict[str, Any]

#: Nobody sends lines as long as this; who does is cut off.
LONGEST = 1 << 20


class Lines:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, received: bytes) -> Iterator[Message]:
        """Yield the messages completed by these bytes.

        Raises:
            ValueError: a line is no JSON object, or too long.
        """
        *lines, self.rest = (self.rest + received).split(b"\n")
        if len(self.rest) > LONGEST:
            raise ValueError("line too long")
        for line in lines:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("not an object")  # noqa: TRY004 - the bytes are at fault, not a caller
            yield message


def pack(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Sender:
    """The writing half: never blocks, never sends half a line, and drops what may be dropped when nobody reads.

    Used from any thread. A reader that is gone is noticed by reading, not here.
    """

    #: What is kept for a reader that is slow; beyond it only the connection's end helps.
    MOST = 1 << 20

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.unsent = b""
        self.lock = threading.Lock()

    def send(self, message: Message, *, droppable: bool = False) -> bool:
        """Send a message, or as much of it as goes; the rest goes with the next one. False if it was dropped."""
        with self.lock:
            if self.unsent and droppable:
                self._flush()
            if self.unsent and (droppable or len(self.unsent) > self.MOST):
                return False
            self.unsent += pack(message)
            self._flush()
            return True

    def _flush(self) -> None:
        try:
            while self.unsent:
                self.unsent = self.unsent[self.connection.send(self.unsent, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return
        except OSError:
            self.unsent = b""


def receive_one(connection: socket.socket) -> Message | None:
    """Block for the next message on a fresh connection; None at its end. Reads no byte past it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = connection.recv(65536, socket.MSG_PEEK)
        if not chunk:
            return None
        end = chunk.find(b"\n") + 1
        line += connection.recv(end or len(chunk))
    message = json.loads(line)
    return message if isinstance(message, dict) else None
