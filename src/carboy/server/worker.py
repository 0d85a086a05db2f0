"""One worker process: loads the application, serves it, tells the main process how it fares, and leaves in order.

Three actors live here. The *loop* (or, on the WSGI door, granian's threads) serves. The *pulse*, a thread, beats to
the main process, hears its orders, closes the gate when the loop hangs or descriptors run out, and conducts the
leaving: it must work when the loop does not. The *watchdog* is faulthandler's thread in C: it ends a process whose
interpreter is held for good, with the stacks of all threads in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import faulthandler
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from ..core.lifespan import LEAVING
from ..pipeline import offload, portal
from ..wire.asgi import ASGIApp
from ..wire.close_codes import GOING_AWAY, RESTART
from . import apps, granian_doors
from .around import Dressing, dress
from .channel import Lines, Message, Sender, pack, receive_one
from .counting import counted
from .door import production, production_rsgi, production_wsgi
from .errors import ServerError, WorkerFailed
from .gate import Gate
from .lifespan import Lifespan
from .machine import descriptor_limit, die_with_parent
from .options import Options
from .relays import Relays
from .services import SOCKETS, Leaving, asked_for, split, told
from .sockets import Sockets
from .stall import end_stalled_writes
from .takeover import can_take_over
from .tally import Tally

#: Seconds between two beats to the main process.
PULSE = 0.2
#: Seconds between two counts of descriptors: with 20,000 connections one takes 20 ms.
COUNT = 0.5
#: Seconds for which a worker that gives connections away accepts none.
SHARE_PAUSE = 0.5
#: The loop is late by so much: take no more connections until it turns again.
GATE_AFTER = 1.0
#: Time to end in after the main process has gone.
ORPHAN_LIMIT = 3.0
#: Most descriptors that the main process can hand over (Linux, SCM_MAX_FD).
MOST_DESCRIPTORS = 253
#: Exit codes the main process can tell from others.
FAILED, CUT_OFF = 3, 4

log = logging.getLogger("carboy.server")


class Pulse(threading.Thread):
    """The worker's second actor: see the file's first lines."""

    def __init__(self, channel: socket.socket, gate: Gate, tally: Tally, options: Options) -> None:
        super().__init__(name="carboy-pulse", daemon=True)
        self.channel = channel
        sender = Sender(channel)
        self.send = sender.send
        self.gate = gate
        self.tally = tally
        self.options = options
        #: Ends the server gracefully; set once there is one.
        self.end: Callable[[], None] | None = None
        #: Tells the application that we leave; set where there is a loop.
        self.announce: Callable[[], None] | None = None
        #: Asks a loop that is not ours to turn; set where there is one.
        self.prod: Callable[[], None] | None = None
        self.lines = Lines()
        self.deadline: float | None = None
        self.leaving: float | None = None
        self.ended = False
        self.is_orphan = False
        #: Nobody takes this worker's place.
        self.is_stop = False
        self.told_wedged = False
        #: When it accepts again, after connections were given to other workers.
        self.shares_until = 0.0
        self.drain = options.drain
        self.descriptors = 0
        self.count_at = 0.0
        self.reserve: int | None = os.open(os.devnull, os.O_RDONLY)
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.wake_writer.setblocking(False)

    # Called from signal handlers and from the loop.
    def leave(self, limit: float | None = None, drain: float | None = None, is_stop: bool = False) -> None:
        """Begin to leave: no new connections, drain, end. Repeating it can only shorten the time left.

        Args:
            limit: seconds after which the process ends whatever is in flight; the option's if not given.
            drain: seconds to go on serving what was accepted already; the option's if not given.
            is_stop: the whole server stops.
        """
        self.is_stop = self.is_stop or is_stop
        now = time.monotonic()
        if drain is not None:
            self.drain = min(self.drain, drain)
        until = now + (self.options.stop_timeout if limit is None else limit)
        self.deadline = until if self.deadline is None else min(self.deadline, until)
        if self.leaving is None:
            self.leaving = now
        with contextlib.suppress(BlockingIOError):
            self.wake_writer.send(b"!")

    def close_code(self) -> int:
        """What WebSockets are closed with: 1001 if the server stops, 1012 if a client may come again at once."""
        return GOING_AWAY if self.is_stop else RESTART

    def run(self) -> None:
        next_beat = 0.0
        while True:
            now = time.monotonic()
            if self.options.wedge_timeout:
                faulthandler.dump_traceback_later(self.options.wedge_timeout + 1, exit=True)
            if now >= next_beat:
                next_beat = now + PULSE
                self.beat(now)
            pause = min(next_beat, self.conduct_leaving(now)) - now
            self.hear(max(0.005, pause))

    def hear(self, pause: float) -> None:
        watched = [self.wake_reader] if self.is_orphan else [self.wake_reader, self.channel]
        # poll, not select: with many connections the numbers of descriptors pass select's limit of 1,024.
        readable = _readable(watched, pause)
        if self.wake_reader in readable:
            self.wake_reader.recv(64)
        if self.channel not in readable:
            return
        try:
            received = self.channel.recv(65536)
        except OSError:
            received = b""
        if not received:
            # The main process is gone, without a word: nobody counts on us any more.
            if self.deadline is None:
                log.warning("worker %d: the main process is gone; leaving", os.getpid())
            self.is_orphan = True
            self.leave(ORPHAN_LIMIT, drain=0.2, is_stop=True)
            return
        for message in self.lines.feed(received):
            if message.get("do") == "leave":
                self.leave(message.get("limit"), message.get("drain"), message.get("stop", False))
            elif message.get("do") == "give":
                # For a moment only: those who come again find the others.
                self.shares_until = time.monotonic() + SHARE_PAUSE
                self.gate.close("share")
                self.tally.give(int(message["connections"]))

    def beat(self, now: float) -> None:
        if self.prod is not None:
            self.prod()
        if now >= self.shares_until:
            self.gate.open("share")
        loop_age = self.tally.loop_age(now)
        if loop_age > GATE_AFTER:
            self.gate.close("loop")
        else:
            self.gate.open("loop")
        thread_age = self.tally.thread_age(now)
        # Not sooner: async views need no thread, and are served as long as this worker is not given up.
        if self.options.thread_timeout and thread_age > self.options.thread_timeout:
            self.gate.close("threads")
        else:
            self.gate.open("threads")
        wedged = bool(self.options.wedge_timeout) and loop_age > self.options.wedge_timeout
        if now >= self.count_at:
            self.count_at = now + COUNT
            self.descriptors = self.count_descriptors()
        message: Message = {
            "is": "beat",
            "requests": self.tally.started,
            "in_flight": self.tally.in_flight,
            "lag": round(max(self.tally.take_lag(), loop_age), 4),
            "loop_age": round(loop_age, 3),
            "thread_age": round(thread_age, 3),
            "queue": offload.pool.waiting,
            "threads": len(offload.pool.threads),
            "descriptors": self.descriptors,
            "accepting": self.gate.is_open,
        }
        if wedged and not self.told_wedged:
            self.told_wedged = True
            message["stack"] = self.loop_stack()
        # A main process that does not read for long (stopped by ^Z) must not hold the pulse: plain beats may be lost.
        self.send(message, droppable="stack" not in message)

    def loop_stack(self) -> str:
        """Where the loop hangs, as a traceback."""
        frame = sys._current_frames().get(self.tally.loop_thread or 0)  # the documented way to another thread's frame
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def count_descriptors(self) -> int:
        """Count open descriptors, and close the gate while hardly any is left."""
        limit = descriptor_limit()
        if self.reserve is not None:
            # Counting needs a descriptor of its own.
            os.close(self.reserve)
        try:
            count = len(os.listdir("/dev/fd")) - 1
        except OSError as error:
            count = limit if error.errno in {errno.EMFILE, errno.ENFILE} else 0
        try:
            self.reserve = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            self.reserve = None
            count = limit
        margin = max(8, limit // 50)
        if count >= limit - margin:
            if self.gate.is_open:
                log.warning("worker %d: %d of %d descriptors in use; accepting stops until some are free", os.getpid(), count, limit)
            self.gate.close("descriptors")
        elif count < limit - 2 * margin:
            self.gate.open("descriptors")
        return count

    def conduct_leaving(self, now: float) -> float:
        """Do the next step of leaving, if we are; return when to look again."""
        if self.leaving is None or self.deadline is None:
            return now + PULSE
        if not self.tally.draining:
            self.tally.drain()
            self.gate.close("leaving")
            self.send({"is": "leaving"})
            if self.announce is not None:
                self.announce()
        if now >= self.deadline:
            log.warning("worker %d: time is up; %d requests are cut off", os.getpid(), self.tally.in_flight)
            self.send({"is": "cut off", "in_flight": self.tally.in_flight})
            _exit_now(CUT_OFF)
        if not self.ended:
            drained_at = self.leaving + self.drain
            if now < drained_at:
                return min(drained_at, self.deadline)
            self.ended = True
            if self.end is None:
                _exit_now(0)
            else:
                self.end()
        return min(now + PULSE, self.deadline)


def _set_soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    # A loop that is closed already has nobody to tell.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)


def _readable(watched: list[socket.socket], seconds: float) -> list[socket.socket]:
    poller = select.poll()
    for each in watched:
        poller.register(each, select.POLLIN)
    ready = {number for number, _ in poller.poll(seconds * 1000)}
    return [each for each in watched if each.fileno() in ready]


def _exit_now(code: int) -> None:
    """End the process without waiting for threads that may hang."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def new_loop(options: Options) -> asyncio.AbstractEventLoop:
    if options.loop != "asyncio":
        try:
            import uvloop
        except ImportError as error:
            if options.loop == "uvloop":
                raise WorkerFailed("--loop uvloop: it is not installed; `pip install uvloop`, or --loop auto") from error
        else:
            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


class Worker:
    """The serving half of the process."""

    def __init__(
        self, served: apps.Served, options: Options, gate: Gate, tally: Tally, pulse: Pulse, dressing: Dressing | None = None,
        services: Mapping[str, int] | None = None,
    ) -> None:
        self.served = served
        self.dressing = dressing
        self.options = options
        self.gate = gate
        self.tally = tally
        self.pulse = pulse
        #: Descriptors of the sockets of services beside HTTP, by their addresses' keys.
        self.services = services or {}
        self.root_path = (options.root_path or "").rstrip("/")

    def tell_ready(self) -> None:
        served = self.served
        self.pulse.send(
            {
                "is": "ready",
                "app": served.name,
                "routes": served.routes,
                "sync_views": served.sync_views,
                "async_views": served.async_views,
                "sockets": served.sockets,
            }
        )

    def run(self) -> None:
        """Serve until told to leave.

        Raises:
            ServerError: the application's start-up failed.
        """
        if self.dressing is None:
            self.serve()
            return
        self.dressing.begin()
        try:
            self.serve()
        finally:
            self.dressing.end()

    def serve(self) -> None:
        loop = new_loop(self.options)
        asyncio.set_event_loop(loop)
        if self.options.fastcgi is not None:
            self.run_fastcgi()
            return
        if self.options.interface == "wsgi":
            self.run_wsgi(loop)
            return
        loop.add_signal_handler(signal.SIGTERM, self.pulse.leave)
        try:
            loop.run_until_complete(self.run_on(loop))
        finally:
            with contextlib.suppress(Exception):
                loop.run_until_complete(loop.shutdown_asyncgens())

    async def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        app = self.served.app
        rsgi = self.options.interface == "rsgi"
        lifespan: Lifespan | None = None
        sockets: Sockets | None = None
        relays: Relays | None = None
        leaving = self.make_leaving(loop)
        if apps.is_asgi(app):
            lifespan = Lifespan(app)
            lifespan.state.update(told(leaving, self.services))
            await lifespan.start()
            lifespan.state.pop(SOCKETS, None)
        elif rsgi and hasattr(app, "__rsgi_init__"):
            app.__rsgi_init__(loop)
        await self.prove()
        if rsgi:
            door = granian_doors.rsgi_door(self.gate, self.options, loop)
            entry = production_rsgi(app.__rsgi__, self.options, app)
            if self.dressing is not None:
                entry = self.dressing.rsgi(entry)
            callback = granian_doors.rsgi_callback(entry, self.tally)
        else:
            sockets, relays = self.websockets()
            if sockets is not None and self.dressing is not None:
                sockets.around = self.dressing.sockets
            layered = production(apps.asgi_callable(self.served), self.options, self.served.app, sockets, relays)
            if self.dressing is not None:
                layered = self.dressing.asgi(layered)
            door = granian_doors.asgi_door(self.gate, self.options, loop)
            state = lifespan.state if lifespan is not None else {}
            state[LEAVING] = leaving
            callback = granian_doors.asgi_callback(layered, state, self.root_path, self.tally)
        goodbye: list[asyncio.Task[None]] = []

        async def say_goodbye() -> None:
            code = self.pulse.close_code()
            if relays is not None:
                # Granian drops its WebSockets when it ends, so they hear of it before.
                await relays.leave(code)
            door.end()
            if sockets is not None:
                await sockets.leave(code)

        def end() -> None:
            # A loop that is closed already has nobody to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: goodbye.append(loop.create_task(say_goodbye())))

        self.pulse.end = end
        self.tally.probe = lambda: probe_threads(loop)
        self.tally.beat_on(loop, threading.get_ident())
        if self.dressing is not None:
            self.dressing.ready(loop)
        door.begin(callback)
        self.tell_ready()
        await door.over.wait()
        await asyncio.gather(*goodbye)
        if lifespan is not None:
            await lifespan.stop()
        elif rsgi and hasattr(app, "__rsgi_del__"):
            app.__rsgi_del__(loop)

    def websockets(self) -> tuple[Sockets | None, Relays | None]:
        """Who looks after WebSockets: we alone, or we over granian, or nobody."""
        if not self.options.websockets:
            return None, None
        if can_take_over(self.options, self.gate.listening):
            return Sockets(self.options, self.gate.listening, granian_doors.connections(self.options), self.tally), None
        return None, Relays(self.options)

    def run_wsgi(self, loop: asyncio.AbstractEventLoop) -> None:
        over = threading.Event()
        lifespan = self.start_beside()
        portal.call(self.prove)
        server = granian_doors.serve_wsgi(self.gate, self.options, loop)
        self.pulse.end = server.end
        signal.signal(signal.SIGTERM, lambda *_: self.pulse.leave())
        if self.dressing is not None:
            self.dressing.ready(None)
        server.begin(granian_doors.wsgi_callback(self.wsgi_entry(), self.root_path, self.tally), loop, over.set)
        self.tell_ready()
        over.wait()
        self.stop_beside(lifespan)

    def run_fastcgi(self) -> None:
        # Only here: the other doors start sooner without it.
        from ..gateways.fastcgi import FastCGIServer

        lifespan = self.start_beside()
        portal.call(self.prove)
        threads = self.options.threads or granian_doors.WSGI_THREADS
        server = FastCGIServer(
            counted(self.wsgi_entry(), self.tally),
            self.gate.listening,
            threads=threads,
            max_body=apps.largest_body(self.served, self.options.max_body),
            body_timeout=self.options.body_timeout,
            body_rate=self.options.body_rate,
            write_timeout=self.options.write_timeout or float("inf"),
            prefix=self.root_path,
        )
        if self.dressing is not None:
            self.dressing.ready(None)
        # It takes what the kernel holds for us and drains by itself.
        self.pulse.end = server.shutdown
        self.pulse.prod = lambda: server.post(self.tally.turned)
        signal.signal(signal.SIGTERM, lambda *_: self.pulse.leave())
        self.tell_ready()
        server.serve_forever()
        self.stop_beside(lifespan)

    async def prove(self) -> None:
        """Have the application answer --ready-path, whatever door it will be served through.

        Raises:
            WorkerFailed: it did not, or it cannot be asked.
        """
        path = self.options.ready_path
        if path is None:
            return
        if not apps.is_asgi(self.served.app):
            raise WorkerFailed(f"--ready-path {path} asks by ASGI, which {self.served.name} does not speak; leave it out")
        await prove(production(apps.asgi_callable(self.served), self.options, self.served.app), path)

    def start_beside(self) -> Lifespan | None:
        """Behind a sync door: start the application's lifespan on the loop that runs its async code."""
        if not self.served.is_carboy:
            return None
        lifespan = Lifespan(self.served.app)
        lifespan.state.update(told(self.make_leaving(portal.portal.loop()), self.services))
        portal.call(lifespan.start)
        return lifespan

    def make_leaving(self, loop: asyncio.AbstractEventLoop) -> Leaving:
        """The event that tells what runs on a loop that this worker leaves."""
        leaving = Leaving(lambda: self.pulse.deadline, self.pulse.close_code)
        self.pulse.announce = lambda: _set_soon(loop, leaving)
        return leaving

    def stop_beside(self, lifespan: Lifespan | None) -> None:
        if lifespan is not None:
            portal.call(lifespan.stop)

    def wsgi_entry(self) -> Any:
        """The callable itself: a Carboy app looks for its `wsgi_app` at each call, which may be replaced at any time."""
        entry = production_wsgi(self.served.app, self.options)
        return entry if self.dressing is None else self.dressing.wsgi(entry)


def probe_threads(loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any] | None:
    """Ask the thread pool for a sign of life; an idle pool is alive."""
    pool = offload.pool
    return pool.submit(loop, time.monotonic, ()) if pool.threads else None


async def prove(app: ASGIApp, path: str) -> None:
    """Call the application once, as a client would, before any client does.

    Raises:
        WorkerFailed: it raised, or answered 400 or more.
    """
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "extensions": {},
        "state": {},
    }
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            status.append(event["status"])

    try:
        await app(scope, receive, send)
    except Exception as error:
        raise WorkerFailed(f"--ready-path {path} raised {type(error).__name__}: {error}") from error
    if not status or status[0] >= 400:
        raise WorkerFailed(f"--ready-path {path} answered {status[0] if status else 'nothing'}")


def receive_socket(channel: socket.socket) -> tuple[socket.socket, str, dict[str, int]] | None:
    """Wait for the listening socket, the options, and what is shared besides; None if the main process has gone."""
    carried, fds, _, _ = socket.recv_fds(channel, 1, MOST_DESCRIPTORS)
    if not carried or not fds:
        return None
    order = receive_one(channel)
    if order is None or order.get("do") != "serve":
        return None
    listening = socket.socket(fileno=fds[0])
    for fd in fds:
        os.set_inheritable(fd, False)
    return listening, order["options"], dict(zip(order.get("shared", ()), fds[1:], strict=True))


def serve(
    served: apps.Served,
    listening: socket.socket,
    options: Options,
    channel: socket.socket,
    around: str | None = None,
    shared: dict[str, int] | None = None,
) -> None:
    """Serve until told to leave.

    Args:
        around: name of what is put around the application, see `around.py`.
        shared: descriptors of the main process, by name.

    Raises:
        ServerError: the application does not fit the door, or its start-up failed.
    """
    apps.must_fit(served, "wsgi" if options.fastcgi else options.interface)
    configure_log(options)
    if options.threads:
        offload.pool.size = options.threads
    end_stalled_writes(listening, options.write_timeout)
    gate, tally = Gate(listening), Tally()
    pulse = Pulse(channel, gate, tally, options)
    pulse.start()
    services, others = split(shared or {})
    dressing = dress(around, served.app, options, gate, tally, others)
    Worker(served, options, gate, tally, pulse, dressing, services).run()


def configure_log(options: Options) -> None:
    """Have the server's own warnings and granian's seen; the root logger is the application's and stays as it is."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for logger, least in ((log, options.log_level.upper()), (logging.getLogger("_granian"), "WARNING")):
        # An application that configures logging by dictionary switches off, by default, what existed before.
        logger.disabled = False
        logger.setLevel(least)
        if not logger.hasHandlers():
            logger.addHandler(handler)


def main(argv: list[str]) -> int:
    """Entry of a worker process: `python -m carboy.server CHANNEL_FD`."""
    faulthandler.enable()
    channel = socket.socket(fileno=int(argv[1]))
    os.set_inheritable(channel.fileno(), False)
    spec = receive_one(channel)
    if spec is None:
        return 0
    die_with_parent(int(spec["parent"]))
    sys.path[:] = spec["path"]
    # Ours served to find this module; the application's own processes must not inherit it.
    if spec["python_path"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = spec["python_path"]
    try:
        served = apps.load(spec["target"])
        channel.sendall(pack({"is": "loaded", "config": apps.server_config(served), "listens": asked_for(served.app)}))
        received = receive_socket(channel)
        if received is None:
            return 0
        serve(served, received[0], Options.from_json(received[1]), channel, spec.get("around"), received[2])
    except ServerError as error:
        channel.sendall(pack({"is": "failed", "why": str(error)}))
        _exit_now(FAILED)
    except Exception as error:  # noqa: BLE001 - whatever it is, the main process reports it
        channel.sendall(pack({"is": "failed", "why": "".join(traceback.format_exception(error))}))
        _exit_now(FAILED)
    faulthandler.cancel_dump_traceback_later()
    # Daemon threads may sit in blocking calls; waiting for them is not leaving in order.
    logging.shutdown()
    _exit_now(0)
    return 0
