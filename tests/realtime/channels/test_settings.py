"""What may be configured, which broker it means, and what is said where it cannot be."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import carboy
from carboy.realtime.channels import Channels, ChannelsTimeout
from carboy.realtime.channels.host.place import find_place
from carboy.realtime.channels.settings import read_settings


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's decides."""
    for name in ("CARBOY_CHANNELS_URL", "CARBOY_INSTANCE"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_alone_is_the_default() -> None:
    """Tests and scripts open no sockets."""
    assert read_settings({}).kind == "memory"


def test_workers_of_carboy_run_share_the_bus_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """They know by a variable that their main process has set."""
    monkeypatch.setenv("CARBOY_INSTANCE", "7-x")

    assert read_settings({}).kind == "host"
    assert read_settings({"CHANNELS_URL": "memory://"}).kind == "memory"


def test_the_config_outranks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`CHANNELS_URL`, then `CARBOY_CHANNELS_URL`."""
    monkeypatch.setenv("CARBOY_CHANNELS_URL", "redis://x")

    assert read_settings({}).kind == read_settings({"CHANNELS_URL": None}).kind == "redis"
    assert read_settings({"CHANNELS_URL": "host://"}).kind == "host"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"CHANNELS_URL": "kafka://x"}, "memory:// .*host:// .*redis://.*postgresql://"),
        ({"CHANNELS_URL": "redis"}, "names no broker"),
        ({"CHANNELS_HISTORY": 0}, "CHANNELS_HISTORY"),
        ({"CHANNELS_TIMEOUT": "soon"}, "timeout"),
        ({"CHANNELS_HISTROY": 7}, "histroy"),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_can(config: dict[str, Any], says: str) -> None:
    """A setup error, before anything is connected."""
    with pytest.raises(carboy.SetupError, match=says):
        read_settings(config)


def test_a_wrong_variable_is_named_and_passwords_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says where the URL came from."""
    monkeypatch.setenv("CARBOY_CHANNELS_URL", "amqp://me:secret@there")

    with pytest.raises(carboy.SetupError, match="CARBOY_CHANNELS_URL") as caught:
        read_settings({})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("url", "extra"), [("redis://x", "redis"), ("postgresql://x", "postgres")])
def test_a_missing_library_is_told_with_its_extra(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the channels are set up, not at the first message."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    app = carboy.Carboy("x")
    app.config["CHANNELS_URL"] = url

    with pytest.raises(carboy.SetupError, match=rf"pip install 'carboy\[{extra}\]'"):
        app.channels  # noqa: B018 - the property is what is tested


def test_a_wrong_url_stops_the_start() -> None:
    """The lifespan says it before the first request."""
    app = carboy.Carboy("x")
    app.config["CHANNELS_URL"] = "nonsense://"

    with pytest.raises(carboy.SetupError, match="names no broker"):
        asyncio.run(app.startup())


def test_an_app_has_one_set_of_channels_and_starting_makes_none() -> None:
    """They are made when somebody asks for them."""
    app = carboy.Carboy("x")

    async def live() -> None:
        await app.startup()
        await app.shutdown()

    asyncio.run(live())

    assert "carboy.channels" not in app.extensions
    assert app.channels is app.channels


def test_the_lifespan_ends_what_is_open() -> None:
    """A subscription's iteration ends; what is used afterwards opens anew."""
    app = carboy.Carboy("x")

    async def live() -> list[Any]:
        await app.startup()
        async with app.channels.subscribe("t") as messages:
            await app.channels.publish("t", 1)
            await asyncio.sleep(0.01)
            await app.shutdown()
            found = [message.data async for message in messages]
        await app.channels.publish("t", 2)
        return [*found, *[message.data for message in await app.channels.history("t")]]

    assert asyncio.run(live()) == [1, 1, 2]


def test_loops_of_one_process_hear_each_other() -> None:
    """`def` code has another loop, and each `asyncio.run` too; the messages are the process's."""
    app = carboy.Carboy("x")

    async def live(number: int) -> list[Any]:
        async with app.channels.subscribe("t", history=10) as messages:
            await asyncio.to_thread(app.channels.sync.publish, "t", number)
            found = [(await anext(messages)).data for _ in range(number)]
        return found

    assert asyncio.run(live(1)) == [1]
    assert asyncio.run(live(2)) == [1, 2]
    with app.channels.sync.present("t", who="ana", age=7), app.channels.sync.subscribe("t", history=10) as messages:
        assert [person.info for person in app.channels.sync.presence("t")] == [{"age": 7}]
        assert [next(messages).data for _ in range(2)] == [1, 2]
        app.channels.sync.publish("t", 3)
        assert next(messages).data == 3
    assert [message.data for message in app.channels.sync.history("t", 2)] == [2, 3]


@pytest.mark.parametrize("door", ["wsgi", "asgi", "rsgi", "cgi", "fastcgi"])
def test_views_of_both_kinds_publish_through_every_door(door: str) -> None:
    """A `def` view by `sync`, an `async def` view by awaiting."""
    app = carboy.Carboy("x")

    @app.get("/sync")
    def sync() -> str:
        return app.channels.sync.publish("t", "sync")

    @app.get("/inline", blocking=False)
    def inline() -> str:
        return app.channels.sync.publish("t", "inline")

    @app.get("/async")
    async def awaits() -> str:
        return await app.channels.publish("t", "async")

    client = app.test_client(door=door)
    ids = [client.get(path).text for path in ("/sync", "/inline", "/async")]

    found = app.channels.sync.history("t")
    assert [message.id for message in found] == ids
    assert [message.data for message in found] == ["sync", "inline", "async"]


def test_a_forked_process_has_channels_of_its_own() -> None:
    """It hears nothing of its parent's loop, and disturbs nothing there."""
    code = (
        "import os, carboy\n"
        "app = carboy.Carboy('x')\n"
        "app.channels.sync.publish('t', 1)\n"
        "if os.fork() == 0:\n"
        "    app.channels.sync.publish('t', 2)\n"
        "    os._exit(0 if [m.data for m in app.channels.sync.history('t')] == [2] else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )

    done = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], timeout=30, check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("url", ["redis://127.0.0.1:9/0", "postgresql://127.0.0.1:9/none"])
def test_a_broker_that_is_away_is_told_in_time(url: str) -> None:
    """Publishing, subscribing and asking end with a text that says what was tried; leaving presence does not hang."""
    pytest.importorskip("redis" if url.startswith("redis") else "psycopg")
    app = carboy.Carboy("x")
    app.config.update(CHANNELS_URL=url, CHANNELS_TIMEOUT=0.5)

    async def play() -> None:
        channels = Channels(app)
        for work in (
            channels.publish("t", 1),
            channels.history("t"),
            channels.presence("t"),
            channels.subscribe("t").__aenter__(),
            channels.present("t", who="ana").__aenter__(),
        ):
            begun = time.monotonic()
            with pytest.raises(ChannelsTimeout, match=r"was not possible within 0.5 s .*127.0.0.1.*CHANNELS_URL"):
                await work
            assert time.monotonic() - begun < 2
        assert channels.counts.subscribers == 0
        await channels.close()

    asyncio.run(play())


# -- where the processes of a host meet -----------------------------------------------------------


def test_the_meeting_place_is_of_an_app_and_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another app, another server, another name: another socket. The same ones: the same."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    ours = find_place("app", "host://")
    monkeypatch.setenv("CARBOY_INSTANCE", "1-a")
    of_server = find_place("app", None)

    assert of_server == find_place("app", "host://")
    places = [ours, of_server, find_place("other", None), find_place("app", "host://shop"), find_place("app", f"host://{tmp_path / 'own'}")]
    assert len({place.socket for place in places}) == len(places)
    assert find_place("app", "host://shop") == places[3]
    assert all(len(place.socket) < 108 for place in places)
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_can_look_into_is_refused(tmp_path: Path) -> None:
    """Whoever can connect can read everything."""
    tmp_path.chmod(0o755)

    with pytest.raises(carboy.SetupError, match="of this user alone"):
        find_place("app", f"host://{tmp_path}")


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_text("")

    with pytest.raises(carboy.SetupError, match="host:///PATH"):
        find_place("app", f"host://{tmp_path / 'file' / 'bus'}")


def test_importing_an_app_loads_no_channels() -> None:
    """Neither the room nor a broker's library."""
    code = "import sys, carboy; app = carboy.Carboy('x'); print([n for n in sys.modules if 'channels' in n or n in ('redis', 'psycopg')])"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)

    assert done.stdout.strip() == "[]"
