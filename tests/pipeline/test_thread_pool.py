"""The pool of threads: nobody is forgotten, and who is idle is known."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator

import pytest

from carboy.pipeline.threads import Hand, QueuedTooLong, ThreadPool


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool(4, "tried")
    yield pool
    for hand in pool.threads:
        hand.box.put(None)


def test_more_jobs_than_threads_are_done_and_counted(pool):
    """Those for which no thread is free wait, in order; afterwards every thread is idle again, once."""
    begun = []
    go = threading.Event()

    def job(number: int) -> None:
        begun.append(number)
        go.wait(10)
        time.sleep(0.002)

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        done = [pool.submit(loop, job, (number,)) for number in range(200)]
        during = pool.busy, pool.waiting
        go.set()
        await asyncio.gather(*done)
        return during

    assert asyncio.run(main()) == (4, 196)
    wait_until_idle(pool)
    assert (len(pool.threads), len(pool.idle)) == (4, 4)
    # Four threads may overtake each other by a few.
    assert max(abs(place - number) for place, number in enumerate(begun)) <= 8


def test_no_job_is_left_behind(pool):
    """From two loops at once, with waits and without."""
    seed = random.Random(7)
    pauses = [seed.choice((0, 0, 0, 0.0001, 0.002)) for _ in range(1500)]
    counts = []

    async def client() -> None:
        loop = asyncio.get_running_loop()
        done = []
        for number, pause in enumerate(pauses):
            done.append(pool.submit(loop, time.sleep, (pause,)))
            if number % 7 == 0:
                await done[-1]
        await asyncio.wait_for(asyncio.gather(*done), 60)
        counts.append(len(done))

    clients = [threading.Thread(target=asyncio.run, args=(client(),)) for _ in range(2)]
    for each in clients:
        each.start()
    for each in clients:
        each.join(90)

    assert counts == [1500, 1500]
    wait_until_idle(pool)
    assert len(pool.idle) == len(pool.threads)


def test_backlog_of_a_loop_that_is_closed_is_emptied(pool):
    """The threads do that by themselves, and the next loop finds them free."""
    async def leave() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            pool.submit(loop, time.sleep, (0.01,))

    asyncio.run(leave())
    wait_until_idle(pool)

    async def later() -> int:
        loop = asyncio.get_running_loop()
        return len(await asyncio.gather(*(pool.submit(loop, time.sleep, (0.001,)) for _ in range(40))))

    assert asyncio.run(later()) == 40


def wait_until_idle(pool: ThreadPool) -> None:
    until = time.monotonic() + 10
    while pool.busy > 0 or pool.waiting:
        assert time.monotonic() < until, (pool.busy, pool.waiting)
        time.sleep(0.01)


def test_fewer_threads_may_be_at_work_and_more_again(pool):
    """Those that are too many end what they do; work that waits begins when it may."""
    go = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = [pool.submit(loop, go.wait, (10,)) for _ in range(4)]
        assert (pool.busy, pool.waiting) == (4, 0)
        pool.hold(1)
        more = [pool.submit(loop, time.sleep, (0.05,)) for _ in range(3)]
        assert (pool.busy, pool.waiting) == (4, 3)
        go.set()
        await asyncio.gather(*done, more[0])
        assert (pool.busy, pool.waiting, len(pool.held)) == (1, 1, 3)
        pool.hold(3)
        assert (pool.busy, pool.waiting, len(pool.held)) == (2, 0, 1)
        await asyncio.gather(*more)
        pool.hold(4)

    asyncio.run(main())
    wait_until_idle(pool)
    assert (len(pool.threads), len(pool.idle), len(pool.held), pool.surplus) == (4, 4, 0, 0)


def test_no_job_is_left_behind_while_the_limit_changes(pool):
    seed = random.Random(11)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = []
        for number in range(2000):
            done.append(pool.submit(loop, time.sleep, (seed.choice((0, 0, 0.0002, 0.001)),)))
            if number % 3 == 0:
                pool.hold(seed.randint(1, 4))
            if number % 11 == 0:
                await done[-1]
        await asyncio.wait_for(asyncio.gather(*done), 60)
        pool.hold(4)

    asyncio.run(main())
    wait_until_idle(pool)
    assert (len(pool.threads), len(pool.idle), len(pool.held), pool.surplus) == (4, 4, 0, 0)


def test_wait_for_a_thread_that_is_held_back_does_not_count(pool):
    """A request is refused where all threads are taken for long, not where they work one after the other."""
    pool.patience = 0.25

    async def main() -> tuple[int, list[bool]]:
        loop = asyncio.get_running_loop()
        await pool.submit(loop, time.sleep, (0,))
        pool.hold(1)
        begun = time.monotonic()
        jobs = [pool.enqueue(loop, time.sleep, (0.1,), begun) for _ in range(9)]
        waiting = pool.waiting
        await asyncio.wait([job.done for job in jobs])
        return waiting, [isinstance(job.done.exception(), QueuedTooLong) for job in jobs]

    waiting, refused = asyncio.run(main())
    assert waiting == 8
    # Four have a place at once, which is theirs after 0, 0.1, 0.2 and 0.3 s; two more get one in time, after 0.1 and 0.2 s.
    assert refused == [False] * 6 + [True] * 3


def test_work_goes_on_where_the_system_refuses_another_thread(pool, monkeypatch):
    async def main() -> int:
        loop = asyncio.get_running_loop()
        await pool.submit(loop, time.sleep, (0,))

        def refused(self: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(Hand, "start", refused)
        done = await asyncio.gather(*(pool.submit(loop, time.sleep, (0.001,)) for _ in range(10)))
        return len(done)

    assert asyncio.run(main()) == 10
    assert len(pool.threads) == 1


def test_a_pool_that_gets_no_thread_at_all_says_so(pool, monkeypatch):
    def refused(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Hand, "start", refused)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="new thread"):
            pool.submit(asyncio.get_running_loop(), time.sleep, (0,))

    asyncio.run(main())
    assert (pool.threads, pool.busy) == ([], 0)
