"""Overload as the watch and the thread pool see it: a queue that stands is shed, a burst and one blocking view are not."""

import asyncio
import threading
import time

import pytest

from carboy.pipeline import offload
from carboy.pipeline.threads import QueuedTooLong, ThreadPool
from carboy.server.flight import Watch
from carboy.server.options import Options


def test_one_blocking_view_is_no_overload():
    """The longest single pause is not counted; many of them are."""
    watch = Watch(Options(max_lag=1.0))
    watch.is_running = True
    watch.due = 100.0

    watch.widest = 4.0
    assert not watch.is_overloaded(104.5)
    watch.widest = 0.5
    assert watch.is_overloaded(104.5)


def test_lag_of_zero_sheds_nothing():
    """--max-lag 0 switches it off."""
    watch = Watch(Options(max_lag=0.0))
    watch.is_running = True

    assert not watch.is_overloaded(1e9)


def test_ticks_are_short_where_limits_are():
    """A limit is kept to within a quarter of it, and a second at most."""
    assert Watch(Options()).period == 1.0
    assert Watch(Options(body_timeout=0.4)).period == pytest.approx(0.1)
    assert Watch(Options(body_timeout=0.0, write_timeout=0.0, request_timeout=0.0, max_lag=0.0)).period == 1.0


def test_who_is_shed_waits_a_tick():
    """A refused client is answered after a tick at least: it cannot ask a thousand times a second."""

    async def main():
        watch = Watch(Options(request_timeout=0.4))
        watch.is_overloaded(time.monotonic())
        begun = time.monotonic()
        await asyncio.gather(*(watch.after_next_tick() for _ in range(3)))
        return (time.monotonic() - begun) / watch.period

    assert 0.9 <= asyncio.run(main()) < 5


@pytest.fixture
def pool(monkeypatch):
    """A pool of one thread."""
    pool = ThreadPool(1, "tried")
    monkeypatch.setattr(offload, "pool", pool)
    yield pool
    for hand in pool.threads:
        hand.box.put(None)


def test_request_that_waited_too_long_is_not_begun(pool):
    """Its coroutine is closed, who waits is told; what is no request waits however long it takes."""
    pool.patience = 0.1
    free = threading.Event()
    ran = []

    async def journey():
        ran.append("request")

    async def main():
        blocked = asyncio.ensure_future(offload.offload(free.wait, 5))
        await asyncio.sleep(0.02)
        waiting = journey()
        request = asyncio.ensure_future(offload.admit(drive, waiting))
        other = asyncio.ensure_future(offload.offload(ran.append, "other"))
        await asyncio.sleep(0.2)
        free.set()
        await blocked
        with pytest.raises(QueuedTooLong):
            await request
        await other

    def drive(coroutine):
        coroutine.close()
        ran.append("driven")

    asyncio.run(main())

    assert ran == ["other"]


def test_patience_is_shorter_while_the_queue_stands(pool):
    """A queue that has not been empty for as long as a request may wait is kept to a fifth of it."""
    pool.patience = 10.0
    now = time.monotonic()

    pool.emptied = now
    assert not pool.is_too_late(now - 5)
    assert pool.is_too_late(now - 11)
    pool.emptied = now - 20
    assert pool.is_too_late(now - 5)
    assert not pool.is_too_late(now - 1)


def test_abandoned_threads_are_counted_until_they_end(pool):
    """A request given up while its thread works is counted as long as it does."""
    free = threading.Event()

    async def main():
        task = asyncio.ensure_future(offload.admit(free.wait, 5))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0)
        during = [job.task for job in pool.abandoned]
        free.set()
        await asyncio.sleep(0.1)
        return during == [task], pool.abandoned

    assert asyncio.run(main()) == (True, [])
