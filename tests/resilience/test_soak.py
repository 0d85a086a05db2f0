"""The long form only: growth over many requests, and ten minutes of mixed traffic with kills and reloads."""

import faulthandler
import os
import re
import signal
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


def test_soak_loses_only_what_was_in_flight_in_killed_workers(run, under_load, folder, figure):
    """Mixed traffic, a kill and a reload every 30 s: nothing else is lost."""
    # The suite's watchdog for hanging tests is not meant for one that takes minutes.
    faulthandler.cancel_dump_traceback_later()
    served = run(ready=2, target="both:app")
    until = time.monotonic() + SOAK
    kills = reloads = 0
    clients = {"/": 4, "/async": 4}

    with under_load(served.port, clients["/"], path="/") as kept, under_load(served.port, clients["/async"], kept=False, path="/async") as fresh:
        while time.monotonic() < until:
            time.sleep(min(15, SOAK / 4))
            os.kill(served.ready()[0], signal.SIGKILL)
            kills += 1
            time.sleep(min(15, SOAK / 4))
            path = folder / "both.py"
            path.write_text(re.sub(r'RELEASE = "\w+"', f'RELEASE = "r{reloads}"', path.read_text()))
            served.signal(signal.SIGHUP)
            reloads += 1

    figure("kept connections", kept)
    figure("fresh connections", fresh)
    figure("kills and reloads", f"{kills} and {reloads}")
    figure("restarts", served.status()["restarts"])
    # At most one request of each client is in flight in the worker that is killed.
    assert kept.lost + kept.repeated <= kills * clients["/"]
    assert fresh.lost <= kills * clients["/async"]
    assert kept.refused == fresh.refused == 0
