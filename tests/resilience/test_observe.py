"""Seeing it run, from outside: numbers that add up over deaths, readiness that tells the truth, lines that parse."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

APP = '''
import asyncio, os, time
from carboy import Carboy

app = Carboy(__name__)


class Database:
    """Well as long as the file `well` is there."""


class Provider:
    name = "db"
    requires = ()

    def setup(self, fit):
        fit.provide(Database, Database, ping=self.ping)

    def ping(self, database):
        if os.path.exists("hang"):
            time.sleep(30)
        os.stat("well")


app.fit(Provider())


@app.get("/")
async def index():
    return str(os.getpid())


@app.get("/users/<int:id>")
def user(id):
    return {"id": id}


@app.get("/sleep/<float:seconds>")
async def sleep(seconds):
    await asyncio.sleep(seconds)
    return "slept"


@app.get("/block/<float:seconds>")
async def block(seconds):
    time.sleep(seconds)
    return "blocked"
'''

TOTAL = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


class Seen:
    """A server with a management port."""

    def __init__(self, served, port: int) -> None:
        self.served = served
        self.port = port

    def page(self, path: str, timeout: float = 10) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Sums by name, and by name and labels."""
        status, text = self.page("/metrics")
        assert status == 200
        found: dict[str, float] = {}
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            match = TOTAL.match(line)
            assert match, line
            name, labels, value = match.groups()
            found[name] = found.get(name, 0) + float(value)
            if labels:
                found[f"{name}{{{labels}}}"] = float(value)
        return found


@pytest.fixture
def observed(run, folder, free_port):
    """Start a server with a management port."""

    def start(*options: str, ready: int = 2) -> Seen:
        (folder / "seen.py").write_text(APP)
        (folder / "well").touch()
        port = free_port()
        return Seen(run("--management", f"127.0.0.1:{port}", *options, ready=ready, target="seen:app"), port)

    return start


class Client(threading.Thread):
    """Sends one request after the other, on a kept connection while it lasts; counts what came of them."""

    def __init__(self, port: int, paths: list[str], wanted: int) -> None:
        super().__init__(daemon=True)
        self.port, self.paths, self.wanted = port, paths, wanted
        self.sent = self.answered = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        for number in range(self.wanted):
            try:
                self.sent += 1
                connection.request("GET", self.paths[number % len(self.paths)])
                connection.getresponse().read()
                self.answered += 1
            except (OSError, http.client.HTTPException):
                connection.close()
        connection.close()


def crowd(port: int, clients: int, wanted: int, paths: list[str]) -> list[Client]:
    made = [Client(port, paths, wanted) for _ in range(clients)]
    for each in made:
        each.start()
    return made


def settled(seen: Seen) -> dict[str, float]:
    """The metrics once nothing is in flight."""
    until = time.monotonic() + 5
    while (found := seen.metrics())["carboy_http_requests_in_flight"] and time.monotonic() < until:
        time.sleep(0.05)
    return found


def test_counts_of_a_killed_worker_are_neither_lost_nor_doubled(observed, wait_until, figure):
    """kill -9 under load, twice: every answer was counted, and every request begun is accounted for."""
    seen = observed()

    clients = crowd(seen.served.port, 4, 1000, ["/", "/users/1", "/nowhere"])
    for _ in range(2):
        time.sleep(0.2)
        seen.served.wait_ready(2)
        victim = seen.served.ready()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in seen.served.pids(), 10)
    for each in clients:
        each.join(60)
    seen.served.wait_ready(2)
    found = settled(seen)

    sent, answered = sum(each.sent for each in clients), sum(each.answered for each in clients)
    counted, begun = found["carboy_http_requests_total"], found["carboy_http_requests_begun_total"]
    cut_off = found["carboy_http_requests_cut_off_total"]
    figure("sent / answered / counted / cut off", f"{sent} / {answered} / {counted:.0f} / {cut_off:.0f}")
    assert begun == counted + cut_off
    # A kill falls between an answer and its count, or between a count and the client's reading, for at most those in flight.
    assert answered <= begun <= sent
    assert abs(counted - answered) <= 2 * 4
    assert found["carboy_http_request_duration_seconds_count"] == counted
    assert found["carboy_worker_deaths_total"] == 2
    assert found["carboy_worker_starts_total"] == 4
    assert found["carboy_workers"] == 2


def test_request_in_a_killed_worker_counts_as_cut_off(observed, wait_until):
    """What a dead worker had in flight is told, once."""
    seen = observed(ready=1)
    port = seen.served.port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /sleep/30.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: seen.metrics()["carboy_http_requests_in_flight"] == 1, 5)

        (victim,) = seen.served.ready()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: seen.served.ready() not in ([], [victim]), 10)
        seen.served.get("/")
        found = settled(seen)

    assert found["carboy_http_requests_cut_off_total"] == 1
    assert found["carboy_http_requests_total"] == 1
    assert found["carboy_worker_deaths_total"] == 1


def test_counts_go_on_over_a_reload_and_readiness_holds(observed, figure):
    """A rolling reload is no death, resets no counter, and is not seen by a balancer."""
    seen = observed()
    for client in crowd(seen.served.port, 2, 50, ["/users/1"]):
        client.join(20)
    answers: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            answers.append(seen.page("/readyz")[0])
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = set(seen.served.pids())
    seen.served.signal(signal.SIGHUP)
    until = time.monotonic() + 30
    while (before & set(seen.served.pids()) or len(seen.served.ready()) < 2) and time.monotonic() < until:
        time.sleep(0.05)
    over.set()
    watcher.join(10)
    for client in crowd(seen.served.port, 2, 50, ["/users/1"]):
        client.join(20)
    found = settled(seen)

    figure("probes during the reload", len(answers))
    assert set(answers) == {200}
    assert found['carboy_http_requests_total{method="GET",route="/users/<int:id>",status="2xx"}'] == 200
    assert found["carboy_worker_deaths_total"] == 0
    assert found["carboy_worker_starts_total"] == 4
    assert found["carboy_workers"] == 2


def test_readiness_follows_the_pings(observed, folder, wait_until):
    """503 while a service's ping fails or hangs, by its name; 200 again after; alive all the while."""
    seen = observed()

    assert seen.page("/readyz")[0] == 200
    (folder / "well").unlink()
    wait_until(lambda: seen.page("/readyz")[0] == 503, 5)
    time.sleep(1.1)  # each worker has asked for itself, and an answer stands for a second
    status, body = seen.page("/readyz")
    assert status == 503
    assert json.loads(body)["checks"]["db"]["ok"] is False
    assert seen.page("/livez")[0] == 200
    assert seen.served.get("/users/1")
    (folder / "well").touch()
    time.sleep(1.1)
    assert seen.page("/readyz")[0] == 200
    (folder / "hang").touch()
    time.sleep(1.1)
    began = time.monotonic()
    status, body = seen.page("/readyz")

    assert status == 503
    assert json.loads(body)["checks"]["db"]["why"] == "timeout"
    assert time.monotonic() - began < 4


def test_a_stopping_server_is_not_ready(observed):
    """From SIGTERM on, while it serves what it has accepted, it is alive and not ready."""
    seen = observed("--stop-timeout", "10", ready=1)
    with socket.create_connection(("127.0.0.1", seen.served.port)) as connection:
        connection.sendall(b"GET /sleep/3.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.3)
        seen.served.signal(signal.SIGTERM)
        time.sleep(0.8)

        ready, live = seen.page("/readyz"), seen.page("/livez")
        answer = connection.recv(65536)

    assert ready[0] == 503
    assert "draining" in ready[1]
    assert live[0] == 200
    assert answer.startswith(b"HTTP/1.1 200")


def test_management_answers_while_the_loop_is_blocked(observed, wait_until):
    """A thread answers, and shows how late the loop is."""
    seen = observed(ready=1)
    blocked = threading.Thread(target=lambda: contextlib.suppress(Exception) and seen.served.get("/block/3.5"), daemon=True)
    blocked.start()

    wait_until(lambda: seen.metrics()["carboy_worker_loop_lag_seconds"] > 1, 4)

    assert seen.page("/livez")[0] == 200
    blocked.join(10)


def test_log_lines_of_all_workers_parse_and_none_is_missing(observed, folder):
    """JSON, one line a request, with ids that differ, complete after an orderly stop, over logrotate's move."""
    log = folder / "access.log"
    seen = observed("--access-log", "json", "--access-log-file", str(log))

    first = crowd(seen.served.port, 4, 250, ["/", "/users/7?token=secret", "/nowhere"])
    for each in first:
        each.join(30)
    time.sleep(0.5)
    log.rename(folder / "access.log.1")
    time.sleep(1.5)
    for each in crowd(seen.served.port, 2, 100, ["/"]):
        each.join(30)
    seen.served.signal(signal.SIGTERM)
    seen.served.wait(20)
    lines = [json.loads(line) for name in ("access.log.1", "access.log") for line in (folder / name).read_text().splitlines()]

    assert len(lines) == 4 * 250 + 2 * 100
    assert len({line["request_id"] for line in lines}) == len(lines)
    assert {line.get("route") for line in lines} == {"/", "/users/<int:id>", None}
    assert {line["status"] for line in lines} == {200, 404}
    assert all(line["client"] == "127.0.0.1" and line["ms"] >= 0 and line["path"].startswith("/") for line in lines)
    assert "secret" not in (folder / "access.log.1").read_text()
    assert (folder / "access.log").stat().st_size > 0


def test_a_crash_loses_at_most_the_last_moment_of_the_log(observed, folder):
    """kill -9: what was answered more than a second before is written."""
    log = folder / "access.log"
    seen = observed("--access-log", "line", "--access-log-file", str(log), ready=1)
    for _ in range(20):
        seen.served.get("/")
    time.sleep(1)

    os.kill(seen.served.ready()[0], signal.SIGKILL)
    time.sleep(0.2)

    assert len(log.read_text().splitlines()) == 20


@pytest.mark.parametrize("interface", ["asgi", "rsgi", "wsgi"])
def test_every_door_counts_and_logs(observed, folder, interface, wait_until):
    """Routes, statuses and lines are the same behind each."""
    log = folder / "access.log"
    seen = observed("--interface", interface, "--access-log", "json", "--access-log-file", str(log), "--health-prefix", "/", ready=1)

    for each in crowd(seen.served.port, 2, 30, ["/", "/users/1", "/nowhere"]):
        each.join(20)
    live = seen.served.get("/livez")
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 60, 5)
    found = settled(seen)

    assert json.loads(live) == {"status": "ok"}
    assert found['carboy_http_requests_total{method="GET",route="/users/<int:id>",status="2xx"}'] == 20
    assert found['carboy_http_requests_total{method="GET",route="(none)",status="4xx"}'] == 20
    assert found["carboy_http_requests_total"] == 60
    assert {json.loads(line)["client"] for line in log.read_text().splitlines()} == {"127.0.0.1"}


def test_taken_management_port_is_refused_at_start(run, folder):
    """Said at once, with the option's name."""
    (folder / "seen.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = run("--management", f"127.0.0.1:{taken.getsockname()[1]}", ready=None, target="seen:app")
        served.wait(20)

    assert served.process.returncode == 1
    assert "--management" in served.text()
    assert "Traceback" not in served.text()


def cpu_microseconds(pid: int) -> float:
    """What a process and all its threads have used of processors."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1000


def test_seeing_costs_little(run, observed, folder, figure):
    """10,000 requests on a server that logs and counts, and on one that does not: CPU time of the worker.

    In turns of 1,000, and the quietest turn of each counts: others use this machine too.
    """
    (folder / "seen.py").write_text(APP)
    dark = run(ready=1, target="seen:app")
    (dark_pid,) = dark.ready()
    os.rename(dark.control, dark.control + ".dark")
    seen = observed("--access-log", "json", "--access-log-file", str(folder / "access.log"), ready=1)
    (seen_pid,) = seen.served.ready()
    servers = {"dark": (dark.port, dark_pid), "seen": (seen.served.port, seen_pid)}
    for port, _ in servers.values():
        for each in crowd(port, 1, 500, ["/"]):
            each.join(30)

    spent: dict[str, list[float]] = {"dark": [], "seen": []}
    for _ in range(10):
        for name, (port, pid) in servers.items():
            before = cpu_microseconds(pid)
            for each in crowd(port, 1, 1000, ["/"]):
                each.join(60)
            time.sleep(0.25)  # the log's thread belongs to the price
            spent[name].append((cpu_microseconds(pid) - before) / 1000)

    without, with_all = min(spent["dark"]), min(spent["seen"])
    figure("CPU a request without / with log and metrics", f"{without:.1f} / {with_all:.1f} µs, ratio {with_all / without:.2f}")
    assert with_all / without < 1.6
