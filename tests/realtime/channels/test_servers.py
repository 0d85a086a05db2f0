"""Channels of whole servers, whose parts are killed: what was acknowledged reaches everybody once, in one order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
try:
    from servers import Client, Publisher, Redis, Server, SocketClient, until
finally:
    sys.path.pop(0)

FULL = os.environ.get("CARBOY_RESILIENCE") == "full"


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], None]:
    """Print figures, with `-v` and in the long form (CARBOY_RESILIENCE=full)."""

    def show(figures: dict[str, Any]) -> None:
        if FULL or request.config.get_verbosity() > 0:
            with capsys.disabled():
                print("  " + ", ".join(f"{name} {value}" for name, value in figures.items()), end=" ")

    return show


async def spread(servers: list[Server], topic: str, kind: type[Client] = Client) -> list[Client]:
    """Clients on every worker of some servers, at most three on each; connections come to workers as the kernel likes."""
    kept: list[Client] = []
    for server in servers:
        pids = set(await server.ready())
        of_pid: dict[int, list[Client]] = {pid: [] for pid in pids}
        for _ in range(30):
            # Many at a time: one after the other, the same worker might take them all.
            burst = [kind(server, topic) for _ in range(16)]
            await asyncio.gather(*(asyncio.wait_for(client.is_listening.wait(), 20) for client in burst))
            for client in burst:
                if len(own := of_pid.setdefault(client.pid, [])) < 3:
                    own.append(client)
                else:
                    await client.close()
            if all(of_pid.values()):
                break
        assert all(of_pid[pid] for pid in pids)
        kept += [client for own in of_pid.values() for client in own]
    return kept


def check_account(clients: list[Client], publishers: list[Publisher]) -> tuple[int, int]:
    """All that was acknowledged, once, in one order, by everybody; what was not, at most once."""
    acknowledged = [data for publisher in publishers for data in publisher.acknowledged]
    doubtful = {data for publisher in publishers for data in publisher.failed}
    for client in clients:
        assert len(set(client.seen)) == len(client.seen), "something came twice"
        assert set(client.seen) - doubtful == set(acknowledged), sorted(set(acknowledged) ^ set(client.seen))[:10]
        assert client.missed == 0
    orders = [[data for data in client.seen if data not in doubtful] for client in clients]
    assert all(order == orders[0] for order in orders)
    for publisher in publishers:
        assert [data for data in orders[0] if data in set(publisher.acknowledged)] == publisher.acknowledged
    return len(acknowledged), len(doubtful)


async def all_seen(clients: list[Client], publishers: list[Publisher], within: float = 20) -> None:
    wanted = {data for publisher in publishers for data in publisher.acknowledged}
    with contextlib.suppress(AssertionError):  # what is missing is told by check_account
        await until(lambda: all(wanted <= set(client.seen) for client in clients), within, "")


@pytest.mark.slow
def test_hubs_are_killed_one_after_the_other(tmp_path: Path, report: Callable[[dict[str, Any]], None]) -> None:
    """Four workers of one `carboy run`, no configuration: each is killed in turn, so the hub is too, and is succeeded."""
    server = Server(tmp_path / "a")

    async def play() -> tuple[int, int, float, int]:
        clients = await spread([server], "room")
        publishers = [Publisher([server], "room", name) for name in ("p", "q")]
        await asyncio.sleep(1)
        kills = 0
        for _ in range(3 if FULL else 1):
            # The workers there are now; their successors come as these go.
            for pid in await server.ready():
                os.kill(pid, signal.SIGKILL)
                kills += 1
                await asyncio.sleep(1.5)
        await server.ready()
        await asyncio.sleep(1)
        for publisher in publishers:
            await publisher.stop()
        await all_seen(clients, publishers)
        sums = check_account(clients, publishers)
        for client in clients:
            await client.close()
        return *sums, max(publisher.longest for publisher in publishers), kills

    try:
        acknowledged, doubtful, longest, kills = asyncio.run(play())
    finally:
        server.close()
    report({"kills": kills, "acknowledged": acknowledged, "unanswered": doubtful, "longest publication": f"{longest:.2f} s"})
    assert acknowledged > 100
    assert doubtful <= kills * 4
    assert longest < 4


@pytest.mark.slow
def test_people_of_a_killed_worker_are_gone_at_once(tmp_path: Path, report: Callable[[dict[str, Any]], None]) -> None:
    """On the bus of a host the connection tells; the hub is killed among them, and nobody else is said to come or go."""
    server = Server(tmp_path / "a", workers=3)

    async def play() -> list[float]:
        clients = await spread([server], "elsewhere")
        watcher = Client(server, "room", events=True)
        await watcher.is_listening.wait()
        people: dict[int, Client] = {}
        for number in range(200):
            client = Client(server, "room", who=f"guest-{number}")
            await client.is_listening.wait()
            if client.pid != watcher.pid and client.pid not in people:
                people[client.pid] = client
            else:
                await client.close()
            if len(people) == 2:
                break
        names = {pid: client.query.partition("=")[2] for pid, client in people.items()}
        assert len(names) == 2

        async def here() -> set[str]:
            return set((await server.request("GET", "/presence/room"))["people"])

        end = time.monotonic() + 10
        while await here() != set(names.values()):
            assert time.monotonic() < end, await here()
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        watcher.events.clear()
        took = []
        for pid, client in people.items():
            client.task.cancel()
            os.kill(pid, signal.SIGKILL)
            took.append(await until(lambda pid=pid: ("left", names[pid]) in watcher.events, 5, f"{names[pid]} is still there"))
            await server.ready()
        assert watcher.events == [("left", name) for name in names.values()]
        for client in (*clients, watcher):
            await client.close()
        return took

    try:
        took = asyncio.run(play())
    finally:
        server.close()
    report({"gone after": ", ".join(f"{each:.2f} s" for each in took)})


@pytest.mark.slow
def test_reload_hands_the_hub_over(tmp_path: Path) -> None:
    """One worker and a reload: the old and the new one overlap, and nothing is lost between them."""
    server = Server(tmp_path / "a", workers=1)

    async def play() -> None:
        (before,) = await server.ready()
        clients = [Client(server, "room") for _ in range(3)]
        for client in clients:
            await client.is_listening.wait()
        publisher = Publisher([server], "room", "p")
        await asyncio.sleep(0.5)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: server.pids() not in ([], [before]) and before not in server.pids(), 40, "no reload")
        await asyncio.sleep(1)
        await publisher.stop()
        await all_seen(clients, [publisher])
        check_account(clients, [publisher])
        assert publisher.failed == []
        for client in clients:
            await client.close()

    try:
        asyncio.run(play())
    finally:
        server.close()


def test_workers_of_one_server_meet_through_every_door(tmp_path: Path) -> None:
    """Through WSGI too, where nothing runs on an event loop: `app.channels.sync` and async views."""
    server = Server(tmp_path / "a", "--interface", "wsgi", workers=2)

    async def play() -> None:
        pids = set(await server.ready())
        published: dict[str, int] = {}
        while set(published.values()) < pids:
            answer = await server.request("POST", f"/publish{'-sync' if len(published) % 2 else ''}/room", str(len(published)).encode())
            published[str(len(published))] = answer["pid"]
            assert len(published) < 100
        for _ in range(10):
            assert (await server.request("GET", "/history/room"))["data"] == list(published)

    try:
        asyncio.run(play())
    finally:
        server.close()


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
@pytest.mark.parametrize("kind", [Client, SocketClient], ids=["streams", "sockets"])
def test_two_nodes_on_one_redis(tmp_path: Path, report: Callable[[dict[str, Any]], None], kind: type[Client]) -> None:
    """Two servers of four workers; a worker is killed, then Redis, then a node: the rest misses nothing, and sees who is gone."""
    pytest.importorskip("redis", reason="the library redis is not installed")
    redis = Redis(tmp_path / "redis", keeps=True)
    redis.start()
    nodes = [Server(tmp_path / name, CARBOY_CHANNELS_URL=redis.url) for name in ("a", "b")]
    figures: dict[str, Any] = {}

    async def play() -> None:
        clients = await spread(nodes, "room", kind)
        cal = kind(nodes[0], "room", who="cal")
        await cal.is_listening.wait()
        while True:
            watcher = Client(nodes[0], "room", events=True)
            await watcher.is_listening.wait()
            if watcher.pid != cal.pid:
                break
            await watcher.close()
        bea = kind(nodes[1], "room", who="bea")
        await until(lambda: ("joined", "bea") in watcher.events, 5, "bea was not seen")
        publishers = [Publisher(nodes, "room", name) for name in ("p", "q")]
        await asyncio.sleep(2)

        # A worker. Who listened there comes back, on another one; cal does not.
        cal.task.cancel()
        os.kill(cal.pid, signal.SIGKILL)
        took = await until(lambda: ("left", "cal") in watcher.events, 10, f"cal is still there: {watcher.events}")
        figures["gone with a worker after"] = f"{took:.1f} s"
        await nodes[0].ready()

        # Redis, which keeps its log on disk.
        redis.kill()
        await asyncio.sleep(1)
        redis.start()
        await asyncio.sleep(2)
        for publisher in publishers:
            await publisher.stop()
        await all_seen([*clients, bea], publishers)
        figures["acknowledged"], figures["unanswered"] = check_account([*clients, bea], publishers)
        figures["longest publication"] = f"{max(publisher.longest for publisher in publishers):.2f} s"
        figures["clients"] = len(clients)
        assert (await nodes[0].request("GET", "/presence/room"))["people"] == ["bea"]
        assert watcher.events == [("joined", "bea"), ("left", "cal")]

        # A whole node.
        await asyncio.gather(*(client.close() for client in clients if client.server is nodes[1]))
        begun = time.monotonic()
        bea.task.cancel()
        nodes[1].kill()
        await until(lambda: watcher.events[-1] == ("left", "bea"), 10, f"bea is still there: {watcher.events}")
        figures["gone after"] = f"{time.monotonic() - begun:.1f} s"
        assert (await nodes[0].request("GET", "/presence/room"))["people"] == []
        await nodes[0].request("POST", "/publish/room", b"the rest goes on")
        left = [client for client in clients if client.server is nodes[0]]
        await until(lambda: all(client.seen[-1] == "the rest goes on" for client in left), 5, "not heard")
        for client in (*left, watcher):
            await client.close()

    try:
        asyncio.run(play())
    finally:
        for node in nodes:
            node.close()
        redis.kill()
    report(figures)
