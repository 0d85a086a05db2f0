"""Connections that stay open are shared out, whoever accepted them."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def all_at_one(served, under_load, wait_until, field: str, least: int, **load) -> Iterator[tuple[Callable[[], dict[int, int]], int, object]]:
    """Clients whose connections were all accepted by one of two workers; the other, which stood still, has just woken up.

    Args:
        field: what the status says of each worker, and the first one must have reached `least` of.

    Yields:
        A function that asks for it, by process; the process that has woken up; and what the load has lost.
    """
    first, second = served.ready()

    def each() -> dict[int, int]:
        return {worker["pid"]: worker[field] for worker in served.status()["workers"]}

    os.kill(second, signal.SIGSTOP)
    try:
        with under_load(served.port, kept=True, **load) as losses:
            wait_until(lambda: each()[first] >= least, 5)
            os.kill(second, signal.SIGCONT)
            yield each, second, losses
    finally:
        os.kill(second, signal.SIGCONT)
    assert losses.lost == losses.repeated == losses.refused == 0
    assert losses.pids == {str(first), str(second)}


@pytest.mark.parametrize("door", ["asgi", "rsgi", "wsgi"])
def test_worker_that_accepted_all_connections_gives_half_of_them_away(run, under_load, figure, wait_until, door):
    """As behind a load balancer that opens its connections at once: one worker had them all, then both have some.

    Nothing is lost, and no client sends anything twice: a connection closes after its answer, which says so.
    """
    served = run("--interface", door, ready=2, target="app:app" if door == "asgi" else "shares:app")
    with all_at_one(served, under_load, wait_until, "in_flight", 12, clients=40, path="/sleep/0.2") as (in_flight, _, losses):
        took = wait_until(lambda: min(in_flight().values()) >= 5, 15)

    figure(f"40 kept connections of one worker are shared out, {door}", f"after {took:.1f} s, {losses}")


def test_worker_that_computes_for_all_connections_gives_half_of_them_away(run, under_load, figure, wait_until):
    """Requests to an `async def` view that computes are not under way before their turn: only the processor's use tells."""
    served = run(ready=2)
    with all_at_one(served, under_load, wait_until, "requests", 32, clients=16, path="/compute/0.01") as (answered, second, losses):
        before = answered()[second]
        took = wait_until(lambda: answered()[second] >= before + 20, 10)

    figure("16 kept connections of one worker that computes are shared out", f"after {took:.1f} s, {losses}")
