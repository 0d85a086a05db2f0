"""Counted numbers with a name, in the shared memory: what is counted beside requests, as the exposition will show it.

A table is a region of the memory with one writer, as a slot is; where it lies, and who writes it, is said by `memory`.
A name is a whole sample's, labels included: `carboy_websocket_connections_open{route="/chat/<room>"}`. What the metrics
mean stands in `FAMILIES`.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from typing import NamedTuple

#: Most names of one table; what is beyond counts with `OTHER` for its label.
NAMES = 512
#: Of these, so many are kept for the label `OTHER`.
_RESERVED = 96
#: Words of a name's place: length, value, whether it is a gauge, and the name.
_PLACE = 32
_LENGTH, _VALUE, _IS_GAUGE, _NAME = range(4)
_LONGEST = (_PLACE - _NAME) * 8
#: Words of a table: how many places are used, where lost numbers go, and the places.
_USED, _LOST, _FIRST = 0, 1, 8
WORDS = _FIRST + NAMES * _PLACE

#: The label of what has no place of its own any more.
OTHER = "(other)"


class Family(NamedTuple):
    """A metric of the exposition."""

    kind: str
    meaning: str
    #: What one of the counted is, in the metric's unit.
    unit: float = 1


FAMILIES: dict[str, Family] = {
    "carboy_websocket_connections_total": Family("counter", "WebSockets accepted."),
    "carboy_websocket_connections_open": Family("gauge", "WebSockets open."),
    "carboy_websocket_closes_total": Family("counter", "WebSockets ended, by the code of their close."),
    "carboy_websocket_duration_seconds_total": Family("counter", "How long the ended ones were open.", 1e-9),
    "carboy_websocket_messages_total": Family("counter", "Messages, by direction."),
    "carboy_websocket_message_bytes_total": Family("counter", "Bytes of the messages, before compression."),
    "carboy_service_connections_total": Family("counter", "Connections of services beside HTTP; of UDP, datagrams."),
    "carboy_service_connections_open": Family("gauge", "Connections open."),
    "carboy_service_connections_refused_total": Family("counter", "Connections closed at once, for the limit."),
    "carboy_service_failures_total": Family("counter", "Connections whose handler failed."),
    "carboy_service_received_bytes_total": Family("counter", "Bytes from peers."),
    "carboy_channels_published_total": Family("counter", "Messages that the broker has taken from here."),
    "carboy_channels_retried_total": Family("counter", "Attempts to publish that were made again."),
    "carboy_channels_received_total": Family("counter", "Messages that came from the broker."),
    "carboy_channels_delivered_total": Family("counter", "Messages put into subscribers' queues."),
    "carboy_channels_dropped_total": Family("counter", "Messages that a full queue has given up."),
    "carboy_channels_closed_total": Family("counter", "Subscribers ended because they fell behind."),
    "carboy_channels_reconnected_total": Family("counter", "Connections to the broker made anew."),
    "carboy_channels_subscribers": Family("gauge", "Subscribers."),
    "carboy_channels_topics": Family("gauge", "Topics followed, once for each event loop."),
    "carboy_tasks_running": Family("gauge", "Tasks that were spawned and have not ended."),
    "carboy_worker_restarts_total": Family("counter", "Workers replaced, or tried to start in vain, by the reason."),
}


#: Not a metric: what workers tell each other of a ping, in a word (`health.packed`); a gauge, as it ends with its worker.
PING = "ping"
_GAUGES = {PING, *(name for name, family in FAMILIES.items() if family.kind == "gauge")}


class Table:
    """One table of names.

    Args:
        words: the memory.
        bytes: the same.
        start: the table's first word.
    """

    def __init__(self, words: memoryview, bytes: mmap.mmap, start: int) -> None:
        self.words = words
        self.bytes = bytes
        self.start = start
        self.lock = threading.Lock()
        #: Places of the values, by family and labels as they were asked for.
        self.known: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self.named = dict(self._places())

    def place(self, family: str, **labels: str) -> int:
        """The word of a value, to be counted up by the table's one writer.

        Args:
            family: of `FAMILIES`, or `PING`.
            labels: from a bounded set.
        """
        key = (family, tuple(labels.items()))
        return self.known.get(key) or self._place(key)

    def _place(self, key: tuple[str, tuple[tuple[str, str], ...]]) -> int:
        family, labels = key
        with self.lock:
            name = sample(family, labels)
            found = self.named.get(name)
            used = self.words[self.start + _USED]
            if found is None and (used >= NAMES - _RESERVED or len(name) > _LONGEST) and labels:
                # The first label is what an application or a peer has many of.
                name = sample(family, ((labels[0][0], OTHER), *labels[1:]))
                found = self.named.get(name)
            if found is None:
                if used >= NAMES or len(name) > _LONGEST:
                    return self.start + _LOST
                found = self._add(name, used, family in _GAUGES)
            self.known[key] = found
            return found

    def _add(self, name: bytes, index: int, is_gauge: bool) -> int:
        words, start = self.words, self.start + _FIRST + index * _PLACE
        self.bytes[(start + _NAME) * 8 : (start + _NAME) * 8 + len(name)] = name
        words[start + _LENGTH] = len(name)
        words[start + _IS_GAUGE] = is_gauge
        # Last: a reader sees whole names only.
        words[self.start + _USED] = index + 1
        self.named[name] = start + _VALUE
        return start + _VALUE

    def _places(self) -> Iterator[tuple[bytes, int]]:
        words, first = self.words, self.start + _FIRST
        for start in range(first, first + min(NAMES, words[self.start + _USED]) * _PLACE, _PLACE):
            length = min(words[start + _LENGTH], _LONGEST)
            yield bytes(self.bytes[(start + _NAME) * 8 : (start + _NAME) * 8 + length]), start + _VALUE

    def value(self, family: str, **labels: str) -> int:
        """A value for a reader; 0 where there is none."""
        place = self.named.get(sample(family, tuple(labels.items())))
        return 0 if place is None else self.words[place]

    def clear_gauges(self) -> None:
        """Forget what was the case in the process that wrote here before."""
        for place in self.named.values():
            if self.words[place - _VALUE + _IS_GAUGE]:
                self.words[place] = 0

    def readings(self, is_alive: bool) -> Iterator[tuple[str, int]]:
        """Samples' names and their values; no gauges of a process that has ended."""
        for name, place in self._places():
            if is_alive or not self.words[place - _VALUE + _IS_GAUGE]:
                yield name.decode("utf-8", "replace"), self.words[place]


def sample(family: str, labels: tuple[tuple[str, str], ...]) -> bytes:
    """A sample's name in Prometheus' text format."""
    inner = ",".join(f'{name}="{escaped(value)}"' for name, value in labels)
    return (f"{family}{{{inner}}}" if inner else family).encode("utf-8", "replace")


def escaped(text: str) -> str:
    """A label's value: backslash, quote and line feed are escaped."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
