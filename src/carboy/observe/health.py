"""Is it alive, has it started, may it be sent requests: the three questions of an orchestrator.

`livez` asks the process alone; `startupz` whether the application has started; `readyz` whether it should get
requests now: not while draining, and not while a service's ping fails. Each ping has a time of its own to answer in, is
asked once at a time however often we are asked, and is named in the answer; its error goes to the log, not to the asker.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ..core.services import Recipe
from ..pipeline import portal

log = logging.getLogger("carboy.observe")

#: Seconds that the outcome of a ping stands for, so that many probes are one ping.
FRESH = 1.0
#: The page is a few words; nobody keeps it.
HEADERS = (("content-type", "application/json"), ("cache-control", "no-store"))

Answer = tuple[int, bytes]


@dataclass(slots=True)
class Outcome:
    """How a ping went."""

    is_well: bool
    milliseconds: float
    #: For the asker: one of a few words, nothing of the error's own text.
    why: str | None
    #: When it ended, seconds on the monotonic clock.
    at: float


#: The words of an outcome, by the number that stands for them where workers tell each other.
_WHY = (None, "failed", "timeout", "unknown")
#: Bits of that number, and of the time taken in tenths of a millisecond; the rest is when, in milliseconds.
_WHY_BITS, _TOOK_BITS = 2, 20


def packed(outcome: Outcome) -> int:
    """An outcome in 64 bits, which are written and read at once; a later one is a greater number."""
    took = min(int(outcome.milliseconds * 10), (1 << _TOOK_BITS) - 1)
    return ((int(outcome.at * 1000) << _TOOK_BITS) | took) << _WHY_BITS | _WHY.index(outcome.why)


def unpacked(number: int) -> Outcome:
    why = _WHY[number & ((1 << _WHY_BITS) - 1)]
    number >>= _WHY_BITS
    # The clock is the machine's, so another process's reading is as good as ours.
    return Outcome(why is None, (number & ((1 << _TOOK_BITS) - 1)) / 10, why, (number >> _TOOK_BITS) / 1000)


class Board(Protocol):
    """Where workers tell each other how pings went."""

    def newest(self, name: str) -> Outcome | None: ...
    def post(self, name: str, outcome: Outcome) -> None: ...


class Alone:
    """A process without others."""

    def newest(self, name: str) -> Outcome | None:
        return None

    def post(self, name: str, outcome: Outcome) -> None: ...


ALONE = Alone()


class Ping:
    """One service's ping, asked by at most one thread.

    Args:
        name: for people.
        ask: raises if the service is not well; may block.
    """

    def __init__(self, name: str, ask: Callable[[], None]) -> None:
        self.name = name
        self.ask = ask
        self.lock = threading.Lock()
        self.answered = threading.Condition(self.lock)
        self.is_asking = False
        self.began = 0.0
        self.last: Outcome | None = None

    def outcome(self, timeout: float) -> Outcome:
        """How it is: the last answer if it is fresh, a new one otherwise; "timeout" if that does not come."""
        until = time.monotonic() + timeout
        with self.lock:
            last = self.last
            if last is not None and not self.is_asking and time.monotonic() - last.at < FRESH:
                return last
            if not self.is_asking:
                self.is_asking = True
                self.began = time.monotonic()
                threading.Thread(target=self._ask, name=f"carboy-ping-{self.name}", daemon=True).start()
            while self.is_asking:
                left = until - time.monotonic()
                if left <= 0:
                    return Outcome(False, (time.monotonic() - self.began) * 1000, "timeout", time.monotonic())
                self.answered.wait(left)
            if self.last is None:
                return Outcome(False, 0.0, "unknown", time.monotonic())
            return self.last

    def _ask(self) -> None:
        began = time.monotonic()
        why: str | None = None
        try:
            self.ask()
        except Exception as error:  # noqa: BLE001  # a stranger's ping may raise anything, and that is its answer
            why = "failed"
            # Once for each change of mind: a probe comes every few seconds.
            if self.last is None or self.last.is_well:
                log.warning("the ping of %s failed: %s: %s", self.name, type(error).__name__, error)
        finally:
            now = time.monotonic()
            with self.lock:
                if why is None and self.last is not None and not self.last.is_well:
                    log.info("the ping of %s is well again", self.name)
                self.last = Outcome(why is None, (now - began) * 1000, why, now)
                self.is_asking = False
                self.answered.notify_all()


class Health:
    """Answers the three questions for one process.

    Args:
        pings: the services to ask.
        timeout: seconds each has.
        is_draining: whether this worker, and with it the server, is on its way out.
        is_stuck: whether the event loop has hung for too long.
        board: what workers know of each other's pings: the newest answer stands for all, so that they say the same.
    """

    def __init__(
        self,
        pings: Iterable[Ping] = (),
        timeout: float = 2.0,
        *,
        is_draining: Callable[[], bool] = lambda: False,
        is_stuck: Callable[[], bool] = lambda: False,
        board: Board = ALONE,
    ) -> None:
        self.pings = tuple(pings)
        self.timeout = timeout
        self.is_draining = is_draining
        self.is_stuck = is_stuck
        self.board = board
        self.has_started = False

    def livez(self) -> Answer:
        """200 while the process turns."""
        return _answer(503, "stuck") if self.is_stuck() else _answer(200, "ok")

    def startupz(self) -> Answer:
        """200 once the application has started."""
        return _answer(200, "ok") if self.has_started else _answer(503, "starting")

    def readyz(self) -> Answer:
        """200 if requests are welcome; blocks for as long as the slowest ping, and never longer than the time-out."""
        if not self.has_started:
            return _answer(503, "starting")
        if self.is_draining():
            return _answer(503, "draining")
        now = time.monotonic()
        until = now + self.timeout
        told = {ping.name: known for ping in self.pings if (known := self.board.newest(ping.name)) is not None and now - known.at < FRESH}
        # All are asked before any is waited for.
        for ping in self.pings:
            if ping.name not in told:
                ping.outcome(0)
        checks = {ping.name: told.get(ping.name) or self._asked(ping, until) for ping in self.pings}
        shown = {
            name: {"ok": each.is_well, "ms": round(each.milliseconds, 1), **({"why": each.why} if each.why else {})}
            for name, each in checks.items()
        }
        if all(each.is_well for each in checks.values()):
            return _answer(200, "ok", shown)
        return _answer(503, "failing", shown)

    def _asked(self, ping: Ping, until: float) -> Outcome:
        outcome = ping.outcome(max(0.001, until - time.monotonic()))
        self.board.post(ping.name, outcome)
        return outcome


def _answer(status: int, word: str, checks: dict[str, Any] | None = None) -> Answer:
    body: dict[str, Any] = {"status": word}
    if checks is not None:
        body["checks"] = checks
    return status, msgspec.json.encode(body) + b"\n"


def pings_of(app: Any, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> list[Ping]:
    """The pings of an application's services; a service without one is not asked.

    Args:
        app: a Carboy application.
        loop: where its async code runs; None where the portal's loop does.
    """
    recipes = [each for each in app.services if each.ping is not None]
    names = [each.name for each in recipes]
    return [
        # Two services of one extension are told apart by their type.
        Ping(each.name if names.count(each.name) == 1 else f"{each.name}:{each.kind.__name__}", _asking(app, each, loop))
        for each in recipes
    ]


def _asking(app: Any, recipe: Recipe, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> Callable[[], None]:
    def ask() -> None:
        ping = recipe.ping
        if ping is None:
            return
        with app.app_context() as ctx:
            result = ping(app.services.get(ctx, recipe.kind))
            if inspect.isawaitable(result):
                result = _awaited(result, loop())
            if result is False:
                raise RuntimeError("the ping answered False")

    return ask


def _awaited(awaitable: Any, loop: asyncio.AbstractEventLoop | None) -> Any:
    async def settle() -> Any:
        return await awaitable

    if loop is None or not loop.is_running():
        return portal.call(settle)
    journey: Coroutine[Any, Any, Any] = settle()
    return asyncio.run_coroutine_threadsafe(journey, loop).result()


