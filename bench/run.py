"""Measure Carboy and its peers behind real servers, and write the tables and the chart of docs/performance.md.

Run it as `make bench` or `python bench/run.py`. Each contestant's server is pinned to one core, the load (`wrk` with 64
connections, a client of our own for WebSockets) to another. What counts is requests per CPU-second of the server, which is
what one undisturbed core gives even where others use the machine, and the ratio to the bare callable at the same door in
the same round. Each answer is checked before it is timed. What fails is named with its reason; the rest goes on.

Figures are kept in docs/performance/figures.json after every round, so that a run that is cut off has not been for nothing,
and `--merge` measures a part of them again:

    python bench/run.py --only '^(sanic|robyn)' --merge
    python bench/run.py --workloads websocket,database --merge
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peers
import report
import rows
from contestants import ALL, APPS, Contestant
from figures import Cell, Figures
from servers import NotStarted, Server, free_port, memory_mib
from workloads import WORKLOADS, Workload, Wrong

HERE = Path(__file__).parent
CONNECTIONS = 64
SERVER_CORE, LOAD_CORE = 0, 1


@dataclass
class Point:
    """One timed run."""

    rate: float  # requests per CPU-second of the server
    wall: float  # requests per second
    p99: float | None  # ms


SCRIPT = """
wrk.method = {method}
wrk.body = {payload}
{headers}
"""


def load(server: Server, work: Workload, headers: dict[str, str], seconds: int, folder: Path) -> Point:
    """Drive a server for a short time.

    Raises:
        Wrong: an error, or an answer that is none of 2xx and 3xx.
    """
    before = server.processor_seconds()
    try:
        count, wall, p99 = (echoes if work.sockets else requests)(server, work, headers, seconds, folder)
    except subprocess.TimeoutExpired:
        raise Wrong("the load did not come to an end") from None
    used = server.processor_seconds() - before
    if not count or not used:
        raise Wrong(f"{count} answers in {used} s of processor time")
    return Point(count / used, count / wall, p99)


def requests(server: Server, work: Workload, headers: dict[str, str], seconds: int, folder: Path) -> tuple[int, float, float]:
    script = folder / "load.lua"
    # Lua's long brackets: no character needs an escape.
    lines = "\n".join(f"wrk.headers[ [==[{name}]==] ] = [==[{value}]==]" for name, value in headers.items())
    payload = f"[==[{work.payload}]==]" if work.payload else "nil"
    script.write_text(SCRIPT.format(method=f'"{work.method}"', payload=payload, headers=lines))
    url = f"http://127.0.0.1:{server.port}{work.path}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "5s", "-s", str(script), url]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 20)
    out = ran.stdout
    if ran.returncode or "Non-2xx" in out or re.search(r"Socket errors: .*(?:connect|read|write) [1-9]", out):
        bad = re.search(r"(Non-2xx.*|Socket errors.*)", out)
        raise Wrong(bad[1] if bad else (ran.stderr or out).strip())
    count = re.search(r"(\d+) requests in ([\d.]+)(m?s)", out)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    assert count is not None and p99 is not None, out
    wall = float(count[2]) / (1000 if count[3] == "ms" else 1)
    return int(count[1]), wall, float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]]


def echoes(server: Server, work: Workload, headers: dict[str, str], seconds: int, folder: Path) -> tuple[int, float, None]:
    command = [sys.executable, str(HERE / "sockets.py"), str(server.port), work.path, str(work.sockets), str(seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 20)
    if ran.returncode:
        raise Wrong(ran.stderr.strip().splitlines()[-1])
    count, wall = json.loads(ran.stdout)
    return count, wall, None


def warm(server: Server, work: Workload, headers: dict[str, str], folder: Path) -> None:
    """A third of a second on four connections: what is made at the first requests is made."""
    if work.sockets:
        return
    connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=5) for _ in range(4)]
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        for connection in connections:
            connection.request(work.method, work.path, work.payload or None, headers)
            connection.getresponse().read()
    for connection in connections:
        connection.close()


class Run:
    """The rounds: who is measured, at what, until when."""

    def __init__(self, chosen: list[Contestant], works: list[Workload], rounds: int, seconds: int, minutes: float, save: Callable[[Figures], None]) -> None:
        self.chosen, self.works, self.rounds, self.seconds, self.save = chosen, works, rounds, seconds, save
        self.begin = time.monotonic()
        self.most = minutes * 60
        self.key = time.strftime("%Y-%m-%d %H:%M:%S")
        self.figures = Figures()
        self.figures.runs[self.key] = {
            "date": time.strftime("%Y-%m-%d"),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "cores": os.cpu_count(),
            "connections": CONNECTIONS,
            "rounds": rounds,
            "seconds": seconds,
            "load_before": os.getloadavg()[0],
        }

    def say(self, text: str) -> None:
        passed = time.monotonic() - self.begin
        print(f"[{passed / 60:4.1f} of at most {self.most / 60:.0f} min] {text}", file=sys.stderr, flush=True)

    def fail(self, contestant: Contestant, work: Workload, error: object) -> None:
        why = str(error).strip() or repr(error)
        cell = self.figures.cell(contestant.name, work.name) or Cell(run=self.key)
        cell.fault = cell.fault or why[-600:]
        self.figures.set(contestant.name, work.name, cell)
        self.say(f"{contestant.name}, {work.name}: {why.splitlines()[-1]}")

    def all(self, folder: Path) -> Figures:
        """Measure everything, a group of workloads after the other."""
        groups = [group for group in ("app", "full", "database") if any(work.group == group for work in self.works)]
        cells = {group: sum(len(self.cells_of(contestant, group)) for contestant in self.chosen) for group in groups}
        share, whole = 0, sum(cells.values())
        for contestant in self.chosen:
            for work in self.works:
                if why := contestant.reason(work.name):
                    self.figures.set(contestant.name, work.name, Cell(fault=why, run=self.key))
        for group in groups:
            share += cells[group]
            try:
                self.group(group, folder, self.begin + self.most * share / max(whole, 1))
            except rows_missing() as error:
                for contestant in self.chosen:
                    for work in self.cells_of(contestant, group):
                        self.fail(contestant, work, f"no database: {error}")
            self.keep()
        return self.figures

    def keep(self) -> None:
        self.figures.runs[self.key]["load_after"] = os.getloadavg()[0]
        self.save(self.figures)

    def cells_of(self, contestant: Contestant, group: str) -> list[Workload]:
        return [work for work in self.works if work.group == group and group in contestant.targets and not contestant.reason(work.name)]

    def group(self, group: str, folder: Path, deadline: float) -> None:
        """The rounds of the workloads that one application serves; the bare callables and everybody else in each of them."""
        with contextlib.ExitStack() as ends:
            if group == "database":
                rows.make()
                ends.callback(rows.drop)
            servers: dict[str, Server] = {}
            for contestant in self.chosen:
                if not self.cells_of(contestant, group):
                    continue
                try:
                    servers[contestant.name] = self.server(contestant, group, folder)
                    ends.callback(servers[contestant.name].stop)
                except peers.NotInstallable as error:
                    self.figures.absent[contestant.name] = str(error)
                    self.say(f"{contestant.name} is not there: {error}")
                except (NotStarted, OSError) as error:
                    for work in self.cells_of(contestant, group):
                        self.fail(contestant, work, f"the server did not start: {error}")
            ready = self.checked(group, servers, folder, ends)
            self.turns(group, servers, ready, folder, deadline, ends)
            if group == "app":
                for name, server in servers.items():
                    with contextlib.suppress(OSError, ValueError):  # it has died meanwhile, which its cells tell
                        self.figures.memory[name] = memory_mib(server.pids)

    def server(self, contestant: Contestant, group: str, folder: Path) -> Server:
        port = free_port()
        environment = {"PYTHONPATH": f"{APPS}{os.pathsep}{HERE}", "BENCH_STATIC": str(folder / "static")}
        command = contestant.command(group, port)
        self.say(f"starting {contestant.name}")
        server = Server(command, port, {SERVER_CORE}, folder / f"{port}.log", folder=APPS, environment=environment)
        server.wait_for_answer()
        return server

    def checked(
        self, group: str, servers: dict[str, Server], folder: Path, ends: contextlib.ExitStack
    ) -> dict[tuple[str, str], dict[str, str]]:
        """The headers with which each right answer is asked for again; a wrong one is noted."""
        ready = {}
        for contestant in self.chosen:
            if contestant.name not in servers:
                continue
            for work in self.cells_of(contestant, group):
                try:
                    ready[contestant.name, work.name] = work.check(servers[contestant.name].port)
                except (Wrong, OSError, KeyError, TypeError, ValueError, AttributeError, http.client.HTTPException) as error:
                    said = servers[contestant.name].last_words().splitlines()
                    why = str(error) if isinstance(error, Wrong) else repr(error)
                    self.fail(contestant, work, why + (f"; its log ends with: {said[-1].strip()}" if said else ""))
                    self.revive(contestant, group, servers, folder, ends)
        return ready

    def turns(
        self,
        group: str,
        servers: dict[str, Server],
        ready: dict[tuple[str, str], dict[str, str]],
        folder: Path,
        deadline: float,
        ends: contextlib.ExitStack,
    ) -> None:
        longest = self.seconds + 1.0
        for number in range(self.rounds):
            for work in self.works:
                if work.group != group:
                    continue
                found: dict[str, Point] = {}
                # Turned round in every second round, so that nobody always comes first.
                for contestant in self.chosen if number % 2 == 0 else self.chosen[::-1]:
                    headers = ready.get((contestant.name, work.name))
                    if headers is None:
                        continue
                    if number and time.monotonic() + longest > deadline:
                        self.note(work, found)
                        self.say(f"no time for more of these than {number} rounds and a part of the next, up to {work.name}")
                        return
                    begin = time.monotonic()
                    try:
                        if number == 0:
                            warm(servers[contestant.name], work, headers, folder)
                        found[contestant.name] = load(servers[contestant.name], work, headers, self.seconds, folder)
                    except (Wrong, OSError, http.client.HTTPException) as error:
                        self.fail(contestant, work, error)
                        del ready[contestant.name, work.name]
                        self.revive(contestant, group, servers, folder, ends)
                    longest = max(longest, time.monotonic() - begin)
                self.note(work, found)
                self.say(f"round {number + 1} of {self.rounds}: {work.name}, {len(found)} contestants")
            self.keep()

    def revive(self, contestant: Contestant, group: str, servers: dict[str, Server], folder: Path, ends: contextlib.ExitStack) -> None:
        """Start a server again that has ended, for the workloads it may yet do."""
        if servers[contestant.name].process.poll() is not None:
            with contextlib.suppress(NotStarted, OSError):
                servers[contestant.name] = self.server(contestant, group, folder)
                ends.callback(servers[contestant.name].stop)

    def note(self, work: Workload, found: dict[str, Point]) -> None:
        """Put a round's points into their cells."""
        for contestant in self.chosen:
            point = found.get(contestant.name)
            if point is None:
                continue
            cell = self.figures.cell(contestant.name, work.name) or Cell(run=self.key)
            bare = found.get(f"bare {contestant.door.upper()}")
            cell.rates.append(round(point.rate, 1))
            cell.shares.append(round(point.rate / bare.rate, 4) if bare else None)
            cell.wall.append(round(point.wall, 1))
            if point.p99 is not None:
                cell.p99.append(round(point.p99, 3))
            self.figures.set(contestant.name, work.name, cell)


def rows_missing() -> type[Exception]:
    """What is raised where no database answers."""
    import psycopg

    return psycopg.OperationalError


def stand_in_own_environment() -> None:
    """Go on with the interpreter of the environment that has the driver of the database: ours need not have one."""
    python = peers.python_of("carboy")
    if Path(sys.prefix) != Path(python).parent.parent:
        os.execv(python, [python, *sys.argv])


def versions(chosen: list[Contestant]) -> dict[str, str]:
    found: dict[str, str] = {}
    for contestant in chosen:
        if contestant.packages:
            with contextlib.suppress(peers.NotInstallable, subprocess.CalledProcessError):
                found.update(peers.versions_of(peers.python_of(contestant.environment), contestant.packages))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="a regular expression for the contestants; the bare callables always run")
    parser.add_argument("--workloads", help="beginnings of names, with commas, of: " + ", ".join(work.name for work in WORKLOADS))
    parser.add_argument("--rounds", type=int, help="4, or 2 in a quick run")
    parser.add_argument("--seconds", type=int, default=1, help="of each timed run, whole ones (1)")
    parser.add_argument("--minutes", type=float, help="begin no round beyond the first that would end later (29, or 5 in a quick run)")
    parser.add_argument("--quick", action="store_true", help="two rounds of a second, and the bare callables, Carboy and five peers alone")
    parser.add_argument("--merge", action="store_true", help="keep what is in the file of the figures, and replace what is measured now")
    parser.add_argument("--figures", type=Path, default=report.FIGURES, help="the file of the figures (docs/performance/figures.json)")
    parser.add_argument("--no-write", action="store_true", help="print; leave the docs and the file of the figures as they are")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the page again from the file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end then, too
    if options.render:
        report.write(Figures.load(options.figures))
        return 0
    if shutil.which("wrk") is None:
        raise SystemExit("the load comes from wrk: apt-get install wrk")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    stand_in_own_environment()
    begins = tuple(name.strip() for name in options.workloads.split(",")) if options.workloads else ("",)
    works = [work for work in WORKLOADS if work.name.startswith(begins)]
    if not works:
        raise SystemExit(f"no workload begins with {options.workloads!r}; there are: " + ", ".join(work.name for work in WORKLOADS))
    wanted = re.compile(options.only or "", re.IGNORECASE)
    is_short = options.quick and not options.only
    chosen = [each for each in ALL if each.name.startswith("bare") or (wanted.search(each.name) and (each.is_quick or not is_short))]
    for environment in dict.fromkeys(contestant.environment for contestant in chosen):
        with contextlib.suppress(peers.NotInstallable):  # told again where its server is to start
            peers.python_of(environment)
    old = Figures.load(options.figures) if options.merge and options.figures.exists() else None

    def whole(new: Figures) -> Figures:
        if old is None:
            return new
        old.merge(new)
        return old

    def save(new: Figures) -> None:
        if not options.no_write:
            whole(new).save(options.figures)

    os.sched_setaffinity(0, {LOAD_CORE})
    rounds = options.rounds or (2 if options.quick else 4)
    run = Run(chosen, works, rounds, options.seconds, options.minutes or (5 if options.quick else 29), save)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "static").mkdir()
        (folder / "static" / "big.txt").write_text("0123456789" * 10_000)
        run.figures.versions = versions(chosen)
        figures = run.all(folder)
    figures = whole(figures)
    print(report.text(figures))
    if not options.no_write:
        figures.save(options.figures)
        if options.figures == report.FIGURES:
            report.write(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
