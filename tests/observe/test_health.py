"""Liveness, start-up, readiness: pings are boxed in time, named, and asked once at a time."""

import asyncio
import json
import threading
import time

from carboy import Carboy
from carboy.observe import health as room
from carboy.observe.health import Health, Outcome, Ping, packed, pings_of, unpacked


class Database:
    """A service."""


class Provider:
    """Fits a service with a ping."""

    name = "db"
    requires = ()

    def __init__(self, ping):
        self.ping = ping

    def setup(self, fit):
        fit.provide(Database, Database, ping=self.ping)


def pings(ping):
    app = Carboy("pinged")
    app.fit(Provider(ping))
    return pings_of(app, lambda: None)


def ready(*asked: Ping, timeout: float = 2.0) -> tuple[int, dict]:
    health = Health(asked, timeout)
    health.has_started = True
    status, body = health.readyz()
    return status, json.loads(body)


def test_ready_needs_a_start_and_no_draining() -> None:
    """Before the start and while leaving it is 503, with the word."""
    draining = False
    health = Health(is_draining=lambda: draining)

    before = health.readyz(), health.startupz()
    health.has_started = True
    during = health.readyz(), health.startupz()
    draining = True
    after = health.readyz(), health.livez()

    assert [status for status, _ in before] == [503, 503]
    assert [status for status, _ in during] == [200, 200]
    assert [status for status, _ in after] == [503, 200]
    assert b"draining" in after[0][1]


def test_a_stuck_loop_is_not_alive() -> None:
    """`livez` asks the process alone."""
    assert Health(is_stuck=lambda: True).livez()[0] == 503


def test_ping_gets_the_instance_and_is_named() -> None:
    """Each service is reported by name."""
    seen = []

    status, answer = ready(*pings(seen.append))

    assert status == 200
    assert answer["checks"]["db"]["ok"] is True
    assert isinstance(seen[0], Database)


def test_async_ping_is_awaited() -> None:
    """On the portal's loop where the application has none."""
    loops = []

    async def ping(database):
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    assert ready(*pings(ping))[0] == 200
    assert len(loops) == 1


def test_failing_ping_is_503_and_its_reason_stays_inside(caplog) -> None:
    """The asker learns which service; the error's text, which may hold a password, goes to the log."""

    def ping(database):
        raise OSError("postgres://admin:secret@db refused")

    status, answer = ready(*pings(ping))

    assert status == 503
    assert answer["status"] == "failing"
    assert answer["checks"]["db"] == {"ok": False, "ms": answer["checks"]["db"]["ms"], "why": "failed"}
    assert "secret" in caplog.text


def test_ping_that_answers_false_is_not_well() -> None:
    """Both ways of saying no count."""
    assert ready(*pings(lambda database: False))[0] == 503


def test_hanging_ping_costs_the_time_out_and_one_thread() -> None:
    """However often it is asked, one thread waits."""
    release = threading.Event()
    hanging = Ping("slow", release.wait)
    well = Ping("well", lambda: None)

    began = time.monotonic()
    answers = [ready(hanging, well, timeout=0.2) for _ in range(3)]
    took = time.monotonic() - began
    threads = [each for each in threading.enumerate() if each.name == "carboy-ping-slow"]
    release.set()

    assert [status for status, _ in answers] == [503, 503, 503]
    assert answers[0][1]["checks"]["slow"]["why"] == "timeout"
    assert answers[0][1]["checks"]["well"]["ok"] is True
    assert took < 1.5
    assert len(threads) == 1


def test_pings_run_side_by_side() -> None:
    """Readiness takes as long as the slowest, not as all together."""
    asked = [Ping(str(number), lambda: time.sleep(0.2)) for number in range(5)]

    began = time.monotonic()
    status, _ = ready(*asked)

    assert status == 200
    assert time.monotonic() - began < 0.8


def test_many_probes_are_one_ping(monkeypatch) -> None:
    """A fresh answer is given again; after that the service is asked again, and its recovery is seen."""
    calls = []
    broken = True

    def ask():
        calls.append(1)
        if broken:
            raise OSError("down")

    ping = Ping("db", ask)
    first = [ping.outcome(1).is_well for _ in range(5)]
    broken = False
    monkeypatch.setattr(room, "FRESH", 0)
    second = ping.outcome(1).is_well

    assert first == [False] * 5
    assert second is True
    assert len(calls) == 2


def test_outcome_is_told_in_one_word() -> None:
    """What comes back is what went in, to a tenth of a millisecond; a later one is a greater number."""
    told = [Outcome(True, 1.5, None, 10.0), Outcome(False, 2000.0, "timeout", 10.001), Outcome(False, 10**9, "failed", 9**9)]

    numbers = [packed(each) for each in told]

    assert numbers == sorted(numbers)
    assert max(numbers) < 2**64
    assert [unpacked(each) for each in numbers[:2]] == told[:2]
    assert unpacked(numbers[2]).why == "failed"
    assert unpacked(numbers[2]).milliseconds > 100_000


def test_newest_answer_of_any_worker_stands_for_a_second() -> None:
    """What another has just heard is not asked again; what is old is, and told."""
    asked: list[str] = []

    class Told:
        known: Outcome | None = None

        def newest(self, name: str) -> Outcome | None:
            return self.known

        def post(self, name: str, outcome: Outcome) -> None:
            self.known = outcome

    board = Told()
    health = Health([Ping("db", lambda: asked.append("db"))], board=board)
    health.has_started = True

    board.known = Outcome(False, 3.0, "failed", time.monotonic())
    by_another = health.readyz()
    board.known = Outcome(False, 3.0, "failed", time.monotonic() - 1.5)
    by_itself = health.readyz()

    assert by_another[0] == 503
    assert b'"why":"failed"' in by_another[1]
    assert by_itself[0] == 200
    assert asked == ["db"]
    assert board.known.is_well
