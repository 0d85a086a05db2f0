"""The ways a server ends: in order, in time, with nothing lost and nothing left."""

import os
import pty
import signal
import sys
import threading
import time
from pathlib import Path

import pytest


def test_sigterm_loses_no_accepted_request(run, under_load, figure, alive, full):
    """SIGTERM under fresh connections: what was accepted is answered; the rest is refused."""
    for _ in range(5 if full else 1):
        served = run(ready=2)
        workers = served.pids()

        with under_load(served.port, 16, kept=False, pause=0) as losses:
            time.sleep(0.7)
            served.signal(signal.SIGTERM)
            seconds = served.wait(30)

        figure("gone after, seconds", f"{seconds:.2f}")
        figure("losses", losses)
        assert losses.lost == 0
        assert losses.answered > 100
        assert served.process.returncode == 0
        assert not any(alive(pid) for pid in workers)


def test_sigterm_loses_nothing_on_kept_connections(run, under_load, figure):
    """On kept connections the last answer says that it is the last."""
    served = run(ready=2)

    with under_load(served.port, 16) as losses:
        time.sleep(0.7)
        served.signal(signal.SIGTERM)
        served.wait(30)

    figure("losses", losses)
    assert losses.lost == 0
    assert losses.repeated == 0


def test_sigterm_finishes_what_is_in_flight(run, under_load, figure):
    """Requests that take a second are answered."""
    served = run(ready=1)

    with under_load(served.port, 10, kept=False, path="/sleep/1") as losses:
        time.sleep(0.3)
        served.signal(signal.SIGTERM)
        seconds = served.wait(30)

    figure("gone after, seconds", f"{seconds:.2f}")
    assert losses.lost == 0
    assert losses.answered >= 10


def test_sigterm_ends_in_time_whatever_hangs(run, figure, alive):
    """A request that takes for ever is cut off at --stop-timeout."""
    served = run("--stop-timeout", "2", ready=1)
    workers = served.pids()
    hanging = threading.Thread(target=_try, args=(served.get, "/sleep/600"), daemon=True)
    hanging.start()
    time.sleep(0.3)

    served.signal(signal.SIGTERM)
    seconds = served.wait(10)

    figure("gone after, seconds", f"{seconds:.2f} of 2")
    assert seconds <= 2.3
    assert "cut off" in served.text()
    assert not any(alive(pid) for pid in workers)


def test_sigterm_ends_a_blocked_loop_in_time(run, figure, alive):
    """A loop that hangs does not hear; it is ended all the same."""
    served = run("--stop-timeout", "2", ready=1)
    workers = served.pids()
    threading.Thread(target=_try, args=(served.get, "/block/60"), daemon=True).start()
    time.sleep(0.3)

    served.signal(signal.SIGTERM)
    seconds = served.wait(10)

    figure("gone after, seconds", f"{seconds:.2f} of 2")
    assert seconds <= 2.3
    assert not any(alive(pid) for pid in workers)


def test_endless_answer_is_told_to_end(run, figure):
    """What would go on for ever hears that the worker leaves, and ends well."""
    served = run(ready=1)
    got = []
    waiting = threading.Thread(target=lambda: got.append(served.get("/until-leaving")))
    waiting.start()
    time.sleep(0.3)

    served.signal(signal.SIGTERM)
    waiting.join(10)
    seconds = served.wait(10)

    figure("gone after, seconds", f"{seconds:.2f}")
    assert got
    assert got[0].startswith("one")
    assert "cut off" not in served.text()


def test_ctrl_c_is_quick_and_quiet(run, figure):
    """SIGINT: gone within two seconds, exit code 0, no traceback."""
    served = run(ready=2)
    served.get()

    served.signal(signal.SIGINT)
    seconds = served.wait(10)

    figure("gone after, seconds", f"{seconds:.2f}")
    assert seconds <= 2
    assert served.process.returncode == 0
    assert "Traceback" not in served.text()


def test_second_ctrl_c_does_not_wait(run, figure):
    """SIGINT twice: what is in flight is given up."""
    served = run(ready=1)
    threading.Thread(target=_try, args=(served.get, "/sleep/60"), daemon=True).start()
    time.sleep(0.3)

    served.signal(signal.SIGINT)
    time.sleep(0.3)
    served.signal(signal.SIGINT)
    seconds = served.wait(10)

    figure("gone after, seconds", f"{seconds:.2f}")
    assert seconds <= 2
    assert "Traceback" not in served.text()


def _try(call, *args):
    try:
        call(*args)
    except (OSError, AssertionError):
        pass


@pytest.mark.parametrize("way", ["closed", "ctrl-c"])
def test_terminal_ends_the_server(folder, free_port, wait_until, way):
    """In a terminal: Ctrl-C stops it, and so does closing the window (which is a SIGHUP, but no wish for a reload)."""
    port = free_port()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        command = [sys.executable, "-m", "carboy", "run", "app:app", "--port", str(port), "--workers", "1", "--control", "off"]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")})
    shown = b""
    while b"stop  " not in shown:
        shown += os.read(terminal, 4096)

    if way == "closed":
        os.close(terminal)
    else:
        os.write(terminal, b"\x03")
    ended = []
    wait_until(lambda: ended or ended.extend(each for each in [os.waitpid(pid, os.WNOHANG)] if each[0]), 10)

    assert os.waitstatus_to_exitcode(ended[0][1]) == 0
    if way == "ctrl-c":
        os.close(terminal)
