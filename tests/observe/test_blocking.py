"""What blocks the event loop is found, named by its line and counted; what does not is left in peace."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from carboy import Carboy
from carboy.observe import Observe
from carboy.observe.blocking import AGAIN, LONG, MOST, Account, BlockingWatch, Reports
from carboy.observe.culprit import Culprit, Place, Territory
from carboy.observe.memory import BLOCKED, make_memory
from carboy.observe.observer import Alone
from carboy.observe.serving import MEMORY, dress

HERE = Path(__file__)
THRESHOLD = 0.1

Found = list[tuple[Culprit, float, bool]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def watched(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], Found]:
    """Runs a coroutine function on a watched loop; gives what was seen."""

    def run(main: Callable[[], Awaitable[Any]]) -> Found:
        found: Found = []
        loop = request.param()
        watch = BlockingWatch(loop, THRESHOLD, THRESHOLD / 4, Territory(), lambda *seen: found.append(seen))

        async def around() -> None:
            watch.start()
            await asyncio.sleep(0.1)  # it asks, and knows the loop's thread
            await main()
            await asyncio.sleep(0.1)  # it hears that it is over

        try:
            loop.run_until_complete(around())
        finally:
            watch.stop()
            loop.close()
        return found

    return run


def line_of(function: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(index for index, line in enumerate(lines) if text in line)


# -- what is found ----------------------------------------------------------------------------------


def asleep() -> None:
    time.sleep(0.3)


async def calls_what_sleeps() -> None:
    asleep()


def test_a_sleeping_call_is_found(watched: Any) -> None:
    """By its line, with the way to it and its time."""
    ((culprit, seconds, is_over),) = watched(calls_what_sleeps)

    assert culprit.place == Place(str(HERE), line_of(asleep, "time.sleep"), "asleep")
    assert culprit.is_own and is_over
    assert [each.function for each in culprit.stack][-2:] == ["calls_what_sleeps", "asleep"]
    assert seconds > THRESHOLD


async def computes() -> None:
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        sum(range(1000))


def test_a_long_computation_is_found(watched: Any) -> None:
    """Python at work is blocking too."""
    ((culprit, seconds, _),) = watched(computes)

    assert culprit.place.function == "computes"
    assert seconds > THRESHOLD


#: Backtracks for some tenths of a second without giving the interpreter away.
EVIL = re.compile(r"(a+)+$")


async def matches() -> None:
    size = 18
    while True:
        began = time.thread_time()
        EVIL.match("a" * size + "b")
        if time.thread_time() - began > 0.4:
            return
        await asyncio.sleep(0.05)
        size += 1


def test_c_code_that_keeps_the_interpreter_is_found(watched: Any) -> None:
    """No thread can look meanwhile; the CPU time tells afterwards."""
    found = watched(matches)

    assert found
    assert {each.place.function for each, _, _ in found} == {"matches"}
    assert max(seconds for _, seconds, _ in found) > THRESHOLD


def test_a_library_call_is_its_callers_doing(watched: Any) -> None:
    """The innermost line of the application, not the library's below it; the stack has both."""

    async def main() -> None:
        one, two = socket.socketpair()
        two.settimeout(0.3)
        with one, two, pytest.raises(TimeoutError):
            two.makefile("rb").readline()  # `socket.py` below

    ((culprit, _, _),) = watched(main)

    assert culprit.place == Place(str(HERE), line_of(main, "readline()"), "main")
    assert culprit.stack[-1].file.endswith("socket.py")


def test_a_blocking_callback_is_found(watched: Any) -> None:
    """A plain callback of the loop is a step as well."""

    async def main() -> None:
        asyncio.get_running_loop().call_soon(asleep)
        await asyncio.sleep(0.01)

    ((culprit, _, _),) = watched(main)

    assert culprit.place.function == "asleep"


def test_a_blocking_that_goes_on_is_told_before_its_end(watched: Any) -> None:
    """Once while it lasts, once after."""

    async def main() -> None:
        time.sleep(LONG + 0.5)

    first, last = watched(main)

    assert (first[2], last[2]) == (False, True)
    assert LONG <= first[1] < last[1]


# -- what is left in peace --------------------------------------------------------------------------


def test_awaiting_is_not_blocking(watched: Any) -> None:
    """However long."""

    async def main() -> None:
        await asyncio.sleep(0.5)
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.3)

    assert watched(main) == []


def test_many_short_steps_are_not_one_long(watched: Any) -> None:
    """A busy loop is late too; no step of it takes long."""

    async def short() -> None:
        for _ in range(3):
            time.sleep(0.02)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(short() for _ in range(20)))

    assert watched(main) == []


def test_a_short_call_is_not_reported(watched: Any) -> None:
    """Below the threshold is nobody's business."""

    async def main() -> None:
        for _ in range(10):
            time.sleep(THRESHOLD / 4)
            await asyncio.sleep(0.01)

    assert watched(main) == []


def test_a_thread_that_the_machine_does_not_run_is_not_blamed(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says how long it was ready and did not run."""
    monkeypatch.setattr(Account, "read", lambda self: (0.0, time.perf_counter() * 0.9))

    assert watched(calls_what_sleeps) == []


STOPPED = """
import asyncio, sys, time
from carboy.observe.blocking import BlockingWatch
from carboy.observe.culprit import Territory

async def main():
    watch = BlockingWatch(asyncio.get_running_loop(), 0.1, 0.025, Territory(), lambda *seen: print("seen", seen, flush=True))
    watch.start()
    print("ready", flush=True)
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        await asyncio.sleep(0.001)
        sum(range(5000))
    watch.stop()
    print("end", flush=True)

asyncio.run(main())
"""


def test_a_stopped_process_is_not_blocking() -> None:
    """SIGSTOP in the middle of work, and on again: nobody has blocked."""
    process = subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.5)
            os.kill(process.pid, signal.SIGCONT)
        said = process.communicate(timeout=20)[0]
    finally:
        process.kill()
        process.wait()

    assert said == "end\n"


def test_the_loop_has_little_to_do_with_it() -> None:
    """The answers of an idle second: some tens, in debug mode; and the loop's part of them is below a thousandth."""
    loop = asyncio.new_event_loop()
    watch = BlockingWatch(loop, 0.1, 0.025, Territory(), lambda *seen: None)
    turned: list[float] = []
    real = watch._turned

    def timed() -> None:
        began = time.thread_time()
        real()
        turned.append(time.thread_time() - began)

    watch._turned = timed  # type: ignore[method-assign]
    watch.start()
    loop.run_until_complete(asyncio.sleep(1))
    watch.stop()
    loop.close()

    assert 5 <= len(turned) <= 25
    assert sum(turned) < 0.001


# -- whose file it is -------------------------------------------------------------------------------


def test_the_nearest_border_says_whose_a_file_is(tmp_path: Path) -> None:
    """The application's folder, a virtual environment inside it, and an application that is installed."""
    installed = tmp_path / "venv" / "lib" / "site-packages" / "shop"
    territory = Territory([str(installed)])

    assert territory.is_own(str(tmp_path / "views.py"))
    assert territory.is_own(str(installed / "views.py"))
    assert not territory.is_own(str(installed.parent / "requests" / "api.py"))
    assert not territory.is_own(asyncio.__file__)
    assert not territory.is_own(sys.modules["carboy.core.base"].__file__ or "")
    assert not territory.is_own("<string>")


# -- what is said -----------------------------------------------------------------------------------


def culprit_at(line: int) -> Culprit:
    place = Place("/srv/shop/views.py", line, "view")
    return Culprit(place, True, (place,), "GET /slow, request r-1")


def test_the_same_line_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """All are counted; the next report tells how many there were."""
    counted: list[float] = []
    now = [0.0]
    reports = Reports(counted.append, now=lambda: now[0])

    for _ in range(5):
        reports(culprit_at(7), 0.5, True)
    reports(culprit_at(8), 0.25, True)
    now[0] = AGAIN
    reports(culprit_at(7), 0.5, True)

    first, other, again = (each.getMessage() for each in caplog.records)
    assert first.startswith("the event loop was blocked for 0.50 s by /srv/shop/views.py:7 in view (GET /slow, request r-1)\n")
    assert ":8 in view" in other
    assert "(and 4 times since it was last said, for 2.00 s in all)" in again
    assert counted == [0.5] * 5 + [0.25, 0.5]


def test_reports_remember_a_bounded_number_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A program that makes lines cannot fill the memory."""
    reports = Reports(lambda seconds: None)

    for line in range(MOST + 50):
        reports(culprit_at(line), 0.1, True)

    assert len(reports.told) == MOST


# -- in a server ------------------------------------------------------------------------------------

OPTIONS = {
    "access_log": "off", "access_log_file": None, "access_log_sample": 1.0, "management": None,
    "metrics_path": None, "health_prefix": None, "ping_timeout": 2.0, "report_blocking": None,
}  # fmt: skip


def test_it_is_on_in_debug_mode_and_by_option() -> None:
    """Otherwise there is no thread, and nothing is put around the application."""

    def threshold(debug: bool, **options: Any) -> float | None:
        app = Carboy("watched")
        app.debug = debug
        dressed = dress(app, {**OPTIONS, **options}, Alone(), {MEMORY: make_memory()})
        return dressed.observer.blocking if dressed is not None else None

    assert threshold(False) is None
    assert threshold(True) == 0.1
    assert threshold(True, report_blocking=0.0) is None
    assert threshold(False, report_blocking=0.25) == 0.25


def test_a_fitted_observer_watches_under_any_server(caplog: pytest.LogCaptureFixture) -> None:
    """The request is named with its route and id, and the counters count."""
    app = Carboy("watched")
    observe = app.fit(Observe(blocking=THRESHOLD, metrics_path="/metrics"))

    @app.get("/slow/<int:number>")
    async def slow(number: int) -> str:
        time.sleep(0.4)
        return "done"

    async def main() -> None:
        events: list[Any] = []
        door = observe.asgi(app)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event: Any) -> None:
            events.append(event)

        for path in ("/slow/404x", "/slow/7"):
            scope = {
                "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"x-request-id", b"r-1")],
                "scheme": "http", "client": ("10.0.0.7", 1), "server": ("h", 80), "root_path": "", "http_version": "1.1",
            }  # fmt: skip
            await door(scope, receive, send)
            await asyncio.sleep(0.2)

    asyncio.run(main())
    observer = observe.observer
    assert observer.slot is not None
    blocked = observer.slot.words[observer.slot.start + BLOCKED]
    page = observer.metrics_page()[2].decode()
    observer.stop()

    (said,) = (each.getMessage() for each in caplog.records if each.name == "carboy.observe")
    assert f"by {HERE}:{line_of(slow, 'time.sleep')} in slow (GET /slow/<int:number>, request r-1): time.sleep(0.4)\n" in said
    assert blocked == 1
    assert re.search(r"^carboy_loop_blocked_total 1$", page, re.MULTILINE)
    assert 0.2 < float(re.search(r"^carboy_loop_blocked_seconds_total (\S+)$", page, re.MULTILINE)[1]) < 1.0  # type: ignore[index]
    assert not any(thread.name == "carboy-blocking" for thread in threading.enumerate())


APP = """
import time
from carboy import Carboy, Response
from carboy.observe import Observe

app = Carboy(__name__)
{fit}

@app.get("/slow")
async def slow():
    time.sleep(0.5)
    return "slow"

@app.get("/thread")
def thread():
    time.sleep(0.5)
    return "thread"

@app.get("/inline", blocking=False)
def inline():
    time.sleep(0.5)
    return "inline"
"""


@contextmanager
def served(folder: Path, command: list[str], port: int, **environ: str) -> Iterator[Path]:
    log = folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environ})
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        time.sleep(0.5)
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fetch(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


CARBOY = [sys.executable, "-m", "carboy", "run", "shop:app", "-w", "1", "--control", "off", "--port"]


def wait_for(log: Path, text: str) -> str:
    end = time.monotonic() + 5
    while text not in log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    return log.read_text()


@pytest.mark.parametrize("interface", ["asgi", "rsgi"])
def test_carboy_run_reports_and_counts(tmp_path: Path, interface: str) -> None:
    """By `--report-blocking`: an async view and an inline one are named, a view in a thread is none of it."""
    (tmp_path / "shop.py").write_text(APP.format(fit=""))
    port = free_port()

    with served(tmp_path, [*CARBOY, str(port), "-i", interface, "--report-blocking", "100ms", "--metrics-path", "/metrics"], port) as log:
        for path in ("/slow", "/thread", "/inline"):
            assert fetch(port, path) == path[1:]
        said = wait_for(log, "in inline")
        page = fetch(port, "/metrics")

    number = r", request \S+" if interface == "asgi" else ""  # that door gives requests no ids
    assert re.search(rf"the event loop was blocked for 0\.\d\d s by \S*/shop\.py:11 in slow \(GET /slow{number}\): time\.sleep\(0\.5\)", said)
    assert re.search(rf"by \S*/shop\.py:21 in inline \(GET /inline{number}\)", said)
    assert "/thread" not in said
    assert "carboy_loop_blocked_total 2\n" in page


def test_behind_a_sync_door_the_loop_of_the_async_views_is_watched(tmp_path: Path) -> None:
    """From a moment after the first of them on; the line is told, and the threads are none of it."""
    (tmp_path / "shop.py").write_text(APP.format(fit=""))
    port = free_port()

    with served(tmp_path, [*CARBOY, str(port), "-i", "wsgi", "--report-blocking", "100ms"], port) as log:
        assert fetch(port, "/slow") == "slow"  # makes the loop
        time.sleep(2.0)
        for path in ("/slow", "/thread"):
            fetch(port, path)
        said = wait_for(log, "in slow")

    assert re.search(r"blocked for 0\.\d\d s by \S*/shop\.py:11 in slow \(GET /slow", said)
    assert "/thread" not in said


def test_debug_mode_reports_unasked(tmp_path: Path) -> None:
    """`carboy run --debug`, with nothing else said."""
    (tmp_path / "shop.py").write_text(APP.format(fit=""))
    port = free_port()

    with served(tmp_path, [*CARBOY, str(port), "--debug"], port) as log:
        assert fetch(port, "/slow") == "slow"
        said = wait_for(log, "in slow")

    assert re.search(r"blocked for 0\.\d\d s by \S*/shop\.py:11 in slow \(GET /slow", said)


def test_uvicorn_with_a_fitted_observer_reports(tmp_path: Path) -> None:
    """The same under another server."""
    (tmp_path / "shop.py").write_text(APP.format(fit="served = app.fit(Observe(blocking=0.1)).asgi(app)"))
    port = free_port()

    with served(tmp_path, [sys.executable, "-m", "uvicorn", "shop:served", "--port", str(port)], port) as log:
        assert fetch(port, "/slow") == "slow"
        said = wait_for(log, "in slow")

    assert re.search(r"blocked for 0\.\d\d s by \S*/shop\.py:11 in slow \(GET /slow", said)
