"""Background work: `app.spawn`, task groups, and loops that run as long as the app does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from carboy import Carboy, current_app, g, request
from carboy.core.errors import SetupError

from .lifetime import live, until


@pytest.fixture
def both(app: Carboy, coloured: Callable[[Any], Any]) -> Carboy:
    """An app with a view, of the run's colour, that leaves work of either colour behind."""
    async def on_loop(word: str) -> tuple[str, str, str, str]:
        await asyncio.sleep(0.05)
        return word, request.path, current_app.name, threading.current_thread().name

    def in_thread(word: str) -> tuple[str, str, str, str]:
        time.sleep(0.05)
        return word, request.path, current_app.name, threading.current_thread().name

    def start(kind: str) -> str:
        app.extensions["task"] = app.spawn(on_loop if kind == "async" else in_thread, "hello")
        return "started" if not app.extensions["task"].done() else "over already"

    app.get("/start/<kind>")(coloured(start))
    return app


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_task_outlives_its_request_and_sees_it(both: Carboy, kind: str) -> None:
    """The response does not wait for it; `request` and `current_app` are those of the view."""

    async def use(client: Any) -> tuple[str, Any]:
        answer = await client.get(f"/start/{kind}")
        return answer.text, await both.extensions["task"]

    text, (word, path, name, thread) = live(both, use)

    assert (text, word, path, name) == ("started", "hello", f"/start/{kind}", "board")
    assert thread.startswith("carboy-task" if kind == "sync" else "MainThread")


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("door", ["wsgi", "asgi"])
def test_a_task_of_a_server_without_a_lifespan(both: Carboy, kind: str, door: str) -> None:
    """Behind such a door the request itself shows that the app runs; a thread may wait for the result."""
    with_lifespan = both.test_client(door=door)

    assert with_lifespan.get(f"/start/{kind}").text == "started"

    if door == "wsgi":
        assert both.extensions["task"].result(5)[:2] == ("hello", f"/start/{kind}")


def test_each_task_has_an_app_context_with_a_teardown(app: Carboy) -> None:
    """`g` is its own, teardown functions of either colour run at its end, with its error."""
    torn: list[tuple[str, str | None]] = []

    @app.teardown_appcontext
    def down(error: BaseException | None) -> None:
        torn.append((g.get("mine", "-"), type(error).__name__ if error else None))

    @app.teardown_appcontext
    async def down_async(error: BaseException | None) -> None:
        await asyncio.sleep(0)
        torn.append((g.get("mine", "-"), "async"))

    async def work(value: str) -> None:
        assert "mine" not in g
        g.mine = value
        await asyncio.sleep(0.01)
        if value == "b":
            raise KeyError(value)

    async def use(client: Any) -> None:
        await app.spawn(work, "a")
        with pytest.raises(KeyError):
            await app.spawn(work, "b")

    live(app, use)

    assert torn == [("a", "async"), ("a", None), ("b", "async"), ("b", "KeyError")]


def test_an_error_is_logged_once_with_name_and_place(app: Carboy, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever awaits the task gets the error besides."""

    def explode() -> None:
        raise ValueError("no powder")

    async def use(client: Any) -> None:
        task = app.spawn(explode, name="bang")
        with pytest.raises(ValueError, match="no powder"):
            await task
        assert task.done() and not task.cancelled()

    live(app, use)

    (record,) = caplog.records
    assert "'bang'" in record.getMessage() and "test_tasks.py:" in record.getMessage()
    assert record.exc_info is not None and isinstance(record.exc_info[1], ValueError)


def test_the_body_read_before_is_there_and_one_not_read_is_gone(app: Carboy) -> None:
    """What the view has read can be read again; what it has not read cannot, and the error says what to do."""

    async def late() -> tuple[Any, str]:
        await asyncio.sleep(0.05)
        return request.get_json(), request.headers["X-Word"]

    @app.post("/<int:reads>")
    def view(reads: int) -> str:
        if reads:
            request.get_json()
        app.extensions["task"] = app.spawn(late)
        return ""

    async def use(client: Any) -> Any:
        await client.post("/1", json={"a": 1}, headers={"X-Word": "w"})
        assert await app.extensions["task"] == ({"a": 1}, "w")
        await client.post("/0", json={"a": 1}, headers={"X-Word": "w"})
        with pytest.raises(RuntimeError, match="before app.spawn"):
            await app.extensions["task"]

    live(app, use)


def test_services_of_a_task_end_with_it(app: Carboy) -> None:
    """A generator factory is resumed when the task is over, not when the request is."""
    steps: list[str] = []

    class Connection: ...

    def connect() -> Any:
        steps.append("open")
        yield Connection()
        steps.append("close")

    class Equipment:
        name = "connections"
        requires = ()

        def setup(self, fit: Any) -> None:
            fit.provide(Connection, connect)

    app.fit(Equipment())

    answered = asyncio.Event()

    async def work() -> None:
        app.service(Connection)
        await answered.wait()
        steps.append("worked")

    @app.get("/")
    async def view() -> str:
        app.extensions["task"] = app.spawn(work)
        return ""

    async def use(client: Any) -> None:
        await client.get("/")
        steps.append("answered")
        answered.set()
        await app.extensions["task"]

    live(app, use)

    assert steps == ["open", "answered", "worked", "close"]


def test_cancel_and_timeout(app: Carboy, caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled task is no error; one that takes too long is, and is cancelled."""
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("ended")

    async def use(client: Any) -> None:
        task = app.spawn(forever)
        await asyncio.sleep(0.01)
        assert task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled() and not task.cancel()
        assert not caplog.records
        with pytest.raises(TimeoutError):
            await app.spawn(forever, timeout=0.05)

    live(app, use)

    assert ended == ["ended", "ended"]
    assert "took longer than 0.05 s" in caplog.text


def test_a_task_may_be_cancelled_from_a_thread_at_once(app: Carboy) -> None:
    """Before it has got onto the loop, too."""
    begun: list[bool] = []

    async def work() -> None:
        begun.append(True)
        await asyncio.sleep(60)

    @app.get("/")
    def view() -> str:
        task = app.spawn(work)
        task.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            task.result(5)
        return "cancelled"

    async def use(client: Any) -> str:
        return (await client.get("/")).text

    assert live(app, use) == "cancelled"


def test_the_stop_cancels_or_waits_as_was_asked(app: Carboy) -> None:
    """What may be cancelled is, what is to be waited for ends first; then the lifespan functions go on."""
    ended: list[str] = []

    @app.lifespan
    async def pool(app: Carboy) -> Any:
        yield
        ended.append("pool")

    async def work(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            ended.append(name)
        except asyncio.CancelledError:
            ended.append(f"{name} cancelled")
            raise

    def blocking() -> None:
        time.sleep(0.3)
        ended.append("blocking")

    async def use(client: Any) -> None:
        app.spawn(work, "short", 0.1, at_shutdown="wait")
        app.spawn(work, "long", 60.0)
        app.spawn(blocking, at_shutdown="wait")
        await asyncio.sleep(0.02)

    live(app, use)

    assert ended == ["long cancelled", "short", "blocking", "pool"]


def test_the_stop_waits_no_longer_than_the_stop_time_out(app: Carboy, caplog: pytest.LogCaptureFixture) -> None:
    """A task that will not end is cancelled in the end, and the log names it."""
    app.config["SERVER_STOP_TIMEOUT"] = 0.4

    async def forever() -> None:
        await asyncio.sleep(60)

    async def use(client: Any) -> None:
        app.spawn(forever, at_shutdown="wait", name="endless")
        await asyncio.sleep(0.01)

    begun = time.monotonic()
    live(app, use)

    assert time.monotonic() - begun < 5
    assert "'endless'" in caplog.text and "not over when the application must stop" in caplog.text


def test_outside_its_life_an_app_takes_no_tasks(app: Carboy) -> None:
    """Before the start and after the stop the error says where spawn belongs."""

    async def work() -> None: ...

    with pytest.raises(RuntimeError, match="not running.*@app.background"):
        app.spawn(work)

    async def use(client: Any) -> None:
        await app.spawn(work)

    live(app, use)

    with pytest.raises(RuntimeError, match="stopped"):
        app.spawn(work)


def test_a_lifespan_function_may_leave_tasks(app: Carboy) -> None:
    """And a second start of the same app begins anew."""
    seen: list[str] = []

    async def work() -> None:
        seen.append(current_app.name)

    @app.lifespan
    async def begin(app: Any) -> Any:
        await app.spawn(work)
        yield

    async def nothing(client: Any) -> None: ...

    live(app, nothing)
    live(app, nothing)

    assert seen == ["board", "board"]


def test_a_coroutine_is_no_function(app: Carboy) -> None:
    """The common slip has its own answer, and leaves no coroutine that was never awaited."""

    async def work(n: int) -> None: ...

    with pytest.raises(TypeError, match=r"app\.spawn\(f, 1, 2\)"):
        app.spawn(work(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'cancel' or 'wait'"):
        app.spawn(work, 1, at_shutdown="never")  # type: ignore[arg-type]


def test_waiting_on_the_loop_is_refused(app: Carboy) -> None:
    """`task.result()` there would wait for itself."""

    async def work() -> None:
        await asyncio.sleep(0.01)

    async def use(client: Any) -> None:
        task = app.spawn(work)
        with pytest.raises(RuntimeError, match="await task"):
            task.result()
        await task
        assert task.result() is None

    live(app, use)


def test_a_group_belongs_to_its_request(app: Carboy) -> None:
    """Its tasks share `g` and `request`, and the view goes on when all are done; a failure cancels the others."""
    ended: list[str] = []

    async def add(n: int) -> int:
        await asyncio.sleep(0.01)
        g.total += n
        return n

    def add_blocking(n: int) -> int:
        g.total += n
        return n

    async def fail() -> None:
        raise LookupError

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @app.get("/sum")
    async def total() -> dict[str, int]:
        g.total = 0
        async with app.task_group() as group:
            first = group.spawn(add, 1)
            second = group.spawn(add_blocking, 2)
        return {"total": g.total, "results": first.result() + second.result()}

    @app.get("/fails")
    async def fails() -> str:
        try:
            async with app.task_group() as group:
                group.spawn(wait)
                group.spawn(fail)
        except* LookupError:
            ended.append("failed")
        return "answered"

    async def use(client: Any) -> tuple[Any, str]:
        return (await client.get("/sum")).json, (await client.get("/fails")).text

    assert live(app, use) == ({"total": 3, "results": 3}, "answered")
    assert ended == ["cancelled", "failed"]


def test_a_background_loop_runs_from_start_to_stop(app: Carboy) -> None:
    """With an app context; it is cancelled when the app stops."""
    seen: list[str] = []

    @app.background
    async def beat(app: Any) -> None:
        seen.append(current_app.name)
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("stopped")

    async def use(client: Any) -> None:
        await until(lambda: seen)
        assert seen == ["board"]

    live(app, use)

    assert seen == ["board", "stopped"]


def test_a_background_loop_that_fails_is_started_again(
    app: Carboy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time a little later; one that returns is over."""
    monkeypatch.setattr("carboy.realtime.tasks.FIRST_PAUSE", 0.02)
    begun: list[float] = []

    @app.background(name="flaky")
    async def loop() -> None:
        begun.append(time.monotonic())
        if len(begun) < 4:
            raise OSError("no network")

    async def use(client: Any) -> None:
        (background,) = app.tasks.backgrounds
        await until(lambda: background.is_over)
        assert background.failures == 3

    live(app, use)

    first, second, third = (b - a for a, b in itertools.pairwise(begun))
    assert first >= 0.02 and second >= 0.04 and third >= 0.08
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert "'flaky'" in caplog.text


def test_background_loops_are_declared_before_the_start(app: Carboy) -> None:
    """A `def`, a second one of the same name, and one that comes too late are mistakes of setup."""

    async def loop() -> None: ...

    with pytest.raises(SetupError, match="async def"):
        app.background(lambda: None)
    app.background(loop)
    with pytest.raises(SetupError, match="two background loops"):
        app.background(loop)

    async def use(client: Any) -> None:
        with pytest.raises(SetupError, match="while the application runs"):
            app.background(loop, name="late")

    live(app, use)


def test_the_threads_of_tasks_are_not_those_of_views(app: Carboy) -> None:
    """All of them busy, a `def` view is answered at once."""
    app.config["TASK_THREADS"] = 2
    free = threading.Event()

    @app.get("/busy")
    def busy() -> str:
        for _ in range(4):
            app.spawn(free.wait, 10, at_shutdown="wait")
        return ""

    @app.get("/")
    def index() -> str:
        return "here"

    async def use(client: Any) -> str:
        await client.get("/busy")
        await until(lambda: len(app.tasks.pool.threads) == 2)
        text: str = (await client.get("/")).text
        assert len(app.tasks.pool.threads) == 2 and app.tasks.pool.waiting == 2
        free.set()
        return text

    assert live(app, use) == "here"
