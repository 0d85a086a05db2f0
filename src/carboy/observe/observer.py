"""One process, observed: counters, access log, health, traces, and the thread that looks after them.

Made when the application is set up, started when the process begins to serve: a server may fork in between.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from ..pipeline import offload, portal
from .beside import Beside
from .blocking import BlockingWatch, Reports
from .culprit import Territory
from .health import HEADERS, Health, Outcome, packed, pings_of, unpacked
from .log import AccessLog, Sink
from .memory import (
    ACCEPTING_QUEUE,
    BLOCKED,
    BLOCKED_NANOSECONDS,
    DRAINING,
    LAG,
    LINES_LOST,
    MEMORY,
    READY,
    STATE,
    THREADS,
    THREADS_BUSY,
    THREADS_WAITING,
    TICKED,
    Memory,
    Slot,
    make_memory,
    open_memory,
)
from .metrics import CONTENT_TYPE, exposition
from .series import PING
from .settings import Settings
from .trace import Tracer, find_tracer

log = logging.getLogger("carboy.observe")

#: Seconds between two flushes of the log, and between two looks at loop, threads and memory.
FLUSH, LOOK = 0.2, 1.0
#: A loop that has not turned for so many seconds is not alive.
STUCK = 10.0
#: Seconds from which on blocking is reported in debug mode; there it is looked for all the time.
BLOCKING_IN_DEBUG = 0.1
#: nginx's word for a client that left before there was an answer.
CLIENT_LEFT = 499

#: A page of our own: status, headers, body. May block.
Page = Callable[[], tuple[int, tuple[tuple[str, str], ...], bytes]]


class Surroundings(Protocol):
    """What the server tells of itself."""

    def is_leaving(self) -> bool:
        """Whether this worker is on its way out."""
        ...

    def queue(self) -> int:
        """Connections that wait for any worker; 0 where it cannot be known."""
        ...


class Alone:
    """The surroundings of a server that tells nothing."""

    def is_leaving(self) -> bool:
        return False

    def queue(self) -> int:
        return 0


_living: weakref.WeakSet[Observer] = weakref.WeakSet()


class Observer:
    """What one process notes of its requests and of itself.

    Args:
        settings: what is wanted.
        app: a Carboy application, for the pings of its services; anything else has none.
    """

    def __init__(self, settings: Settings, app: Any = None) -> None:
        self.settings = settings
        self.app = app
        self.surroundings: Surroundings = Alone()
        #: Descriptor of the server's shared memory, if it made some.
        self.shared: int | None = None
        #: Where async code runs; known once a request or the lifespan came by.
        self.loop: asyncio.AbstractEventLoop | None = None
        self.memory: Memory | None = None
        self.slot: Slot | None = None
        self.log: AccessLog | None = None
        self.tracer: Tracer | None = None
        #: What the application counts of itself.
        self.beside = Beside(app)
        self.is_started = False
        self.starting = threading.Lock()
        self.over = threading.Event()
        self.thread: threading.Thread | None = None
        #: Who looks for what blocks the loop, if that is wanted.
        self.watch: BlockingWatch | None = None
        #: When the loop was asked to call us, on the performance counter; None while it owes us nothing.
        self.asked: int | None = None
        self.health = Health((), settings.ping_timeout, is_draining=self.is_server_draining, is_stuck=self.is_stuck, board=self)
        #: What the application's own port answers here, by path.
        self.pages: dict[str, Page] = self._pages_on_app()
        _living.add(self)

    # -- beginning and end ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to observe; what cannot be opened is said in the log, and serving goes on without it."""
        with self.starting:
            if self.is_started:
                return
            self.over.clear()
            self.slot = self._claim()
            self.log = self._open_log()
            self.tracer = find_tracer() if self.settings.traces else None
            if hasattr(self.app, "services"):
                self.health.pings = tuple(pings_of(self.app, lambda: self.loop))
            self.thread = threading.Thread(target=self._look_after, name="carboy-observe", daemon=True)
            self.thread.start()
            self.is_started = True

    def ready(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """The application has started: requests are welcome.

        Args:
            loop: where it runs; None behind a sync door.
        """
        self.start()
        self.loop = loop
        if loop is not None:
            self._watch_loop(loop)
        self.health.has_started = True
        if self.slot is not None:
            self.slot.set(STATE, READY)

    def stop(self) -> None:
        """Write what is still to be written, and sign off."""
        with self.starting:
            if not self.is_started:
                return
            self.is_started = False
            self.over.set()
            if self.watch is not None:
                self.watch.stop()
                self.watch = None
            if self.thread is not None and self.thread is not threading.current_thread():
                self.thread.join(2)
            self.health.has_started = False
            if self.log is not None:
                lines, self.log = self.log, None
                lines.close()
            if self.slot is not None:
                self.beside.look(self.slot.named)
                self.slot.leave()

    def forget(self) -> None:
        """In a forked child: what the parent has started is not ours."""
        self.starting = threading.Lock()
        self.is_started = False
        self.slot = self.memory = self.log = self.thread = self.loop = self.watch = None
        self.beside.forget()
        self.asked = None

    @property
    def blocking(self) -> float:
        """Seconds from which on blocking of the loop is reported; 0 for never."""
        said = self.settings.blocking
        if said is not None:
            return said
        return BLOCKING_IN_DEBUG if getattr(self.app, "debug", False) else 0.0

    def _watch_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        threshold = self.blocking
        if not threshold:
            return
        with self.starting:
            if self.watch is not None:
                return
            folders = [getattr(each, "root_path", None) for each in (self.app, *getattr(self.app, "blueprints", {}).values())]
            # In production a question now and then: what blocks for long, or often, is seen soon enough.
            rest = threshold / 4 if getattr(self.app, "debug", False) else threshold
            self.watch = BlockingWatch(loop, threshold, rest, Territory(filter(None, folders)), Reports(self._count_blocking))
            self.watch.start()

    def _count_blocking(self, seconds: float) -> None:
        if self.slot is not None:
            self.slot.add(BLOCKED)
            self.slot.add(BLOCKED_NANOSECONDS, int(seconds * 1e9))

    def _claim(self) -> Slot | None:
        try:
            if self.shared is not None:
                fd = self.shared
            elif self.settings.memory is not None:
                fd = open_memory(self.settings.memory)
            else:
                fd = make_memory()
            self.memory = Memory(fd)
            slot = self.memory.claim()
        except (OSError, ValueError) as error:
            log.error("no metrics: %s", error)
            return None
        if slot is None:
            log.error("no metrics: all slots of the metrics memory are taken")
        return slot

    def _open_log(self) -> AccessLog | None:
        settings = self.settings
        if settings.log == "off":
            return None
        try:
            return AccessLog(settings.log, Sink(settings.log_file), settings.log_sample)
        except OSError as error:
            log.error("no access log: %s", error)
            return None

    # -- pages ------------------------------------------------------------------------------------

    def metrics_page(self) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        """All workers' counters."""
        memory = self.memory
        if memory is None:
            return 503, (("content-type", "text/plain; charset=utf-8"),), b"no metrics: see the server's log\n"
        if self.slot is not None:
            # What can be read off at once need not be a second old in the worker that answers.
            self._measure(self.slot)
            self.beside.look(self.slot.named)
        return 200, (("content-type", CONTENT_TYPE), ("cache-control", "no-store")), exposition(memory).encode()

    def health_pages(self, prefix: str) -> dict[str, Page]:
        """The three pages below a prefix."""

        def page(ask: Callable[[], tuple[int, bytes]]) -> Page:
            def answer() -> tuple[int, tuple[tuple[str, str], ...], bytes]:
                status, body = ask()
                return status, HEADERS, body

            return answer

        base = "/" + prefix.strip("/") + "/" if prefix.strip("/") else "/"
        health = self.health
        return {base + name: page(getattr(health, name)) for name in ("livez", "readyz", "startupz")}

    def management_pages(self) -> dict[str, Page]:
        """What a management port answers."""
        return {**self.health_pages("/"), "/metrics": self.metrics_page}

    def _pages_on_app(self) -> dict[str, Page]:
        settings = self.settings
        pages: dict[str, Page] = {}
        if settings.health_prefix is not None:
            pages.update(self.health_pages(settings.health_prefix))
        if settings.metrics_path is not None:
            pages["/" + settings.metrics_path.lstrip("/")] = self.metrics_page
        return pages

    # -- the worker itself ------------------------------------------------------------------------

    def is_server_draining(self) -> bool:
        """Whether the server is on its way out: this worker, and no other that stays."""
        if not self.surroundings.is_leaving():
            return False
        # A reload replaces workers one by one; the server goes on, and so does its readiness.
        return not self.others_serve()

    def is_early(self) -> bool:
        """Whether this worker still starts, and others serve."""
        return not self.health.has_started and self.others_serve()

    def others_serve(self) -> bool:
        """Whether another worker of the server takes requests."""
        memory, slot = self.memory, self.slot
        return memory is not None and slot is not None and any(each.is_serving for each in memory.readings() if each.number != slot.number)

    def newest(self, name: str) -> Outcome | None:
        """How a ping went when a worker asked last, whichever it was."""
        memory = self.memory
        if memory is None:
            return None
        found = max((memory.table(each.number).value(PING, ping=name) for each in memory.readings() if each.is_alive), default=0)
        return unpacked(found) if found else None

    def post(self, name: str, outcome: Outcome) -> None:
        """Tell the other workers how a ping went."""
        slot = self.slot
        if slot is not None:
            slot.words[slot.named.place(PING, ping=name)] = packed(outcome)

    def is_stuck(self) -> bool:
        """Whether the loop has not turned for too long."""
        asked = self.asked
        return asked is not None and time.perf_counter_ns() - asked > STUCK * 1e9

    def _look_after(self) -> None:
        next_look = 0.0
        while not self.over.wait(FLUSH):
            try:
                lines, slot = self.log, self.slot
                lost = lines.flush() if lines is not None else 0
                if slot is None:
                    continue
                if lost:
                    slot.add(LINES_LOST, lost)
                if self.surroundings.is_leaving():
                    slot.set(STATE, DRAINING)
                self.beside.look(slot.named)
                now = time.monotonic()
                if now >= next_look:
                    next_look = now + LOOK
                    self._measure(slot)
                    self._ask_loop(slot)
                    if self.loop is None and portal.portal.running is not None:
                        # Behind a sync door: where the async views of this process run, once there was one.
                        self._watch_loop(portal.portal.running)
            except Exception:
                # Whatever went wrong, the next look is in a moment; a thread that ended would be silence for good.
                log.exception("a look at the worker failed")

    def _measure(self, slot: Slot) -> None:
        pool = offload.pool
        threads = len(pool.threads)
        slot.set(THREADS, threads)
        slot.set(THREADS_BUSY, pool.busy)
        slot.set(THREADS_WAITING, pool.waiting)
        slot.set(MEMORY, resident_memory())
        slot.set(ACCEPTING_QUEUE, self.surroundings.queue())
        slot.set(TICKED, time.time_ns())

    def _ask_loop(self, slot: Slot) -> None:
        """Have the loop call us, and note how long that takes. What makes it late is `blocking.py`'s business."""
        loop = self.loop
        if loop is None or not loop.is_running():
            self.asked = None
            return
        if self.asked is not None:
            slot.set(LAG, time.perf_counter_ns() - self.asked)
            return
        asked = self.asked = time.perf_counter_ns()

        def turned() -> None:
            self.asked = None
            slot.set(LAG, time.perf_counter_ns() - asked)

        try:
            loop.call_soon_threadsafe(turned)
        except RuntimeError:
            self.asked = None  # closed meanwhile: nobody to be late


def resident_memory() -> int:
    """Resident memory of this process, bytes; its greatest so far where the present one cannot be known."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _forked() -> None:
    for observer in tuple(_living):
        observer.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
