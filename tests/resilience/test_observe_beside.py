"""What is beside requests, seen from outside: sockets, services, channels, restarts. Summed over workers, kept over deaths."""

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from .frames import CLOSE, TEXT, Client

APP = """
import os
from carboy import Carboy

app = Carboy(__name__)


@app.websocket("/echo/<room>")
async def echo(ws, room):
    await ws.send(str(os.getpid()))
    async for message in ws:
        if message == "end":
            await ws.close(4100, "so long")
        else:
            await ws.send(message)


@app.websocket("/sync")
def sync(ws):
    ws.send(str(os.getpid()))
    for message in ws:
        ws.send(message)


async def shout(reader, writer):
    writer.write(b"%d\\n" % os.getpid())
    while line := await reader.readline():
        writer.write(line.upper())
    writer.close()


app.listen_tcp("127.0.0.1:{port}", shout, name="shout")


@app.get("/publish/<topic>")
async def publish(topic):
    async with app.channels.subscribe(topic) as messages:
        await app.channels.publish(topic, "hello")
        async for message in messages:
            break
    return str(os.getpid())
"""

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
CHAT = 'route="/echo/<room>"'


class Seen:
    """A server with a management port, and a service."""

    def __init__(self, served, management: int, service: int, keep) -> None:
        self.served, self.management, self.service, self.keep = served, management, service, keep

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        found: dict[str, float] = {}
        for line in lines:
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
        return found

    def socket(self, path: str) -> tuple[Client, int]:
        """An open WebSocket, and the pid of its worker."""
        client = self.keep(Client(self.served.port, path))
        assert client.status == 101, client.head
        return client, int(client.read()[1])

    def on_both(self, stack: ExitStack, path: str) -> dict[int, list[Client]]:
        """At least one socket on each of two workers, by pid."""
        found: dict[int, list[Client]] = {}
        for _ in range(200):
            client, pid = self.socket(path)
            stack.callback(client.close)
            found.setdefault(pid, []).append(client)
            if len(found) == 2:
                return found
        raise AssertionError(f"200 sockets, all at {found.keys()}")


@pytest.fixture
def seen(run, keep, folder, free_port):
    """Start two workers."""

    def start(*options: str, ready: int = 2) -> Seen:
        service, management = free_port(), free_port()
        (folder / "beside.py").write_text(APP.replace("{port}", str(service)))
        served = run("--management", f"127.0.0.1:{management}", "--access-log", "json", *options, ready=ready, target="beside:app")
        return Seen(served, management, service, keep)

    return start


def test_sockets_are_counted_over_workers_and_a_killed_one_loses_no_count(seen, wait_until):
    """Open, accepted, messages, bytes and closes, while one of two workers is killed."""
    server = seen()
    with ExitStack() as stack:
        found = server.on_both(stack, "/echo/a")
        clients = [each for group in found.values() for each in group]
        for each in clients:
            each.send(TEXT, "häh".encode())
            assert each.read() == (TEXT, "häh".encode())
        # A message is counted when it has been sent; its reader may be here sooner.
        wait_until(lambda: server.metrics()[f'carboy_websocket_messages_total{{{CHAT},direction="sent"}}'] == 2 * len(clients), 5)
        before = server.metrics()
        victim, survivor = found
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server.metrics()[f"carboy_websocket_connections_open{{{CHAT}}}"] == len(found[survivor]), 10)
        killed = server.metrics()
        found[survivor][0].send(TEXT, b"end")
        assert found[survivor][0].read_close() == (4100, "so long")
        for each in found[survivor][1:]:
            each.send(CLOSE, (1001).to_bytes(2, "big"))
            each.read_close()
        wait_until(lambda: server.metrics()[f"carboy_websocket_connections_open{{{CHAT}}}"] == 0, 10)
        server.served.wait_ready(2)
        after = server.metrics()

    number = len(clients)
    assert before[f"carboy_websocket_connections_open{{{CHAT}}}"] == number
    for each in (before, killed, after):
        assert each[f"carboy_websocket_connections_total{{{CHAT}}}"] == number
    for each in (before, killed):
        assert each[f'carboy_websocket_messages_total{{{CHAT},direction="received"}}'] == number
        assert each[f'carboy_websocket_message_bytes_total{{{CHAT},direction="received"}}'] == 4 * number
        assert each[f'carboy_websocket_messages_total{{{CHAT},direction="sent"}}'] == 2 * number
    assert after[f'carboy_websocket_messages_total{{{CHAT},direction="received"}}'] == number + 1
    assert after[f'carboy_websocket_closes_total{{{CHAT},code="4xxx"}}'] == 1
    assert after.get(f'carboy_websocket_closes_total{{{CHAT},code="1001"}}', 0) == len(found[survivor]) - 1
    assert after[f"carboy_websocket_duration_seconds_total{{{CHAT}}}"] > 0
    # A handshake is a request, and its answer is its end.
    assert after[f'carboy_http_requests_total{{method="GET",{CHAT},status="1xx"}}'] == number
    assert after['carboy_worker_restarts_total{reason="died"}'] == 1


@pytest.mark.parametrize("frames", ["ours", "granian"])
@pytest.mark.parametrize("path", ["/echo/a", "/sync"])
def test_socket_has_a_line_of_the_log_at_its_end(seen, keep, folder, wait_until, path, frames):
    """Two lines: the handshake's, and what became of the socket; whoever speaks the frames."""
    place = str(folder / "beside.sock")
    # A connection that came through a file is not taken over from granian.
    server = seen(*(("--unix", place) if frames == "granian" else ()), ready=1)
    if frames == "ours":
        client, pid = server.socket(path)
    else:
        over = keep(socket.socket(socket.AF_UNIX))
        over.settimeout(10)
        over.connect(place)
        client = Client(0, path, over=over)
        pid = int(client.read()[1])
    with client:
        client.send(TEXT, b"hello")
        client.read()
        time.sleep(0.1)
        client.send(CLOSE, (1001).to_bytes(2, "big") + b"gone away")
        client.read_close()

        def lines():
            return [json.loads(line) for line in server.served.text().splitlines() if line.startswith("{")]

        wait_until(lambda: len(lines()) == 2, 5)
    handshake, end = lines()

    assert handshake["status"] == end["status"] == 101
    assert "websocket" not in handshake
    # Granian tells no reason.
    assert end["websocket"].pop("reason", None) == ("gone away" if frames == "ours" else None)
    assert end["websocket"] == {"code": 1001, "received": 1, "received_bytes": 5, "sent": 2}
    assert end["bytes"] == len(str(pid)) + 5
    assert end["ms"] >= 100
    assert end.get("request_id") == handshake.get("request_id")
    assert ("request_id" in end) is (frames == "ours")
    assert end["path"] == path
    assert end["route"] == handshake["route"] == {"/echo/a": "/echo/<room>", "/sync": "/sync"}[path]
    assert end.get("client") == handshake.get("client")
    found = server.metrics()
    assert found[f'carboy_websocket_closes_total{{route="{end["route"]}",code="1001"}}'] == 1
    assert found[f'carboy_http_requests_total{{method="GET",route="{end["route"]}",status="1xx"}}'] == 1
    assert found["carboy_http_requests_in_flight"] == 0


def test_goodbye_of_a_reload_is_counted_by_its_code(seen, wait_until):
    """1012 in both colours, by the worker that leaves; the one that follows finds the counts."""
    server = seen(ready=1)
    with ExitStack() as stack:
        clients = [stack.enter_context(server.socket(path)[0]) for path in ("/echo/a", "/sync")]
        server.served.signal(signal.SIGHUP)
        codes = [each.read_close()[0] for each in clients]
        for each in clients:
            each.send(CLOSE, (1012).to_bytes(2, "big"))
        wait_until(lambda: len(server.served.pids()) == 1 and server.metrics()["carboy_workers"] == 1, 20)
        found = server.metrics()

    assert codes == [1012, 1012]
    for route in ("/echo/<room>", "/sync"):
        assert found[f'carboy_websocket_closes_total{{route="{route}",code="1012"}}'] == 1
        assert found.get(f'carboy_websocket_connections_open{{route="{route}"}}', 0) == 0


def test_services_and_channels_are_counted_over_workers(seen, wait_until):
    """By name, and as a sum; what is open now falls with a worker, what was counted stays."""
    server = seen()
    pids: dict[int, list[socket.socket]] = {}
    with ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.service), 10))
            pids.setdefault(int(connection.makefile().readline()), []).append(connection)
            if len(pids) == 2:
                break
        accepted = sum(map(len, pids.values()))
        for _ in range(10):
            server.served.get("/publish/news")
        open_name, total_name = 'carboy_service_connections_open{service="shout"}', 'carboy_service_connections_total{service="shout"}'
        # Looked at five times a second.
        wait_until(lambda: server.metrics().get(total_name) == accepted and server.metrics().get("carboy_channels_published_total") == 10, 5)
        before = server.metrics()
        victim, survivor = pids
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server.metrics()[open_name] == len(pids[survivor]), 10)
        server.served.wait_ready(2)
        after = server.metrics()

    assert before[open_name] == accepted
    assert after[total_name] == accepted
    assert before["carboy_channels_delivered_total"] == after["carboy_channels_delivered_total"] == 10
    assert after["carboy_channels_published_total"] == 10
    assert after["carboy_channels_subscribers"] == 0


def test_restarts_are_told_by_their_reason(seen, wait_until):
    """Reloads, recycled and dead workers apart, and counted while no worker lives."""
    server = seen("--max-requests", "20", ready=1)
    server.served.signal(signal.SIGHUP)
    wait_until(lambda: server.metrics().get('carboy_worker_restarts_total{reason="reloaded"}') == 1, 20)
    (pid,) = server.served.ready()
    for _ in range(30):
        server.served.get("/publish/x")
    wait_until(lambda: server.metrics().get('carboy_worker_restarts_total{reason="recycled"}') == 1, 20)
    wait_until(lambda: server.served.ready() not in ([], [pid]), 20)
    os.kill(server.served.ready()[0], signal.SIGKILL)
    wait_until(lambda: server.served.status()["restarts"].get("died") == 1, 20)
    server.served.wait_ready(1)

    found = server.metrics()

    told = {name.split('"')[1]: value for name, value in found.items() if name.startswith("carboy_worker_restarts_total")}
    assert told == server.served.status()["restarts"] == {"reloaded": 1, "recycled": 1, "died": 1}


SLOW = """
import asyncio, os
from carboy import Carboy

app = Carboy(__name__)


@app.lifespan
async def life(app):
    if os.path.exists("slow"):
        await asyncio.sleep(2)
    yield


class Database:
    pass


class Provider:
    name = "db"
    requires = ()

    def setup(self, fit):
        fit.provide(Database, Database, ping=self.ping)

    def ping(self, database):
        with open("pings", "a") as file:
            file.write(f"{os.getpid()}\\n")
        os.stat("well")


app.fit(Provider())
"""


@pytest.fixture
def slow(run, folder, free_port):
    """Start two workers of an application with a ping, whose start can be made slow."""

    def start() -> tuple:
        (folder / "slow_start.py").write_text(SLOW)
        (folder / "well").touch()
        port = free_port()
        served = run("--management", f"127.0.0.1:{port}", target="slow_start:app")

        def ready() -> int:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        return served, ready

    return start


def test_worker_that_starts_beside_others_is_not_asked(slow, folder, wait_until):
    """A reload whose new workers take long is not seen by a balancer; nor is a new worker after a death."""
    served, ready = slow()
    (folder / "slow").touch()
    before = set(served.pids())
    served.signal(signal.SIGHUP)
    wait_until(lambda: len(served.pids()) == 3, 10)
    answers = [ready() for _ in range(100)]
    while before & set(served.pids()):
        answers.append(ready())
        time.sleep(0.01)

    assert set(answers) == {200}


def test_workers_agree_on_readiness(slow, folder):
    """One worker's answer is all workers' answer for a second: no probe hears another word, and many probes are one ping."""
    served, ready = slow()

    def within_a_second(change) -> list[int]:
        time.sleep(1.2)  # until nothing stands any more
        began = time.monotonic()
        answers = [ready()]
        change()
        while time.monotonic() - began < 0.8:
            answer = ready()
            if time.monotonic() - began < 0.9:
                answers.append(answer)
        return answers

    ready()
    (folder / "pings").unlink()
    well = within_a_second((folder / "well").unlink)
    pings = (folder / "pings").read_text().splitlines()
    failing = within_a_second((folder / "well").touch)

    assert set(well) == {200}
    assert len(pings) == 1
    assert set(failing) == {503}
    # Two workers accept there; so many probes came to both of them.
    assert min(len(well), len(failing)) > 10
