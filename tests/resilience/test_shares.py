"""Connections that stay open are shared out, whoever accepted them."""

import os
import signal

import pytest


@pytest.mark.parametrize("door", ["asgi", "rsgi", "wsgi"])
def test_worker_that_accepted_all_connections_gives_half_of_them_away(run, under_load, figure, wait_until, door):
    """As behind a load balancer that opens its connections at once: one worker had them all, then both have some.

    Nothing is lost, and no client sends anything twice: a connection closes after its answer, which says so.
    """
    served = run("--interface", door, ready=2, target="app:app" if door == "asgi" else "shares:app")
    first, second = served.ready()
    os.kill(second, signal.SIGSTOP)

    def in_flight():
        return {each["pid"]: each["in_flight"] for each in served.status()["workers"]}

    try:
        with under_load(served.port, clients=40, kept=True, path="/sleep/0.2") as losses:
            wait_until(lambda: in_flight()[first] >= 12, 5)
            os.kill(second, signal.SIGCONT)
            took = wait_until(lambda: min(in_flight().values()) >= 5, 15)
    finally:
        os.kill(second, signal.SIGCONT)

    figure(f"40 kept connections of one worker are shared out, {door}", f"after {took:.1f} s, {losses}")
    assert losses.lost == losses.repeated == losses.refused == 0
    assert losses.pids == {str(first), str(second)}


def test_worker_that_computes_for_all_connections_gives_half_of_them_away(run, under_load, figure, wait_until):
    """Requests to an `async def` view that computes are not under way before their turn: only the processor's use tells."""
    served = run(ready=2)
    first, second = served.ready()
    os.kill(second, signal.SIGSTOP)

    def answered():
        return {each["pid"]: each["requests"] for each in served.status()["workers"]}

    try:
        with under_load(served.port, clients=16, kept=True, path="/compute/0.01") as losses:
            wait_until(lambda: answered()[first] >= 32, 10)
            before = answered()[second]
            os.kill(second, signal.SIGCONT)
            took = wait_until(lambda: answered()[second] >= before + 20, 10)
    finally:
        os.kill(second, signal.SIGCONT)

    figure("16 kept connections of one worker that computes are shared out", f"after {took:.1f} s, {losses}")
    assert losses.lost == losses.repeated == losses.refused == 0
    assert losses.pids == {str(first), str(second)}
