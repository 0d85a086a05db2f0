"""The serving end of the bus: a ledger, and a thread that speaks with the members in other processes.

It has a thread of its own, so that a worker whose loop is held up by its application holds up nobody else's messages.
A successor first gathers what the members remember; until that is over, it answers nobody.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from ..ledger import Ledger
from ..message import Entry
from ..presence import Stay
from .frames import Frames, pack
from .seat import Seat

#: Seconds for which a successor waits for members to come, and most seconds for what they bring.
GATHER, GATHER_MOST = 0.3, 2.0
#: Bytes that may wait for one member. Who has more, is cut off: it comes again, and reads what it missed.
BACKED_UP = 64 * 1024 * 1024

log = logging.getLogger("carboy.channels")


class Hub:
    """Serves a ledger to the members at a seat.

    Args:
        seat: taken.
        ledger: with what is known already.
    """

    def __init__(self, seat: Seat, ledger: Ledger) -> None:
        self.seat = seat
        self.ledger = ledger
        self.loop = asyncio.new_event_loop()
        self.stopping = asyncio.Event()
        self.connections: set[Connection] = set()
        #: Done when the hub answers.
        self.gathered: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.waiting: list[Callable[[], None]] = []
        self.talkative: deque[Connection] = deque()
        self.is_woken = False
        self.is_sending = False
        self.is_over = False
        #: Whom to tell when what was posted before is with the kernel.
        self.unsent: list[Callable[[], None]] = []
        self.last_encoded: tuple[Entry | None, bytes] = (None, b"")
        self.thread = threading.Thread(target=self.run, name="carboy-channels", daemon=True)

    def start(self) -> None:
        """Begin to serve, in a thread."""
        if not self.seat.is_successor:
            self.gathered.set_result(None)
        self.thread.start()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.serve())
        finally:
            self.loop.close()
            with self.ledger.lock:
                self.is_over = True
                told, self.unsent = self.unsent, []
            for tell in told:
                tell()

    async def serve(self) -> None:
        """Serve until `stop`."""
        server = await self.loop.create_unix_server(lambda: Connection(self), sock=self.seat.listening)
        gathering = None if self.gathered.done() else self.loop.create_task(self.gather())
        await self.stopping.wait()
        if gathering is not None:
            gathering.cancel()
        server.close()
        is_last = not self.connections
        for connection in tuple(self.connections):
            connection.transport.abort()
        # One turn for the transports to close in.
        await asyncio.sleep(0)
        self.seat.give_up(is_last=is_last)

    def stop(self) -> None:
        """Stop serving, and wait for it; the members find another hub among them."""
        if self.thread.ident is None:
            self.seat.give_up(is_last=not self.seat.is_successor)
            self.loop.close()
            return
        with contextlib.suppress(RuntimeError):  # it has stopped
            self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(5)

    async def gather(self) -> None:
        """Wait for what members remember, then answer."""
        begun = self.loop.time()
        while True:
            passed = self.loop.time() - begun
            if passed >= GATHER_MOST or (passed >= GATHER and all(each.has_offered for each in self.connections)):
                break
            await asyncio.sleep(0.02)
        self.gathered.set_result(None)
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()

    # -- called by connections, and by the ledger in any thread --------------------------------------

    def encoded(self, topic: str, entry: Entry) -> bytes:
        """The frame of an entry: made once for all members. Called under the ledger's lock."""
        if self.last_encoded[0] is not entry:
            self.last_encoded = (entry, pack(0, "entry", topic, entry))
        return self.last_encoded[1]

    def post(self, connection: Connection, frame: bytes) -> None:
        """Send a frame soon. Called in any thread, under the ledger's lock or on the hub's loop."""
        if not connection.outgoing:
            self.talkative.append(connection)
        connection.outgoing.append(frame)
        if not self.is_woken:
            self.is_woken = True
            with contextlib.suppress(RuntimeError):  # stopped
                self.loop.call_soon_threadsafe(self.flush)

    def when_sent(self, tell: Callable[[], None]) -> bool:
        """Have *tell* called, in any thread, once all that was posted before will reach its members even if this process dies.

        False if that is so already; it is not called then.
        """
        with self.ledger.lock:
            if self.is_over or not (self.is_woken or self.is_sending):
                return False
            self.unsent.append(tell)
            return True

    def flush(self) -> None:
        with self.ledger.lock:
            self.is_woken = False
            self.is_sending = True
            told, self.unsent = self.unsent, []
            ready = []
            while self.talkative:
                connection = self.talkative.popleft()
                ready.append((connection, b"".join(connection.outgoing)))
                connection.outgoing.clear()
        for connection, data in ready:
            connection.send(data)
        with self.ledger.lock:
            self.is_sending = False
            if not self.is_woken:
                told += self.unsent
                self.unsent = []
        for tell in told:
            tell()


class Connection(asyncio.Protocol):
    """A member in another process (or of another loop), as the ledger sees it."""

    transport: asyncio.Transport

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.ledger = hub.ledger
        self.frames = Frames()
        self.outgoing: list[bytes] = []
        self.has_offered = False
        #: Bytes of answers on their way: asked for, however many they are, and so no sign of a member that does not read.
        self.allowed = 0

    # -- a member of the ledger ---------------------------------------------------------------------

    def deliver(self, topic: str, entry: Entry) -> None:
        self.hub.post(self, self.hub.encoded(topic, entry))

    def changed(self, topic: str) -> None:
        self.hub.post(self, pack(0, "changed", topic))

    # -- asyncio's side -----------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.hub.connections.add(self)
        self.answer(0, "hello", not self.hub.gathered.done())

    def connection_lost(self, exc: Exception | None) -> None:
        self.hub.connections.discard(self)
        self.ledger.drop(self)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self.frames.feed(data):
                self.heard(*frame)
        except (ValueError, TypeError, KeyError, AttributeError, msgspec.DecodeError):
            log.exception("the channels' hub was told what it does not understand; the connection is closed")
            self.transport.abort()

    def send(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if not self.transport.get_write_buffer_size():
            self.allowed = 0
        if self.transport.get_write_buffer_size() > BACKED_UP + self.allowed:
            log.warning("a worker does not read its channels; it is cut off, and may come again")
            self.transport.abort()

    def resume_writing(self) -> None:
        self.allowed = 0

    def answer(self, *values: Any) -> None:
        frame = pack(*values)
        self.allowed += len(frame)
        with self.ledger.lock:
            self.hub.post(self, frame)

    # -- the verbs ----------------------------------------------------------------------------------

    def heard(self, number: int, verb: str, *args: Any) -> None:
        if verb == "offer":
            topic, entries = args
            self.ledger.merge(topic, [Entry(*entry) for entry in entries])
        elif verb == "offered":
            self.has_offered = True
        elif verb == "enter":
            topic, stay = args
            self.ledger.enter(self, topic, Stay(*stay))
            if number:
                self.answer(number, "ok", None)
        elif self.hub.gathered.done():
            self.asked(number, verb, args)
        else:
            self.hub.waiting.append(lambda: self.asked(number, verb, args))

    def asked(self, number: int, verb: str, args: tuple[Any, ...]) -> None:
        if self.transport.is_closing():
            return
        ledger = self.ledger
        # One lock around the deed and its answer: what is told of a topic then comes behind the answer to `follow`.
        with ledger.lock:
            result: Any = None
            match verb:
                case "publish":
                    result = ledger.publish(*args)
                case "follow":
                    result = ledger.follow(self, args[0])
                case "unfollow":
                    ledger.unfollow(self, args[0])
                case "read":
                    result = ledger.read(*args)
                case "leave":
                    ledger.leave(self, *args)
                case "people":
                    result = ledger.people(*args)
                case _:
                    raise ValueError(f"{verb!r} is no verb of the bus")
            if number:
                self.answer(number, "ok", result)
