"""Brokers that go away and come back: who subscribes recovers without the application's help."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import carboy
from carboy.realtime.channels import Channels
from carboy.realtime.channels.host.place import find_place
from carboy.realtime.channels.host.seat import take_seat

sys.path.insert(0, str(Path(__file__).parent))
try:
    from servers import Postgres, Redis, find_free_port, find_postgres
finally:
    sys.path.pop(0)


def channels_at(url: str, name: str = "x", **config: Any) -> Channels:
    app = carboy.Carboy(name)
    app.config.update(CHANNELS_URL=url, **{f"CHANNELS_{key.upper()}": value for key, value in config.items()})
    return Channels(app)


async def next_data(messages: Any, within: float = 15) -> Any:
    async with asyncio.timeout(within):
        return (await anext(messages)).data


@pytest.fixture
def redis_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A Redis of the test's own; its parameter says whether it keeps its content over a restart."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    pytest.importorskip("redis", reason="the library redis is not installed")
    server = Redis(tmp_path, keeps=getattr(request, "param", True))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own. Not below pytest's folder, into which only the user of the tests may look."""
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("the server of PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="the library psycopg is not installed")
    with tempfile.TemporaryDirectory(prefix="carboy-postgres-") as folder:
        server = Postgres(Path(folder), binaries)
        server.start()
        try:
            yield server
        finally:
            server.kill()


async def restart_in_between(url: str, stop: Any, start: Any, *, is_kept: bool) -> None:
    """Messages and people before, while and after a broker is away."""
    one, two = channels_at(url, history=1000, timeout=20), channels_at(url, history=1000, timeout=20)
    async with two.subscribe("t", presence=True, queue=1000) as messages, two.present("t", who="ana"):
        assert await next_data(messages) == {"who": "ana", "info": {}}
        last = [await one.publish("t", number) for number in range(10)][-1]
        assert [await next_data(messages) for _ in range(10)] == list(range(10))

        await asyncio.to_thread(stop)
        # Publishers try again until it is back.
        waiting = [asyncio.create_task(one.publish("t", f"while away {number}")) for number in range(3)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(start)
        await asyncio.gather(*waiting)
        last_of_all = await one.publish("t", "after")

        found = [await next_data(messages) for _ in range(4)]
        assert sorted(found[:3]) == [f"while away {number}" for number in range(3)]
        assert found[3] == "after"
        assert messages.missed == 0
        async with asyncio.timeout(10):
            while [person.who for person in await one.presence("t")] != ["ana"]:
                await asyncio.sleep(0.05)
        kept = [message.data for message in await one.history("t", 100)]
        assert kept == [*(range(10) if is_kept else ()), *found]
        async with one.subscribe("t", after=last) as again:
            assert [await next_data(again) for _ in range(4)] == found
        assert last_of_all
        await asyncio.sleep(0.2)
        assert not messages._queue, "ana was told to come or go, though she has been here all the time"
    await one.close()
    await two.close()


@pytest.mark.service
@pytest.mark.parametrize("redis_server", [True, False], indirect=True, ids=["keeps", "forgets"])
def test_redis_restarts(redis_server: Redis) -> None:
    """Killed and started again, with and without its content."""
    asyncio.run(restart_in_between(redis_server.url, redis_server.kill, redis_server.start, is_kept=redis_server.keeps))


@pytest.mark.service
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_postgres_restarts(postgres_server: Postgres, how: str) -> None:
    """In order, which keeps the tables, and as after a crash, which empties them."""
    asyncio.run(restart_in_between(postgres_server.url, getattr(postgres_server, how), postgres_server.start, is_kept=how == "stop"))


@pytest.mark.service
def test_what_was_published_while_a_connection_was_broken_is_fetched(redis_server: Redis) -> None:
    """All connections of one worker are cut again and again; its subscribers see each message once."""

    async def play() -> None:
        import redis.asyncio

        one, two = channels_at(redis_server.url, history=5000), channels_at(redis_server.url, history=5000)
        admin = redis.asyncio.Redis.from_url(redis_server.url)
        is_over = False

        async def cut() -> None:
            while not is_over:
                await asyncio.sleep(random.uniform(0.05, 0.3))
                await admin.client_kill_filter(_type="pubsub")
                await admin.client_kill_filter(_type="normal", skipme=True)

        cutter = asyncio.create_task(cut())
        async with two.subscribe("t", queue=5000) as messages:
            for number in range(300):
                await one.publish("t", number)
                await asyncio.sleep(0.005)
            is_over = True
            await cutter
            assert [await next_data(messages) for _ in range(300)] == list(range(300))
            assert messages.missed == 0
            assert two.counts.reconnected > 2
        await one.close()
        await two.close()
        await admin.aclose()

    asyncio.run(play())


@pytest.mark.service
def test_a_gap_without_a_broken_connection_is_filled(redis_server: Redis) -> None:
    """The bell did not ring for some: who hears the next reads them first; what nobody keeps is told."""

    async def play() -> None:
        channels = channels_at(redis_server.url, history=3)
        async with channels.subscribe("t") as messages:
            await channels.publish("t", 0)
            assert await next_data(messages) == 0
            node = channels._node()
            broker: Any = node.broker
            receive = node.receive
            node.receive = lambda topic, entry: None  # type: ignore[method-assign]  # deaf
            for number in range(1, 3):
                await channels.publish("t", number)
            await asyncio.sleep(0.1)
            node.receive = receive  # type: ignore[method-assign]
            await channels.publish("t", 3)
            assert [await next_data(messages) for _ in range(3)] == [1, 2, 3]
            assert messages.missed == 0

            node.receive = lambda topic, entry: None  # type: ignore[method-assign]
            for number in range(4, 14):
                await channels.publish("t", number)
            await broker.client.xtrim(broker.stream("t"), maxlen=1, approximate=False)
            await asyncio.sleep(0.1)
            node.receive = receive  # type: ignore[method-assign]
            await channels.publish("t", 14)
            assert [await next_data(messages) for _ in range(2)] == [13, 14]
            assert messages.missed == 1
        await channels.close()

    asyncio.run(play())


@pytest.mark.service
def test_dead_workers_are_cleared_away_by_anybody(redis_server: Redis) -> None:
    """A worker that gives no sign of life is gone after three heartbeats, with all its keys."""

    async def play() -> None:
        import redis.asyncio

        one, two = channels_at(redis_server.url, heartbeat=0.2), channels_at(redis_server.url, heartbeat=0.2)
        admin = redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True)
        async with one.subscribe("t", presence=True) as watching:
            await two._node().ready()
            stay = two.present("t", who="ana")
            await stay.__aenter__()
            assert await next_data(watching) == {"who": "ana", "info": {}}
            begun = time.monotonic()
            broker: Any = two._node().broker
            broker.upkeep.task.cancel()  # no more beats, and no goodbye

            assert await next_data(watching) == {"who": "ana", "info": {}}
            assert 0.2 < time.monotonic() - begun < 3
            assert await one.presence("t") == []
            assert [key async for key in admin.scan_iter(match="*of:*")] == []
            assert [key async for key in admin.scan_iter(match="*here:*")] == []
        await one.close()
        await two.close()
        await broker.client.aclose()  # its goodbye has opened it once more
        await admin.aclose()

    asyncio.run(play())


# -- the bus of a host ----------------------------------------------------------------------------


def test_the_hub_leaves_and_another_takes_over(tmp_path: Path) -> None:
    """History that its members remember, their people and their subscriptions are there again, within a second."""

    async def play() -> None:
        url = f"host://{tmp_path / 'bus'}"
        workers = [channels_at(url, history=1000) for _ in range(4)]
        hub, one, two, three = workers
        await hub.publish("t", "first")
        async with one.subscribe("t", presence=True) as watching, two.present("t", who="ana"), three.subscribe("t") as other:
            assert await next_data(watching) == {"who": "ana", "info": {}}
            ids = [await two.publish("t", number) for number in range(5)]
            assert [await next_data(other) for _ in range(5)] == list(range(5))

            begun = time.monotonic()
            await hub.close()
            await two.publish("t", "on")
            assert time.monotonic() - begun < 3  # 0.35 s on a machine that has nothing else to do

            assert [await next_data(watching) for _ in range(6)] == [0, 1, 2, 3, 4, "on"]
            assert await next_data(other) == "on"
            assert [person.who for person in await three.presence("t")] == ["ana"]
            assert [message.data for message in await two.history("t", 10, after=ids[1])] == [2, 3, 4, "on"]
            await asyncio.sleep(0.3)
            assert not watching._queue
        for worker in workers[1:]:
            await worker.close()
        # A lock may stay behind, which the next hub of anybody clears away; a socket does not.
        assert list((tmp_path / "bus").glob("*.sock")) == []

    asyncio.run(play())


KILLED_HUB = """
import asyncio, os, signal, sys
import carboy
from carboy.realtime.channels import Channels

async def main():
    app = carboy.Carboy("x")
    app.config.update(CHANNELS_URL=sys.argv[1])
    channels = Channels(app)
    async with channels.subscribe("t") as messages:
        print("hub", flush=True)
        async for message in messages:  # a member is there
            break
    await channels.publish("t", "acknowledged")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("round_", range(5))
def test_what_the_hub_itself_has_acknowledged_is_not_lost_with_it(tmp_path: Path, round_: int) -> None:
    """The process of the hub publishes, is told that it is done, and is killed that very moment: the others have it."""
    url = f"host://{tmp_path}"

    async def main() -> Any:
        hub = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED_HUB, url, stdout=subprocess.PIPE)
        assert hub.stdout is not None
        assert await hub.stdout.readline() == b"hub\n"
        member = channels_at(url)
        async with member.subscribe("t") as messages:
            await member.publish("t", "come")
            got = [await next_data(messages, 5), await next_data(messages, 5)]
        await hub.wait()
        return got

    assert asyncio.run(main()) == ["come", "acknowledged"]


def test_one_process_alone_leaves_nothing_behind(tmp_path: Path) -> None:
    """It holds the seat while it lives, speaks to no socket, and removes its files."""

    async def play() -> None:
        channels = channels_at(f"host://{tmp_path / 'bus'}")
        await channels.publish("t", 1)
        broker: Any = channels._node().broker
        assert broker.hub is not None
        assert broker.hub.connections == set()
        assert len(list((tmp_path / "bus").iterdir())) == 2
        await channels.close()
        assert list((tmp_path / "bus").iterdir()) == []

    asyncio.run(play())


def test_nobody_takes_a_seat_that_is_taken(tmp_path: Path) -> None:
    """The lock decides; who gets it after a hub that is gone is a successor, unless that one was the last."""
    place = find_place("x", f"host://{tmp_path / 'bus'}")
    first = take_seat(place)
    assert first is not None and not first.is_successor
    assert take_seat(place) is None

    first.give_up(is_last=False)
    second = take_seat(place)
    assert second is not None and second.is_successor
    second.give_up(is_last=True)
    third = take_seat(place)
    assert third is not None and not third.is_successor
    third.give_up(is_last=True)
    assert list((tmp_path / "bus").iterdir()) == []


def test_litter_of_killed_hubs_is_cleared_away(tmp_path: Path) -> None:
    """Files of hubs that nobody succeeded go when another application's hub comes; those in use stay."""
    folder = f"host://{tmp_path / 'bus'}"
    dead, living = (take_seat(find_place(name, folder)) for name in ("dead", "living"))
    assert dead is not None and living is not None
    os.close(dead.lock)
    dead.listening.close()
    old = time.time() - 3600
    for seat in (dead, living):
        os.utime(seat.place.lock, (old, old))

    own = take_seat(find_place("own", folder))

    assert own is not None
    names = {str(path) for path in (tmp_path / "bus").iterdir()}
    assert names == {each for seat in (living, own) for each in (seat.place.lock, seat.place.socket)}
    living.give_up(is_last=True)
    own.give_up(is_last=True)


def test_a_hub_survives_nonsense(tmp_path: Path) -> None:
    """Somebody speaks another language: that connection is closed, the others go on."""

    async def play() -> None:
        url = f"host://{tmp_path / 'bus'}"
        hub, one = channels_at(url), channels_at(url)
        await hub.publish("t", 1)
        for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x03\x93\x01\xa1x", b"\x00\x00\x00\x01\xc1", b"\xff" * 100):
            reader, writer = await asyncio.open_unix_connection(find_place("x", url).socket)
            writer.write(nonsense)
            writer.write_eof()
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionResetError):
                    await reader.read()
            writer.close()
        assert [message.data for message in await one.history("t")] == [1]
        await one.close()
        await hub.close()

    asyncio.run(play())


def test_a_member_that_does_not_read_is_cut_off_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's memory is bounded; the member fetches from history what it missed."""
    monkeypatch.setattr("carboy.realtime.channels.host.hub.BACKED_UP", 200_000)

    async def play() -> None:
        url = f"host://{tmp_path / 'bus'}"
        hub, one = channels_at(url, history=1000), channels_at(url, history=1000)
        await hub.publish("t", "first")
        async with one.subscribe("t", queue=1000) as messages:
            broker: Any = one._node().broker
            broker.way.link.transport.pause_reading()
            for number in range(200):
                await hub.publish("t", f"{number} " + "x" * 10_000)
            await asyncio.sleep(0.3)
            broker.way.link.transport.resume_reading()
            found = [(await next_data(messages)).partition(" ")[0] for _ in range(200)]
            assert found == [str(number) for number in range(200)]
            assert messages.missed == 0
            assert one.counts.reconnected == 1
        await one.close()
        await hub.close()

    asyncio.run(play())


@pytest.mark.service
@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_workers_of_other_servers_meet_when_the_bus_is_named(server: str, tmp_path: Path) -> None:
    """`host://` behind uvicorn (ASGI) and gunicorn (WSGI), two workers each."""
    pytest.importorskip(server)
    port = find_free_port()
    commands = {
        "uvicorn": ["uvicorn", "talk:app", "--port", str(port), "--workers", "2", "--log-level", "warning"],
        "gunicorn": ["gunicorn", "talk:app", "--bind", f"127.0.0.1:{port}", "--workers", "2", "--preload", "--log-level", "warning"],
    }
    here = Path(__file__).parent
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_"))},
        "PYTHONPATH": f"{here.parents[2] / 'src'}:{here / 'app'}",
        "CARBOY_CHANNELS_URL": "host://",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    process = subprocess.Popen([sys.executable, "-m", *commands[server]], cwd=here / "app", env=environ)
    try:
        asyncio.run(_publish_from_two(port))
    finally:
        process.terminate()
        process.wait(20)


async def _publish_from_two(port: int) -> None:
    from urllib.request import Request, urlopen

    def ask(path: str, data: bytes | None = None) -> Any:
        import json

        with urlopen(Request(f"http://127.0.0.1:{port}{path}", data=data), timeout=10) as answer:
            return json.load(answer)

    end = time.monotonic() + 30
    while True:
        try:
            ask("/pid")
            break
        except OSError:
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
    topic = uuid.uuid4().hex
    pids: set[int] = set()
    published: list[str] = []
    while len(pids) < 2:
        batch = [f"{len(published) + number}" for number in range(8)]
        answers = await asyncio.gather(*(asyncio.to_thread(ask, f"/publish-sync/{topic}", text.encode()) for text in batch))
        published += batch
        pids |= {answer["pid"] for answer in answers}
        assert len(published) < 400
    for _ in range(8):
        found = (await asyncio.to_thread(ask, f"/history/{topic}"))["data"]
        assert sorted(found, key=int) == published
