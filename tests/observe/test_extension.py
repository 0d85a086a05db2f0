"""`app.fit(Observe())`, and what `carboy run` makes of it."""

import asyncio
import os

import pytest

from carboy import Carboy
from carboy.core.errors import SetupError
from carboy.observe import Observe, Settings
from carboy.observe.memory import make_memory
from carboy.observe.observer import Alone, Observer
from carboy.observe.serving import MEMORY, dress

OPTIONS = {
    "access_log": "off", "access_log_file": None, "access_log_sample": 1.0, "management": None,
    "metrics_path": None, "health_prefix": None, "ping_timeout": 2.0, "report_blocking": None,
}  # fmt: skip


def test_configuration_outranks_the_code_and_the_operator_both() -> None:
    """Observe(...), then OBSERVE_* keys, then the server's options."""
    app = Carboy("configured")
    app.config["OBSERVE_LOG_SAMPLE"] = 0.5
    observe = app.fit(Observe(log="line", log_sample=0.1))

    assert observe.observer.settings == Settings(log="line", log_sample=0.5)
    assert observe.overlaid({"log": "json"}).settings == Settings(log="json", log_sample=0.5)


def test_wrong_setting_names_its_key() -> None:
    """A mistake of the configuration is a setup error."""
    app = Carboy("configured")
    app.config["OBSERVE_LOG"] = "xml"

    with pytest.raises(SetupError, match="OBSERVE_"):
        app.fit(Observe())


def test_worker_with_nothing_to_observe_wraps_nothing() -> None:
    """By default a request passes no watcher and no step."""
    app = Carboy("plain")
    memory = make_memory()

    assert dress(app, OPTIONS, Alone(), {MEMORY: memory}) is None
    assert "observe" not in app.fitted
    with pytest.raises(OSError):
        os.fstat(memory)


def test_worker_fits_the_extension_that_the_application_lacks() -> None:
    """An option of the operator needs no change in the application."""
    app = Carboy("plain")

    dressed = dress(app, {**OPTIONS, "metrics_path": "/metrics"}, Alone(), {})

    assert dressed is not None
    assert "observe" in app.fitted
    assert list(dressed.observer.pages) == ["/metrics"]


def test_any_asgi_callable_can_be_observed() -> None:
    """Without rules it has one route."""

    async def plain(scope, receive, send):
        pass

    dressed = dress(plain, {**OPTIONS, "health_prefix": "/"}, Alone(), {})

    assert dressed is not None
    assert sorted(dressed.observer.pages) == ["/livez", "/readyz", "/startupz"]


def test_lifespan_makes_ready_and_says_goodbye() -> None:
    """Under any ASGI server: ready after the start, signed off after the end."""
    app = Carboy("spanned")
    observe = app.fit(Observe(health_prefix="/"))
    entry = observe.asgi(app)
    states: list[bool] = []

    async def main() -> None:
        orders: asyncio.Queue = asyncio.Queue()
        answers: asyncio.Queue = asyncio.Queue()
        task = asyncio.create_task(entry({"type": "lifespan", "asgi": {"version": "3.0"}}, orders.get, answers.put))
        states.append(observe.observer.health.has_started)
        await orders.put({"type": "lifespan.startup"})
        await answers.get()
        states.append(observe.observer.health.has_started)
        await orders.put({"type": "lifespan.shutdown"})
        await answers.get()
        states.append(observe.observer.is_started)
        await task

    asyncio.run(main())

    assert states == [False, True, False]


def test_forked_child_starts_anew() -> None:
    """A server that forks after loading: the child has a slot of its own, not its parent's."""
    observer = Observer(Settings())
    observer.ready(None)
    parents = observer.slot
    reader, writer = os.pipe()

    child = os.fork()
    if child == 0:
        fresh = observer.slot is None and not observer.is_started
        os.write(writer, b"1" if fresh else b"0")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 1) == b"1"
    assert observer.slot is parents
    observer.stop()


def test_lag_of_a_blocked_loop_is_seen_while_it_lasts() -> None:
    """The look-out asks the loop; a loop that owes an answer for long is stuck."""
    observer = Observer(Settings())

    async def main() -> bool:
        observer.ready(asyncio.get_running_loop())
        await asyncio.sleep(0)
        assert observer.slot is not None
        observer._ask_loop(observer.slot)
        assert observer.asked is not None
        observer.asked -= 11_000_000_000
        stuck = observer.is_stuck()
        await asyncio.sleep(0.01)
        return stuck and not observer.is_stuck()

    assert asyncio.run(main())
    observer.stop()
