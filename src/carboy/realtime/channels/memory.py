"""`memory://`: the ledger called directly. For one process, whatever number of event loops it has."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from .broker import Listener
from .ledger import Ledger
from .message import Backlog, Entry
from .presence import Stay


class Mailbox:
    """A member of a ledger that lives on an event loop: what is told in any thread is read on the loop, in order."""

    def __init__(self, ledger: Ledger, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self.ledger = ledger
        self.loop = loop
        self.listener = listener
        self.told: deque[tuple[str, Entry | None]] = deque()
        self.is_woken = False

    def deliver(self, topic: str, entry: Entry) -> None:
        self.told.append((topic, entry))
        self.wake()

    def changed(self, topic: str) -> None:
        self.told.append((topic, None))
        self.wake()

    def wake(self) -> None:
        if self.is_woken:
            return
        self.is_woken = True
        try:
            self.loop.call_soon_threadsafe(self.collect)
        except RuntimeError:
            # The loop was closed without a goodbye, as a script's is: nobody is there any more.
            self.told.clear()
            self.ledger.drop(self)

    def collect(self) -> None:
        # Cleared first: what is told from here on wakes the loop again.
        self.is_woken = False
        while self.told:
            topic, entry = self.told.popleft()
            if entry is None:
                self.listener.presence_changed(topic)
            else:
                self.listener.receive(topic, entry)


class MemoryBroker:
    """A loop's access to a ledger of its own process.

    Args:
        ledger: shared by the loops of the process.
    """

    wants_memories = False

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.mailbox: Mailbox

    async def open(self, listener: Listener) -> None:
        self.mailbox = Mailbox(self.ledger, asyncio.get_running_loop(), listener)

    async def close(self) -> None:
        self.ledger.drop(self.mailbox)

    async def publish(self, topic: str, key: str, kind: str, body: bytes, *, again: bool) -> str:
        return self.ledger.publish(topic, key, kind, body, again)

    async def follow(self, wanted: Mapping[str, str | None]) -> dict[str, Backlog]:
        return self.ledger.follow(self.mailbox, wanted)

    async def unfollow(self, topics: Sequence[str]) -> None:
        self.ledger.unfollow(self.mailbox, topics)

    async def read(self, topic: str, after: str | None, count: int) -> list[Entry]:
        return self.ledger.read(topic, after, count)

    async def enter(self, topic: str, stay: Stay) -> None:
        self.ledger.enter(self.mailbox, topic, stay)

    async def leave(self, topic: str, stay: Stay) -> None:
        self.ledger.leave(self.mailbox, topic, stay.key)

    async def people(self, topic: str) -> list[Stay]:
        return self.ledger.people(topic)
