"""The governor: threads that compute do not take the interpreter from each other, threads that wait may be many."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from carboy.pipeline import governor
from carboy.pipeline.governor import FREE, STUCK, TAKEN, Governor, Look, time_of
from carboy.pipeline.threads import FEW, ThreadPool

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a thread waited for")
SIZE = 16


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool(SIZE, "governed")
    pool.watch = Governor(pool).watch
    yield pool
    for hand in pool.threads:
        hand.box.put(None)


def compute(seconds: float) -> None:
    """Use so much time of a processor, with the interpreter."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(500))


async def keep_busy(pool: ThreadPool, clients: int, seconds: float, job: Callable[..., Any], *args: Any) -> int:
    """Clients that each send a job and wait for it, again and again; returns how many were done."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    done = 0

    async def client() -> None:
        nonlocal done
        while loop.time() < end:
            await pool.submit(loop, job, args)
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return done


async def until(question: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


@linux
def test_a_thread_knows_what_it_has_computed():
    before = time_of(threading.get_native_id())
    began = time.thread_time()
    compute(0.05)
    after = time_of(threading.get_native_id())
    assert before is not None
    assert after is not None
    assert after[0] - before[0] == pytest.approx(time.thread_time() - began, abs=0.02)
    assert after[1] - before[1] >= after[0] - before[0]
    assert time_of(2**30) is None


@linux
def test_threads_that_compute_become_few_and_are_many_again_afterwards(pool):
    async def main() -> None:
        work = asyncio.create_task(keep_busy(pool, SIZE, 2.5, compute, 0.003))
        await until(lambda: pool.limit is not None and pool.limit <= FEW)
        await asyncio.sleep(0.3)
        assert pool.busy <= pool.limit + FEW
        assert await work > 100
        await until(lambda: pool.limit == SIZE)
        assert pool.watched_by is None

    asyncio.run(main())


@linux
def test_threads_that_wait_may_all_wait(pool):
    """From the beginning, and soon again after work that computed."""

    async def most_at_once(seconds: float) -> int:
        waiting = most = 0
        lock = threading.Lock()

        def wait() -> None:
            nonlocal waiting, most
            with lock:
                waiting += 1
                most = max(most, waiting)
            time.sleep(0.03)
            with lock:
                waiting -= 1

        await keep_busy(pool, SIZE * 2, seconds, wait)
        return most

    async def main() -> None:
        assert await most_at_once(0.1) == SIZE
        await keep_busy(pool, SIZE, 1.5, compute, 0.003)
        assert pool.limit is not None
        assert pool.limit < SIZE
        assert await most_at_once(0.5) == SIZE

    asyncio.run(main())


@linux
def test_threads_that_do_both_use_all_of_the_interpreter(pool):
    """A millisecond of computing for five of waiting: with two threads the interpreter would stand still most of the time."""

    def both() -> None:
        compute(0.001)
        time.sleep(0.005)

    async def main() -> tuple[float, float]:
        await keep_busy(pool, SIZE * 2, 1.0, both)
        before, began = time.process_time(), time.monotonic()
        await keep_busy(pool, SIZE * 2, 2.0, both)
        used = (time.process_time() - before) / (time.monotonic() - began)
        return used, pool.busy

    used, _ = asyncio.run(main())
    assert used > 0.6


@linux
@pytest.mark.parametrize("hogs", [1, 4])
def test_work_that_takes_long_does_not_keep_others_from_beginning(pool, hogs):
    async def main() -> float:
        loop = asyncio.get_running_loop()
        await keep_busy(pool, SIZE, 1.0, compute, 0.003)
        long = [pool.submit(loop, compute, (0.6,)) for _ in range(hogs)]
        began = loop.time()
        await asyncio.sleep(0.02)
        await pool.submit(loop, time.sleep, (0.001,))
        waited = loop.time() - began
        assert not any(each.done() for each in long)
        await asyncio.gather(*long)
        return waited

    assert asyncio.run(main()) < 0.5 * hogs


@linux
def test_another_loop_takes_over_from_one_that_has_ended(pool):
    """Else what it had set would hold for ever."""

    async def leave() -> None:
        work = asyncio.create_task(keep_busy(pool, SIZE, 20, compute, 0.003))
        await until(lambda: pool.limit is not None and pool.limit <= FEW)
        work.cancel()

    asyncio.run(leave())
    assert pool.watched_by is not None

    async def later() -> None:
        await keep_busy(pool, SIZE, 0.2, time.sleep, 0.01)
        assert pool.watched_by is asyncio.get_running_loop()
        await until(lambda: pool.limit == SIZE)

    asyncio.run(later())


def test_where_the_system_does_not_tell_all_threads_may_work(pool, monkeypatch):
    monkeypatch.setattr(governor, "time_of", lambda thread: None)
    asyncio.run(keep_busy(pool, SIZE, 0.5, compute, 0.002))
    assert (pool.limit, pool.watch) == (None, None)


# -- the decision ----------------------------------------------------------------------------------------

NOW = 1000.0


class Standing:
    """A pool as far as a decision looks at it."""

    def __init__(self, waiting: int) -> None:
        self.size = 32
        self.waiting = waiting


def decided(most: int, look: Look, waiting: int = 5, **state: Any) -> int:
    judge = Governor(Standing(waiting))  # type: ignore[arg-type]
    judge.moved_at = NOW
    for name, value in state.items():
        setattr(judge, name, value)
    return judge.decide(look, NOW, most)


@pytest.mark.parametrize(
    ("most", "look", "waiting", "state", "wanted"),
    [
        pytest.param(2, Look(0.02, 0.02, 0.1, active=2), 5, {}, 4, id="they wait: twice as many"),
        pytest.param(2, Look(0.02, 0.02, 0.1, active=2), 0, {}, 2, id="nothing waits for a thread"),
        pytest.param(4, Look(0.6, 0.65, FREE - 0.1, active=4), 5, {}, 8, id="as many as would use all of it"),
        pytest.param(32, Look(0.02, 0.02, 0.1, active=2), 5, {}, 32, id="never more than there may be"),
        pytest.param(32, Look(0.95, 1.5, 1.6, active=16), 0, {}, 12, id="they compute: a quarter less than were at work"),
        pytest.param(3, Look(0.95, 1.5, 1.6, active=3), 9, {}, FEW, id="down to a few"),
        pytest.param(2, Look(0.95, 1.0, 1.1, active=2), 9, {}, 2, id="no less where the loop has its turn"),
        pytest.param(2, Look(0.95, 1.0, 1.1, active=2), 9, {"late": 0.02}, 1, id="to one where it has not"),
        pytest.param(1, Look(0.95, 1.0, 1.1, active=1), 9, {"late": 0.0}, 2, id="to two where it has its turn again"),
        pytest.param(16, Look(0.95, 1.5, 1.6, active=16), 9, {"need": 14, "need_until": NOW + 1}, 14, id="as many as were needed stay"),
        pytest.param(4, Look(0.6, 0.9, 1.1, active=4), 9, {"need": 14, "need_until": NOW + 1}, 8, id="and come back"),
        pytest.param(16, Look(0.95, 1.5, 1.6, active=16), 9, {"need": 14, "need_until": NOW - 1}, 12, id="for some seconds"),
        pytest.param(16, Look(0.95, 1.5, 1.6, active=16), 9, {"need": 900, "need_until": NOW + 1}, 12, id="unless the work is other work"),
        pytest.param(2, Look(0.95, 1.0, 1.1, active=2), 9, {"moved_at": NOW - 2 * STUCK}, 3, id="one more where nothing ends"),
        pytest.param(3, Look(0.95, 1.0, 1.1, active=3), 9, {"cautious_until": NOW + 1}, 3, id="which stays for a while"),
        pytest.param(8, Look(1.9, 1.9, 2.0, active=2), 9, {}, 16, id="they compute without the lock"),
        pytest.param(8, Look(1.9, 6.0, 6.0, active=8), 9, {}, 8, id="and have every processor"),
        pytest.param(8, Look(0.1, 0.2, TAKEN + 0.1, active=8), 9, {}, 16, id="it is the loop that computes"),
    ],
)  # fmt: skip
def test_how_many_threads_are_to_work(most, look, waiting, state, wanted):
    assert decided(most, look, waiting, **state) == wanted
