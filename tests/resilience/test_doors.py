"""What the other doors hold: the same Carboy application through ASGI, RSGI and WSGI, in `def` and `async def` views."""

import os
import re
import signal
import threading
import time

import pytest

DOORS = ("asgi", "rsgi", "wsgi")


@pytest.mark.parametrize("door", DOORS)
def test_reload_and_stop_lose_nothing_through_every_door(run, under_load, folder, figure, wait_until, door):
    """SIGHUP and SIGTERM under load: every accepted request is answered, whatever the door and the colour."""
    served = run("--interface", door, ready=1, target="both:app")
    path = folder / "both.py"
    path.write_text(path.read_text().replace('RELEASE = "one"', 'RELEASE = "two"'))

    with under_load(served.port, 4, path="/") as sync, under_load(served.port, 4, path="/async") as aware:
        time.sleep(0.3)
        served.signal(signal.SIGHUP)
        wait_until(lambda: "release 2 serves" in served.text(), 15)
        time.sleep(0.5)
        served.signal(signal.SIGTERM)
        seconds = served.wait(20)

    figure("def", sync)
    figure("async def", aware)
    figure("gone after, seconds", f"{seconds:.2f}")
    assert sync.lost == sync.repeated == aware.lost == aware.repeated == 0
    assert sync.releases == aware.releases == {"one", "two"}


@pytest.mark.parametrize("door", DOORS)
def test_ready_path_is_asked_through_every_door(run, door):
    """--ready-path counts whatever the door; one that is not there keeps the server from starting."""
    good = run("--interface", door, "--ready-path", "/async", ready=1, target="both:app")
    assert good.get().startswith("one")

    bad = run("--interface", door, "--ready-path", "/nowhere", "--control", "off", ready=None, target="both:app")

    assert bad.process.wait(20) == 1
    assert "--ready-path /nowhere answered 404" in bad.text()


@pytest.mark.parametrize("door", DOORS)
def test_stream_is_finished_before_the_end(run, door):
    """SIGTERM in the middle of a streamed answer: the client gets all of it."""
    served = run("--interface", door, ready=1, target="both:app")
    got = []
    reader = threading.Thread(target=lambda: got.append(served.get("/stream")))
    reader.start()
    time.sleep(0.15)

    served.signal(signal.SIGTERM)
    reader.join(10)
    served.wait(10)

    assert len(got) == 1
    assert got[0].count("piece ") == 20


@pytest.mark.parametrize("door", DOORS[1:])  # asgi: test_faults.py
def test_killed_worker_is_replaced_through_the_other_doors(run, wait_until, figure, door):
    """kill -9: another one serves."""
    served = run("--interface", door, ready=1, target="both:app")
    (victim,) = served.ready()

    os.kill(victim, signal.SIGKILL)
    seconds = wait_until(lambda: served.ready() and victim not in served.ready(), 10)

    figure("back, seconds", f"{seconds:.2f}")
    assert served.get().startswith("one")


def test_worker_without_free_threads_is_replaced(run, figure, wait_until):
    """All threads kept for long: the worker is replaced, and the next one answers; what was begun may finish."""
    served = run("--threads", "2", "--thread-timeout", "2s", ready=1, target="both:app")
    (victim,) = served.ready()
    begun = time.monotonic()
    for _ in range(3):
        threading.Thread(target=_try, args=(served.get, "/keep/30.0"), daemon=True).start()

    wait_until(lambda: served.ready() and victim not in served.ready(), 15)
    seconds = time.monotonic() - begun

    figure("replaced after, seconds", f"{seconds:.2f}")
    assert seconds <= 10
    assert served.get().startswith("one")
    assert "no thread has been free" in served.text()


def test_first_lines_say_what_is_served(run):
    """Application, routes, address, door and how to stop are the first thing printed."""
    served = run(ready=1, target="both:app")

    first = served.text().splitlines()[:4]

    assert re.match(r"Carboy serves both \(both:app, 7 routes, 5 def and 2 async def views\)", first[0])
    assert f"http://127.0.0.1:{served.port}" in first[1]
    assert "ASGI" in first[2]
    assert "Ctrl-C" in first[3]


def _try(call, *args):
    try:
        call(*args)
    except (OSError, AssertionError):
        pass
