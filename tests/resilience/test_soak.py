"""The long form only: growth over many requests, and ten minutes of mixed traffic with kills and reloads."""

import contextlib
import faulthandler
import os
import re
import signal
import statistics
import time

import pytest

pytestmark = pytest.mark.skipif(os.environ.get("CARBOY_RESILIENCE") != "full", reason="the long form: CARBOY_RESILIENCE=full")

#: Seconds of mixed traffic.
SOAK = float(os.environ.get("CARBOY_SOAK", "600"))


def test_fifty_thousand_requests_grow_a_worker_by_a_megabyte_at_most(run, under_load, figure):
    """Memory after 50,000 requests against memory after the first 5,000, which fill caches and arenas."""
    served = run(ready=1, target="both:app")

    def after(count):
        with under_load(served.port, 16, pause=0) as losses:
            while losses.answered < count:
                time.sleep(0.2)
        time.sleep(1)
        return served.status()["workers"][0]["memory"]

    begun = after(5_000)
    ended = after(50_000)

    figure("growth, KiB", f"{(ended - begun) / 1024:.0f}")
    assert ended - begun <= 1 << 20


def test_soak_loses_only_what_was_in_flight_in_killed_workers(run, under_load, folder, figure, wait_until):
    """Mixed traffic, a kill and a reload every 30 s: nothing else is lost.

    Four kinds of clients: `def` views on kept connections, `async def` views on fresh ones, uploads, answers in pieces.
    What a kill and a reload cost is counted apart, by looking at the losses when each is over.
    """
    # The suite's watchdog for hanging tests is not meant for one that takes minutes.
    faulthandler.cancel_dump_traceback_later()
    served = run(ready=2, target="both:app")
    until = time.monotonic() + SOAK
    kinds = {
        "def, kept": {"path": "/"},
        "async def, fresh": {"path": "/async", "kept": False},
        "uploads of 100 KB": {"path": "/take", "body": b"x" * 100_000},
        "in pieces": {"path": "/pieces"},
    }
    clients = 3
    costs = {"kill": [], "reload": [], "quiet": []}
    settled = []

    with contextlib.ExitStack() as stack:
        loads = {name: stack.enter_context(under_load(served.port, clients, **how)) for name, how in kinds.items()}

        def lost():
            return sum(each.lost + each.repeated for each in loads.values())

        def cost(what):
            costs[what].append(lost() - sum(map(sum, costs.values())))

        while time.monotonic() < until:
            time.sleep(min(10, SOAK / 6))
            cost("quiet")
            victim = served.ready()[0]
            os.kill(victim, signal.SIGKILL)
            settled.append(wait_until(lambda victim=victim: len(served.ready()) == 2 and victim not in served.ready(), 20))
            time.sleep(min(2, SOAK / 30))
            cost("kill")
            time.sleep(min(8, SOAK / 8))
            cost("quiet")
            before = set(served.ready())
            path = folder / "both.py"
            path.write_text(re.sub(r'RELEASE = "\w+"', f'RELEASE = "r{len(costs["reload"])}"', path.read_text()))
            served.signal(signal.SIGHUP)
            wait_until(lambda before=before: not before & set(served.pids()) and served.status()["state"] == "serving", 30)
            time.sleep(min(2, SOAK / 30))
            cost("reload")
        restarts = served.status()["restarts"]

    for name, losses in loads.items():
        figure(name, losses)
    figure("requests", sum(each.answered for each in loads.values()))
    figure("kills", f"{len(costs['kill'])}; back at strength after {statistics.median(settled):.2f} s, worst {max(settled):.2f}")
    figure("lost or repeated by kills", f"{sum(costs['kill'])}, at most {max(costs['kill'])} by one of {clients * len(kinds)} clients")
    figure("reloads; lost or repeated by them", f"{len(costs['reload'])}; {sum(costs['reload'])}")
    figure("lost or repeated otherwise", sum(costs["quiet"]))
    figure("restarts", restarts)
    # Each client has at most one request in flight in the worker that is killed.
    assert max(costs["kill"]) <= clients * len(kinds)
    assert sum(costs["reload"]) == sum(costs["quiet"]) == 0
    assert [each.refused for each in loads.values()] == [0] * len(kinds)
    assert restarts["died"] == len(costs["kill"])
