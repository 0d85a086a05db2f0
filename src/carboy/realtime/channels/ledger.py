"""The book of a broker that lives in a process: ordered logs, who follows what, who is present. No I/O.

Behind `memory://` it is called directly, by the loops of one process; in the hub of the host's bus, by connections
too. Any thread may call; members are told under the lock, so that all of them are told in the same order.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from .message import ORIGIN, Backlog, Entry, Position, next_id, position
from .presence import Stay

#: Seconds between two walks through all topics, in search of what is too old.
SWEEP = 5.0


class Member(Protocol):
    """Who follows topics. Both methods are called under the ledger's lock, from any thread: they only take note."""

    def deliver(self, topic: str, entry: Entry) -> None: ...

    def changed(self, topic: str) -> None: ...


class Log:
    """What is known of one topic."""

    __slots__ = ("entries", "followers", "stays", "tail")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.tail = ORIGIN
        self.followers: dict[Member, None] = {}
        self.stays: dict[str, tuple[Member, Stay]] = {}


class Ledger:
    """All topics of one broker.

    Args:
        count: messages kept of each topic.
        age: seconds they are kept.
        now: seconds since 1970; replaced in tests.
    """

    def __init__(self, count: int, age: float, now: Callable[[], float] = time.time) -> None:
        self.count = count
        self.age = age
        self.now = now
        self.lock = threading.RLock()
        self.logs: dict[str, Log] = {}
        self.last: Position = (0, 0)
        self.swept = now()
        #: What each member follows and has present, to be found when it goes.
        self.following: dict[Member, set[str]] = {}
        self.staying: dict[Member, dict[str, str]] = {}

    def publish(self, topic: str, key: str, kind: str, body: bytes, again: bool = False) -> str:
        with self.lock:
            now = self.now()
            log = self.log(topic)
            if again:
                for entry in reversed(log.entries):
                    if entry.key == key:
                        return entry.id
            self.last, id_ = next_id(self.last, now)
            entry = Entry(id_, log.tail, key, kind, body)
            log.entries.append(entry)
            log.tail = id_
            if len(log.entries) > self.count:
                log.entries.popleft()
            for member in tuple(log.followers):
                member.deliver(topic, entry)
            if now - self.swept > SWEEP:
                self.sweep(now)
            return id_

    def follow(self, member: Member, wanted: Mapping[str, str | None]) -> dict[str, Backlog]:
        with self.lock:
            following = self.following.setdefault(member, set())
            found = {}
            for topic, after in wanted.items():
                log = self.log(topic)
                log.followers[member] = None
                following.add(topic)
                found[topic] = Backlog(log.tail, [] if after is None else self.read(topic, after, 0))
            return found

    def unfollow(self, member: Member, topics: Iterable[str]) -> None:
        with self.lock:
            following = self.following.get(member, set())
            for topic in topics:
                following.discard(topic)
                if (log := self.logs.get(topic)) is not None:
                    log.followers.pop(member, None)
                    self.forget_if_empty(topic, log)

    def read(self, topic: str, after: str | None, count: int) -> list[Entry]:
        with self.lock:
            log = self.logs.get(topic)
            if log is None:
                return []
            self.trim(log, self.now())
            if after is None:
                return list(log.entries)[-count:] if count else []
            start = bisect.bisect_right(log.entries, position(after), key=lambda entry: position(entry.id))
            return list(log.entries)[start:]

    def merge(self, topic: str, entries: Iterable[Entry]) -> None:
        """Take over what another ledger had; nobody is told, as its members have it already or ask for it."""
        with self.lock:
            log = self.log(topic)
            known = {entry.id: entry for entry in log.entries}
            known.update((entry.id, entry) for entry in entries)
            log.entries = deque(sorted(known.values(), key=lambda entry: position(entry.id))[-self.count :])
            if log.entries:
                tail = max(position(log.tail), position(log.entries[-1].id))
                log.tail = f"{tail[0]}-{tail[1]}"
                self.last = max(self.last, tail)

    def enter(self, member: Member, topic: str, stay: Stay) -> None:
        with self.lock:
            log = self.log(topic)
            log.stays[stay.key] = (member, stay)
            self.staying.setdefault(member, {})[stay.key] = topic
            self.tell_changed(topic, log)

    def leave(self, member: Member, topic: str, key: str) -> None:
        with self.lock:
            self.staying.get(member, {}).pop(key, None)
            log = self.logs.get(topic)
            if log is None or log.stays.get(key, (None,))[0] is not member:
                return
            del log.stays[key]
            self.tell_changed(topic, log)
            self.forget_if_empty(topic, log)

    def people(self, topic: str) -> list[Stay]:
        with self.lock:
            log = self.logs.get(topic)
            return [stay for _, stay in log.stays.values()] if log is not None else []

    def drop(self, member: Member) -> None:
        """A member is gone, and its people with it."""
        with self.lock:
            for key, topic in self.staying.pop(member, {}).items():
                self.leave(member, topic, key)
            self.unfollow(member, list(self.following.get(member, ())))
            self.following.pop(member, None)

    # -- inside -----------------------------------------------------------------------------------

    def log(self, topic: str) -> Log:
        log = self.logs.get(topic)
        if log is None:
            log = self.logs[topic] = Log()
        return log

    def tell_changed(self, topic: str, log: Log) -> None:
        for member in tuple(log.followers):
            member.changed(topic)

    def trim(self, log: Log, now: float) -> None:
        oldest = (int((now - self.age) * 1000), 0)
        while log.entries and position(log.entries[0].id) < oldest:
            log.entries.popleft()

    def sweep(self, now: float) -> None:
        """Forget what is too old, on topics too on which nothing happens any more."""
        self.swept = now
        for topic, log in list(self.logs.items()):
            self.trim(log, now)
            self.forget_if_empty(topic, log)

    def forget_if_empty(self, topic: str, log: Log) -> None:
        # A topic that is followed keeps its tail: what comes next must not look as if something were missing before it.
        if not log.entries and not log.followers and not log.stays:
            self.logs.pop(topic, None)
