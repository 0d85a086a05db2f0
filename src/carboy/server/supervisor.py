"""The main process: keeps the workers at strength, renews them without loss, and leaves nothing behind.

One thread, one loop over a selector: signals, the workers' channels, the control socket, and the clock. It imports
no application code, so it cannot be hurt by one, and it holds the listening socket, so that no worker's death
loses what waits in its queue.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from . import banner
from .channel import Message
from .control import ControlServer
from .errors import BindError
from .listen import Listener
from .machine import open_files, pin, processor_seconds, processors, resident_memory
from .options import Options
from .roster import HEALTHY_AFTER, BackOff, Renewal, State, Worker, limits_of
from .services import ServiceSockets
from .shares import connections_above, requests_above
from .spawn import Link, Spawner, not_ready
from .systemd import Notifier

log = logging.getLogger("carboy.server")

#: Seconds between two looks at everything, when nothing happens.
TICK = 0.25
#: Seconds between two looks at who computes, of two workers or more.
LOOK = 0.05
#: A worker that was told to leave ends itself; it is killed so much later.
GRACE = 0.7
#: One that is still starting is killed so much later.
STARTER_LIMIT = 1.0
#: Missing beats are given so much more than a blocked loop: the worker's own watchdog says more about the cause.
SILENCE = 2.0
#: Workers to keep when a reload replaces several at a time: one in four is in renewal.
RENEWED_AT_ONCE = 4
#: A spare process is started so long after the first worker is ready, and after a spare that ended or could not be had.
SPARE_AFTER, SPARE_AGAIN = 1.0, 10.0
#: Descriptors kept for starting a worker: its channel, and what `subprocess` takes for a moment.
RESERVE = 12
#: Ctrl-C is impatient.
INTERRUPT_LIMIT, INTERRUPT_DRAIN = 5.0, 0.05


class Supervisor:
    """Runs the workers of one application on one socket.

    Args:
        spawner: starts processes.
        options: complete.
        listener: what they serve.
        control: where orders come from; None for nowhere.
        notifier: whom to tell how the service fares.
        first: a worker that has loaded the application already.
        services: the sockets of what is served beside HTTP.
    """

    def __init__(
        self,
        spawner: Spawner,
        options: Options,
        listener: Listener,
        control: ControlServer | None,
        notifier: Notifier,
        first: Link,
        services: ServiceSockets,
    ) -> None:
        self.spawner = spawner
        self.options = options
        self.size = options.workers or processors()
        self.first: Link | None = first
        self.listener = listener
        self.services = services
        self.control = control
        self.notifier = notifier
        self.chance = random.Random()
        self.workers: dict[Link, Worker] = {}
        self.backoffs: collections.defaultdict[int, BackOff] = collections.defaultdict(BackOff)
        self.release = 1
        self.renewal: Renewal | None = None
        self.reload_wanted = False
        #: Told how a reload ends: (went well, what happened).
        self.reload_listeners: list[Callable[[bool, str], None]] = []
        self.started = time.monotonic()
        self.served: Message | None = None
        self.stopping: float | None = None
        self.stop_deadline = 0.0
        self.drain = options.drain
        self.exit_code = 0
        self.restarts: collections.Counter[str] = collections.Counter()
        self.told_failure: str | None = None
        #: When a spare process may be started.
        self.spare_not_before = float("inf")
        #: Given away for a moment when no descriptor is left for starting a worker.
        self.reserve = [os.open(os.devnull, os.O_RDONLY) for _ in range(RESERVE)]
        self.selector = selectors.DefaultSelector()
        #: When it was last looked who computes.
        self.looked_at = 0.0
        self.interrupts = 0
        self.adopts = os.getpid() == 1

    # ── the workers ──────────────────────────────────────────────────────────────────────────────────────────────

    def link_of(self, worker: Worker) -> Link:
        return next(link for link, each in self.workers.items() if each is worker)

    def start_worker(self, slot: int, replaces: Worker | None = None) -> Worker | None:
        """Spawn a process for a slot; None if the machine refuses (the slot's back-off then decides)."""
        now = time.monotonic()
        is_loaded = self.first is not None
        while self.reserve:
            os.close(self.reserve.pop())
        try:
            link, self.first = self.first or self.spawner.spawn(), None
        except OSError as error:
            pause = self.backoffs[slot].died(now, None)
            log.error("cannot start a worker: %s; next try in %.1f s", error.strerror, pause)
            return None
        finally:
            self.refill_reserve()
        requests, age, memory = limits_of(self.options, self.chance)
        worker = Worker(slot, link.pid, self.release, now, requests, age, memory, last_beat=now)
        worker.deadline = now + self.options.start_timeout
        if replaces is not None:
            worker.replaces = replaces
            replaces.successor = worker
        self.workers[link] = worker
        self.selector.register(link.channel, selectors.EVENT_READ, link)
        if is_loaded:
            self.equip(link)
        return worker

    def equip(self, link: Link) -> None:
        """Give a worker that has loaded its application what it is to serve on; it fails where that cannot be had."""
        try:
            services = self.services.provide(link.listens)
        except BindError as error:
            self.workers[link].why_failed = str(error)
            link.process.kill()
        else:
            if self.options.pin:
                try:
                    pin(link.pid, self.workers[link].slot)
                except ProcessLookupError:
                    pass  # its death is noticed where all are
                except OSError as error:  # a sandbox forbids it, or the cpuset has just changed: slower is better than gone
                    log.warning("worker %d has no processor of its own: %s", link.pid, error.strerror)
            link.send_off(self.listener.socket, self.options, services)

    def refill_reserve(self) -> None:
        with contextlib.suppress(OSError):
            while len(self.reserve) < RESERVE:
                self.reserve.append(os.open(os.devnull, os.O_RDONLY))

    def dismiss(self, worker: Worker, limit: float | None = None, drain: float | None = None) -> None:
        """Tell a worker to leave: no new connections, drain, finish, end."""
        if worker.state in {State.GONE, State.WEDGED}:
            return
        limit = self.options.stop_timeout - 1 if limit is None else limit
        until = time.monotonic() + limit + min(GRACE, limit / 4)
        if worker.state is not State.LEAVING:
            if worker.state is State.STARTING:
                # It may have begun to serve this moment, so it gets the order; loading, it cannot hear it for long.
                until = min(until, time.monotonic() + STARTER_LIMIT)
            worker.pass_to(State.LEAVING)
            worker.deadline = until
        worker.deadline = min(until, worker.deadline or until)
        drain = self.drain if drain is None else drain
        self.link_of(worker).send({"do": "leave", "limit": limit, "drain": drain, "stop": self.stopping is not None})

    def count_restart(self, why: str) -> None:
        self.restarts[why] += 1
        if self.spawner.around is not None:
            self.spawner.around.restarted(why)

    def kill(self, worker: Worker) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)

    def hear(self, link: Link) -> None:
        """Read what a worker says; its end of file is its death."""
        try:
            received = link.channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.selector.unregister(link.channel)
            self.bury(link)
            return
        try:
            for message in link.lines.feed(received):
                self.take(link, message)
        except (ValueError, KeyError, TypeError) as error:
            log.error("worker %d speaks nonsense (%s); it is killed", link.pid, error)
            link.process.kill()

    def take(self, link: Link, message: Message) -> None:
        now = time.monotonic()
        worker = self.workers[link]
        match message["is"]:
            case "beat":
                worker.last_beat = now
                worker.requests = message["requests"]
                worker.in_flight = message["in_flight"]
                worker.lag = message["lag"]
                worker.loop_age = message["loop_age"]
                worker.thread_age = message["thread_age"]
                worker.queue = message["queue"]
                worker.threads = message["threads"]
                worker.descriptors = message["descriptors"]
                worker.accepting = message["accepting"]
                if message.get("stack"):
                    log.error("worker %d: its event loop has been blocked for %.1f s here:\n%s", worker.pid, worker.loop_age, message["stack"].rstrip())
                serving = self.accepting(worker)
                if worker.is_serving and len(serving) > 1 and (surplus := requests_above(worker, serving, now)):
                    log.info("worker %d has %d requests more than its share; their connections close and go to the others", worker.pid, surplus)
                    link.send({"do": "give", "connections": surplus})
            case "loaded":
                link.listens = message["listens"]
                self.equip(link)
            case "ready":
                self.became_ready(worker, message, now)
            case "failed":
                worker.why_failed = message["why"]
            case "leaving":
                # Told by somebody else (kill PID): it counts no more, its place is filled at once.
                if worker.state is State.READY:
                    worker.pass_to(State.LEAVING)
                    worker.deadline = now + self.options.stop_timeout + GRACE
            case "cut off":
                log.warning("worker %d: %d requests were cut off when its time was up", worker.pid, message["in_flight"])
            case _:
                log.debug("worker %d: %r", worker.pid, message)

    def accepting(self, worker: Worker | None = None) -> list[Worker]:
        """Workers that serve and accept connections, and this one if it serves."""
        return [each for each in self.workers.values() if each.is_serving and (each.accepting or each is worker)]

    def share_out(self, now: float) -> None:
        """Look who computes and who has little to do; have the one give connections to the other."""
        since = now - self.looked_at
        if since < LOOK:
            return
        self.looked_at = now
        serving = self.accepting()
        for each in serving:
            used = processor_seconds(each.pid)
            each.load.share, each.load.used = (used - each.load.used) / since, used
        if len(serving) < 2:
            return
        found = connections_above(serving, now, lambda each: open_files(each.pid) or each.descriptors)
        if found is not None:
            worker, extra = found
            log.info("worker %d computes for others too; connections that close and go to them: %d", worker.pid, extra)
            self.link_of(worker).send({"do": "give", "connections": extra})

    def became_ready(self, worker: Worker, message: Message, now: float) -> None:
        if worker.state is not State.STARTING:
            return
        worker.pass_to(State.READY)
        worker.ready_at = worker.last_beat = now
        worker.load.own, worker.load.used = open_files(worker.pid), processor_seconds(worker.pid)
        worker.deadline = None
        self.told_failure = None
        log.debug("worker %d is ready after %.2f s", worker.pid, now - worker.born)
        if self.served is None:
            self.served = message
            self.spare_not_before = now + SPARE_AFTER
            banner.show(message, self.spawner.target, self.options, self.size, self.listener.url, self.control is not None)
            self.notifier.ready(f"serving {message['app']} at {self.listener.url}")
        old = worker.replaces
        if old is not None:
            worker.replaces = None
            old.successor = None
            if old.state is State.WEDGED:
                self.kill(old)
            else:
                self.dismiss(old)
            if self.renewal is not None and worker.release == self.renewal.release:
                self.renewal.proven = True
                self.renewal.done += 1
                self.count_restart("reloaded")

    def bury(self, link: Link) -> None:
        """A worker's process has ended, or has closed its channel and is about to."""
        worker, process = self.workers.pop(link), link.process
        link.channel.close()
        try:
            code = process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        before, now = worker.state, time.monotonic()
        worker.pass_to(State.GONE)
        if worker.successor is not None:
            worker.successor.replaces = None
        expected = before is State.LEAVING
        if before is State.STARTING:
            self.start_failed(worker, code, now)
            return
        if worker.replaces is not None:
            worker.replaces.successor = None
        if expected or self.stopping is not None:
            if code not in {0, -signal.SIGKILL} and self.stopping is None:
                log.warning("worker %d left with %s", worker.pid, ending(code))
            return
        # Killed from outside (an operator, the kernel out of memory) is no fault of the application's start.
        ready_for = HEALTHY_AFTER if code == -signal.SIGKILL else now - (worker.ready_at or now)
        if before is State.WEDGED:
            # It did not come and go quickly: nothing is gained by waiting.
            self.count_restart("wedged")
            return
        self.count_restart("died")
        pause = 0.0 if worker.successor is not None else self.backoffs[worker.slot].died(now, ready_for)
        log.error(
            "worker %d died (%s) with %d requests in flight; a new one starts %s",
            worker.pid, ending(code), worker.in_flight, f"in {pause:.1f} s" if pause else "now",
        )  # fmt: skip

    def start_failed(self, worker: Worker, code: int, now: float) -> None:
        why = worker.why_failed or f"the process ended with {ending(code)} before it was ready"
        old = worker.replaces
        if old is not None:
            old.successor = None
        if self.stopping is not None:
            return
        if self.served is None:
            print(f"carboy: {why}", file=sys.stderr, flush=True)
            self.exit_code = 1
            self.stop(0.0, 0.0)
            return
        self.count_restart("failed to start")
        if self.renewal is not None and worker.release == self.renewal.release and not self.renewal.proven:
            self.end_renewal(False, f"the new release does not start; nothing was changed, the old one goes on:\n{why}")
            return
        pause = self.backoffs[worker.slot].died(now, None)
        if why != self.told_failure:
            self.told_failure = why
            log.error("a worker could not start; next try in %.1f s, then slower and slower:\n%s", pause, why)
        else:
            log.error("a worker could not start, for the same reason; next try in %.1f s", pause)

    # ── what is due ──────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self) -> None:
        """Look at everything once; do what is due."""
        now = time.monotonic()
        self.reap()
        self.enforce_deadlines(now)
        if self.stopping is not None:
            return
        self.find_wedged(now)
        self.share_out(now)
        self.renew(now)
        self.recycle(now)
        self.keep_strength(now)
        self.keep_spare(now)
        self.notifier.sign_of_life(now)

    def reap(self) -> None:
        """See workers that ended although a child of theirs holds their channel open."""
        for link in list(self.workers):
            if link.process.poll() is not None and link in self.workers:
                # What it said last is still to be read.
                self.hear(link)
                if link in self.workers:
                    self.selector.unregister(link.channel)
                    self.bury(link)
        self.reap_strangers()

    def reap_strangers(self) -> None:
        """As process 1 of a container: bury what the workers' own children left to us."""
        if not self.adopts:
            return
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if any(link.pid == dead.si_pid for link in self.workers):
                    return  # ours: seen at the next look, with its exit code
                os.waitpid(dead.si_pid, 0)

    def enforce_deadlines(self, now: float) -> None:
        for worker in tuple(self.workers.values()):
            if worker.deadline is None or now < worker.deadline:
                continue
            if worker.state is State.STARTING:
                worker.why_failed = not_ready(self.options.start_timeout)
            elif worker.state is State.LEAVING and worker.ready_at is not None:
                log.warning("worker %d did not leave in time; it is killed", worker.pid)
            self.kill(worker)
            worker.deadline = now + 1

    def find_wedged(self, now: float) -> None:
        limit = self.options.wedge_timeout
        for worker in tuple(self.workers.values()):
            if worker.state is not State.READY:
                continue
            silent = now - worker.last_beat
            if limit and (worker.loop_age > limit or silent > limit + SILENCE):
                what = f"its loop is blocked for {worker.loop_age:.1f} s" if worker.loop_age > limit else f"no sign of life for {silent:.1f} s"
                log.error("worker %d is wedged: %s; it is replaced", worker.pid, what)
                worker.pass_to(State.WEDGED)
                worker.deadline = now + 2.0  # for the new one to be ready; then it is of no use any more
                if worker.successor is None:
                    self.start_worker(worker.slot, replaces=worker)
            elif self.has_no_threads(worker) and worker.successor is None and now >= self.backoffs[worker.slot].not_before:
                log.error("worker %d: no thread has been free for %.0f s; it is replaced", worker.pid, worker.thread_age)
                self.count_restart("threads")
                self.start_worker(worker.slot, replaces=worker)

    def has_no_threads(self, worker: Worker) -> bool:
        return 0 < self.options.thread_timeout < worker.thread_age

    def recycle(self, now: float) -> None:
        """Replace one worker that has had its time; one at a time, so that strength holds."""
        if self.renewal is not None or any(each.replaces is not None for each in self.workers.values()):
            return
        for worker in tuple(self.workers.values()):
            worker.memory = resident_memory(worker.pid) if worker.max_memory else 0
            if worker.state is State.READY and self.backoffs[worker.slot].not_before <= now:
                why = worker.must_be_recycled(now)
                if why is not None:
                    log.info("worker %d is recycled after %s", worker.pid, why)
                    self.count_restart("recycled")
                    self.start_worker(worker.slot, replaces=worker)
                    return

    def keep_strength(self, now: float) -> None:
        for slot in range(self.size):
            if not any(each.slot == slot and each.is_present for each in self.workers.values()) and now >= self.backoffs[slot].not_before:
                self.start_worker(slot)
        for worker in tuple(self.workers.values()):
            if worker.slot >= self.size and worker.is_present:
                self.dismiss(worker)

    def keep_spare(self, now: float) -> None:
        """Have a process at hand that needs only load the application: 0.5 s of imports less after a death, for 42 MB of memory."""
        if not self.options.spare or now < self.spare_not_before:
            return
        spare = self.spawner.spare
        if spare is not None:
            if not spare.is_alive:
                self.spawner.discard()
                self.spare_not_before = now + SPARE_AGAIN
        elif self.renewal is None and all(each.state is State.READY for each in self.workers.values()):
            try:
                self.spawner.prepare()
            except OSError:
                self.spare_not_before = now + SPARE_AGAIN

    # ── reload ───────────────────────────────────────────────────────────────────────────────────────────────────

    def reload(self, listener: Callable[[bool, str], None] | None = None) -> None:
        """Renew all workers, one after the other, once a new one has shown that the new release works."""
        if listener is not None:
            self.reload_listeners.append(listener)
        if self.stopping is not None:
            self.end_renewal(False, "the server is stopping")
        elif self.renewal is not None:
            # What changed since the running reload began is not in it: once more after it.
            self.reload_wanted = True
        else:
            self.begin_renewal()

    def begin_renewal(self) -> None:
        self.reload_wanted = False
        self.release += 1
        # What it has loaded may be of another release too, after an upgrade of the libraries.
        self.spawner.discard()
        old = sorted((each for each in self.workers.values() if each.state is State.READY), key=lambda each: each.slot)
        log.info("reload: release %d is tried in a new worker", self.release)
        self.notifier.reloading()
        self.renewal = Renewal(self.release, old)
        for worker in tuple(self.workers.values()):
            if worker.state is State.STARTING:
                self.dismiss(worker)

    def renew(self, now: float) -> None:
        renewal = self.renewal
        if renewal is None:
            return
        renewal.waiting = [each for each in renewal.waiting if each.state is State.READY and each.slot < self.size]
        on_the_way = [each for each in self.workers.values() if each.replaces is not None]
        if not renewal.waiting:
            if not on_the_way and (renewal.proven or any(each.release == renewal.release and each.is_serving for each in self.workers.values())):
                self.end_renewal(True, f"{renewal.done} worker{'s' if renewal.done != 1 else ''} renewed, release {renewal.release} serves")
            return
        at_once = max(1, self.size // RENEWED_AT_ONCE) if renewal.proven else 1
        for worker in renewal.waiting:
            if len(on_the_way) >= at_once:
                return
            if worker.successor is None and now >= self.backoffs[worker.slot].not_before:
                new = self.start_worker(worker.slot, replaces=worker)
                if new is None:
                    if not renewal.proven:
                        self.end_renewal(False, "no process could be started; nothing was changed, the old release goes on")
                    return
                on_the_way.append(new)

    def end_renewal(self, good: bool, what: str) -> None:
        self.renewal = None
        # What the old release alone listened at, or a new one that does not start. Those who leave accept nothing more.
        self.services.keep(each for link, worker in self.workers.items() if worker.is_present for each in link.listens)
        log.log(logging.INFO if good else logging.ERROR, "reload: %s", what)
        if self.served is not None and self.stopping is None:
            self.notifier.ready(f"serving {self.served['app']} at {self.listener.url}" if good else "reload failed, the old release goes on")
        listeners, self.reload_listeners = self.reload_listeners, []
        if self.reload_wanted and self.stopping is None:
            # The ones who asked meanwhile wait for the next round; we cannot tell them apart, so all do.
            self.reload_listeners = listeners
            self.begin_renewal()
            return
        for listener in listeners:
            listener(good, what)

    # ── stopping, scaling, telling ───────────────────────────────────────────────────────────────────────────────

    def stop(self, limit: float, drain: float) -> None:
        """Stop serving: refuse new connections, serve those accepted, end all within `limit` seconds."""
        now = time.monotonic()
        self.drain = min(self.drain, drain)
        until = now + limit
        self.stop_deadline = until if self.stopping is None else min(self.stop_deadline, until)
        if self.stopping is None:
            self.stopping = now
            self.spawner.discard()
            self.notifier.stopping()
            if self.renewal is not None:
                self.end_renewal(False, "the server is stopping")
            self.listener.refuse_new()
            self.services.refuse_new()
            self.wait_for_queue(min(1.0, limit / 4))
        left = max(0.0, self.stop_deadline - time.monotonic())
        # The workers end a little before us, and are killed a little before the limit.
        inner = max(0.0, left - min(2 * GRACE, left / 4))
        for worker in tuple(self.workers.values()):
            self.dismiss(worker, inner, self.drain)

    def wait_for_queue(self, patience: float) -> None:
        """Let the workers take what already waits in the kernel's queue, before they are told to take no more."""
        if self.listener.borrowed or not any(each.is_serving for each in self.workers.values()):
            return
        until = time.monotonic() + patience
        if self.listener.is_unix:
            time.sleep(min(0.1, patience))
        while self.listener.waiting() + self.services.waiting() and time.monotonic() < until:
            time.sleep(0.005)

    def scale(self, size: int) -> None:
        log.info("scaled from %d to %d workers", self.size, size)
        self.size = size

    def status(self) -> Message:
        """What `carboy ctl status` shows."""
        now = time.monotonic()
        return {
            "pid": os.getpid(),
            "app": self.served["app"] if self.served else self.spawner.target,
            "url": self.listener.url,
            "interface": "fastcgi" if self.options.fastcgi else self.options.interface,
            "uptime": round(now - self.started, 1),
            "release": self.release,
            "size": self.size,
            "state": "stopping" if self.stopping is not None else "reloading" if self.renewal is not None else "serving",
            "waiting": self.listener.waiting(),
            "restarts": dict(self.restarts),
            "workers": [
                {
                    "slot": each.slot,
                    "pid": each.pid,
                    "state": each.state.value,
                    "release": each.release,
                    "age": round(now - each.born, 1),
                    "requests": each.requests,
                    "in_flight": each.in_flight,
                    "memory": resident_memory(each.pid),
                    "lag": each.lag,
                    "threads": each.threads,
                    "queue": each.queue,
                    "descriptors": each.descriptors,
                    "accepting": each.accepting,
                    "last_beat": round(now - each.last_beat, 2),
                }
                for each in sorted(self.workers.values(), key=lambda each: (each.slot, each.born))
            ],
        }

    def order(self, message: Message, answer: Callable[[Message], None]) -> None:
        """Carry out an order of `carboy ctl`; the answer may come later."""
        match message:
            case {"do": "status"}:
                answer({"ok": True, "status": self.status()})
            case {"do": "reload"}:
                self.reload(lambda good, what: answer({"ok": good, "what": what}))
            case {"do": "stop"}:
                answer({"ok": True, "what": f"stopping, within {self.options.stop_timeout:g} s", "pid": os.getpid()})
                self.stop(self.options.stop_timeout, self.options.drain)
            case {"do": "scale", "to": int(size)} if 1 <= size <= 1024:
                self.scale(size)
                answer({"ok": True, "what": f"{size} workers"})
            case _:
                answer({"ok": False, "what": "not understood; orders are status, reload, stop, scale N (1 to 1024)"})

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self.selector.register(reader, selectors.EVENT_READ, None)
        if self.control is not None:
            self.control.attach(self.selector, self.order)
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)
        before = {each: signal.signal(each, _noted) for each in handled}
        old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            self.keep_strength(time.monotonic())
            while self.stopping is None or self.workers:
                try:
                    self.turn(reader)
                except Exception:
                    # A mistake of ours in one turn must not take all workers down with it; the next turn looks again.
                    log.exception("the main process made a mistake; it goes on")
                    time.sleep(TICK)
            return self.exit_code
        finally:
            signal.set_wakeup_fd(old_fd)
            for each, handler in before.items():
                signal.signal(each, handler)
            for link in self.workers:
                link.end()
            self.spawner.discard()
            reader.close()
            writer.close()
            self.selector.close()
            for fd in self.reserve:
                os.close(fd)

    def turn(self, signals: socket.socket) -> None:
        for key, _ in self.selector.select(LOOK if len(self.workers) > 1 else TICK):
            if key.fileobj is signals:
                for number in signals.recv(256):
                    self.signalled(number)
            elif isinstance(key.data, Link):
                if key.fileobj in self.selector.get_map():
                    self.hear(key.data)
            elif callable(key.data):
                key.data()
        self.tick()

    def signalled(self, number: int) -> None:
        match number:
            case signal.SIGTERM:
                log.info("SIGTERM: stopping within %g s", self.options.stop_timeout)
                self.stop(self.options.stop_timeout, self.options.drain)
            case signal.SIGINT:
                self.interrupts += 1
                if self.interrupts == 1:
                    log.info("stopping")
                    self.stop(INTERRUPT_LIMIT, INTERRUPT_DRAIN)
                else:
                    self.stop(0.0, 0.0)
            case signal.SIGHUP:
                if self.spawner.where.lost_terminal():
                    self.stop(self.options.stop_timeout, self.options.drain)
                else:
                    self.reload()
            case _:
                pass


def _noted(_signal: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor tells the loop; nothing is done at an arbitrary point of the program."""


def ending(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
