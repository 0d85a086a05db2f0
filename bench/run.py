"""Measure Carboy and its peers behind real servers, and write the tables and the chart of docs/performance.md.

Run it as `make bench` or `python bench/run.py`. Each contestant's server is pinned to one core, `wrk` with 64
connections to another. What counts is requests per CPU-second of the server, which is what one undisturbed core gives
even where others use the machine, and the ratio to the bare callable at the same door in the same round. Each answer
is checked before it is timed.
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
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peers
from contestants import ALL, APPS, Contestant

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance"
TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 64
ORDER = {
    "order": 17,
    "customer": "Ada Lovelace",
    "lines": [{"item": f"part-{number}", "count": number, "price": 9.95} for number in range(1, 9)],
}
BODY = json.dumps(ORDER)
TOTAL = sum(number * 9.95 for number in range(1, 9))


class Wrong(Exception):
    """A contestant did not answer as it must."""


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes

    def data(self) -> Any:
        return json.loads(self.body)


def ask(port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        found = connection.getresponse()
        return Reply(found.status, found.headers, found.read())
    finally:
        connection.close()


def must(condition: object, reply: Reply, what: str) -> None:
    if not condition:
        raise Wrong(f"{what}: {reply.status} {reply.body[:200]!r}")


# -- the workloads: each checks, and returns the headers with which it is then timed -----------------


def plaintext(port: int) -> dict[str, str]:
    reply = ask(port, "/plaintext")
    must(reply.status == 200 and reply.body == b"Hello, World!", reply, "the text")
    must(reply.headers["content-type"].startswith("text/plain"), reply, "text/plain")
    return {}


def message(port: int, path: str = "/json") -> dict[str, str]:
    reply = ask(port, path)
    must(reply.status == 200 and reply.data() == {"message": "Hello, World!"}, reply, "the message")
    must(reply.headers["content-type"].startswith("application/json"), reply, "application/json")
    return {}


def sync_view(port: int) -> dict[str, str]:
    return message(port, "/sync")


def params(port: int) -> dict[str, str]:
    reply = ask(port, "/users/42?q=x&page=2")
    must(reply.status == 200 and reply.data() == {"user": 42, "q": "x", "page": 2}, reply, "the parameters")
    reply = ask(port, "/users/none?q=x&page=2")
    must(400 <= reply.status < 500, reply, "an int is wanted")
    return {}


def body(port: int) -> dict[str, str]:
    kind = {"Content-Type": "application/json"}
    reply = ask(port, "/orders", "POST", kind, BODY)
    must(reply.status == 201, reply, "201")
    must(reply.data()["order"] == ORDER and abs(reply.data()["sum"] - TOTAL) < 0.01, reply, "the order")
    for wrong in ('{"order": 1}', "{", json.dumps({**ORDER, "lines": [{"item": 3}]})):
        reply = ask(port, "/orders", "POST", kind, wrong)
        must(reply.status in (400, 422), reply, "an invalid order is refused")
    return kind


def template(port: int) -> dict[str, str]:
    reply = ask(port, "/page")
    must(reply.status == 200 and reply.body.count(b"<tr>") == 12 and b"&lt;row 3&gt;" in reply.body, reply, "twelve escaped rows")
    must(reply.headers["content-type"].startswith("text/html"), reply, "text/html")
    return {}


def full(port: int) -> dict[str, str]:
    reply = ask(port, "/full")
    must(reply.status == 200 and reply.data() == {"visits": 1} and reply.headers["x-before"] == "1", reply, "a first visit")
    cookie = reply.headers["set-cookie"].partition(";")[0]
    second = ask(port, "/full", headers={"Cookie": cookie})
    must(second.data() == {"visits": 2}, second, "a second visit")
    name, _, value = cookie.partition("=")
    middle = len(value) // 2
    tampered = f"{name}={value[:middle]}{'A' if value[middle] != 'A' else 'B'}{value[middle + 1 :]}"
    third = ask(port, "/full", headers={"Cookie": tampered})
    must(third.status == 200 and third.data() == {"visits": 1}, third, "a cookie tampered with is refused")
    return {"Cookie": cookie}


def static(port: int) -> dict[str, str]:
    reply = ask(port, "/static/big.txt")
    must(reply.status == 200 and len(reply.body) == 100_000, reply, "the file")
    return {}


def not_modified(port: int) -> dict[str, str]:
    tag = ask(port, "/static/big.txt").headers["etag"]
    given = {"If-None-Match": tag} if tag else {"If-Modified-Since": ask(port, "/static/big.txt").headers["last-modified"]}
    reply = ask(port, "/static/big.txt", headers=given)
    must(reply.status == 304 and not reply.body, reply, "304")
    return given


@dataclass(frozen=True)
class Workload:
    name: str
    path: str
    check: Callable[[int], dict[str, str]]
    method: str = "GET"
    payload: str = ""
    is_full: bool = False


WORKLOADS = (
    Workload("plaintext", "/plaintext", plaintext),
    Workload("json", "/json", message),
    Workload("params", "/users/42?q=x&page=2", params),
    Workload("body", "/orders", body, "POST", BODY),
    Workload("template", "/page", template),
    Workload("full", "/full", full, is_full=True),
    Workload("sync view", "/sync", sync_view),
    Workload("static", "/static/big.txt", static),
    Workload("304", "/static/big.txt", not_modified),
)


# -- servers -----------------------------------------------------------------------------------------


def processes_of(pid: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += parents.get(one, [])
    return found


def processor_seconds(pids: list[int]) -> float:
    """Processor time that processes have used so far, all their threads together."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mib(pids: list[int]) -> float:
    """Resident memory of the largest process: the worker."""
    sizes = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids]
    return max(int(size[1]) for size in sizes if size) / 1024


class Server:
    """One contestant's server, pinned to a core; started when first needed."""

    def __init__(self, contestant: Contestant, target: str, core: int, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.log = open(folder / f"{self.port}.log", "w+")  # noqa: SIM115  # closed by stop
        paths = {"PYTHONPATH": str(APPS), "BENCH_STATIC": str(folder)}
        self.process = subprocess.Popen(
            contestant.command(target, self.port),
            cwd=APPS,
            env={**os.environ, **paths, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=self.log,
            stderr=self.log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Wrong(f"{contestant.name} did not start: {Path(self.log.name).read_text()[-1500:]}")
            time.sleep(0.05)
        # The master of granian listens before its worker can answer.
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(self.port, "/json")
                break
            time.sleep(0.1)
        if self.process.poll() is not None:
            self.stop()
            raise Wrong(f"{contestant.name} has ended: {Path(self.log.name).read_text()[-1500:]}")
        self.pids = processes_of(self.process.pid)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


@dataclass
class Point:
    """One timed run."""

    rate: float  # requests per CPU-second of the server
    wall: float  # requests per second
    p99: float  # ms


SCRIPT = """
wrk.method = {method}
wrk.body = {payload}
{headers}
"""


def load(server: Server, work: Workload, headers: dict[str, str], seconds: int, core: int, folder: Path) -> Point:
    """Drive a server with wrk for a short time.

    Raises:
        Wrong: an error, or an answer that is none of 2xx and 3xx.
    """
    script = folder / "load.lua"
    # Lua's long brackets: no character needs an escape.
    lines = "\n".join(f"wrk.headers[ [==[{name}]==] ] = [==[{value}]==]" for name, value in headers.items())
    payload = f"[==[{work.payload}]==]" if work.payload else "nil"
    script.write_text(SCRIPT.format(method=f'"{work.method}"', payload=payload, headers=lines))
    before = processor_seconds(server.pids)
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{server.port}{work.path}"],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    used = processor_seconds(server.pids) - before
    out = ran.stdout
    if "Non-2xx" in out or re.search(r"Socket errors: .*(?:connect|read|write) [1-9]", out):
        raise Wrong(out)
    count = re.search(r"(\d+) requests in ([\d.]+)(m?s)", out)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    assert count is not None and p99 is not None, out
    wall = float(count[2]) / (1000 if count[3] == "ms" else 1)
    scale = {"us": 0.001, "ms": 1, "s": 1000}[p99[2]]
    return Point(int(count[1]) / used, int(count[1]) / wall, float(p99[1]) * scale)


# -- rounds ------------------------------------------------------------------------------------------


@dataclass
class Results:
    """Everything that was measured."""

    points: dict[tuple[str, str], list[Point | None]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def rates(self, name: str, work: str) -> list[float]:
        return [point.rate for point in self.points.get((name, work), ()) if point is not None]

    def ratio(self, contestant: Contestant, work: str) -> tuple[float, float] | None:
        """Median and half width of the rounds' own ratios to the bare callable of the same door."""
        ours = self.points.get((contestant.name, work), ())
        bare = self.points.get((f"bare {contestant.door.upper()}", work), ())
        ratios = [one.rate / other.rate for one, other in zip(ours, bare, strict=False) if one is not None and other is not None]
        if not ratios:
            return None
        return statistics.median(ratios), (max(ratios) - min(ratios)) / 2


def contestants(only: str | None) -> Iterator[Contestant]:
    wanted = re.compile(only or "", re.IGNORECASE)
    for contestant in ALL:
        if contestant.name.startswith("bare") or wanted.search(contestant.name):
            yield contestant


def measure(chosen: list[Contestant], works: list[Workload], rounds: int, seconds: int, cores: tuple[int, int], folder: Path) -> Results:
    results = Results()
    servers: dict[tuple[str, bool], Server] = {}
    ready: dict[tuple[str, str], dict[str, str]] = {}
    try:
        for contestant in chosen:
            try:
                for is_full, target in ((False, contestant.target), (True, contestant.full_target)):
                    if target is not None and any(work.is_full == is_full for work in works):
                        servers[contestant.name, is_full] = Server(contestant, target, cores[0], folder)
            except (Wrong, peers.NotInstallable) as error:
                results.faults[contestant.name] = str(error)
                print(f"{contestant.name}: {error}", file=sys.stderr)
                continue
            for work in works:
                server = servers.get((contestant.name, work.is_full))
                if server is None:
                    continue
                try:
                    ready[contestant.name, work.name] = work.check(server.port)
                except (Wrong, OSError, KeyError, TypeError, ValueError, AttributeError, http.client.HTTPException) as error:
                    results.faults[f"{contestant.name}, {work.name}"] = str(error) or repr(error)
                    print(f"{contestant.name}, {work.name}: {error!r}", file=sys.stderr)
        for number in range(rounds):
            for work in works:
                print(f"round {number + 1} of {rounds}: {work.name}", file=sys.stderr)
                # Turned round in every second round, so that nobody always comes first.
                for contestant in chosen if number % 2 == 0 else chosen[::-1]:
                    headers = ready.get((contestant.name, work.name))
                    if headers is None:
                        continue
                    server = servers[contestant.name, work.is_full]
                    point: Point | None = None
                    try:
                        if number == 0:
                            load(server, work, headers, 1, cores[1], folder)  # warm
                        point = load(server, work, headers, seconds, cores[1], folder)
                    except (Wrong, ZeroDivisionError, OSError) as error:
                        results.faults[f"{contestant.name}, {work.name}"] = str(error)
                        print(f"{contestant.name}, {work.name}: {error!r}", file=sys.stderr)
                    results.points.setdefault((contestant.name, work.name), []).append(point)
        for (name, is_full), server in servers.items():
            if not is_full:
                results.memory[name] = memory_mib(server.pids)
    finally:
        for server in servers.values():
            server.stop()
    return results


# -- writing -----------------------------------------------------------------------------------------


def versions(chosen: list[Contestant]) -> str:
    found = {}
    for contestant in chosen:
        if contestant.package:
            with contextlib.suppress(Exception):
                found[contestant.package] = peers.version_of(contestant.python(), contestant.package)
    return ", ".join(f"{package} {version}" for package, version in found.items())


def tables(results: Results, chosen: list[Contestant], works: list[Workload], note: str) -> str:
    """The figures as Markdown."""
    head = "| | " + " | ".join(work.name for work in works) + " |\n|---|" + "---:|" * len(works)
    rates, ratios = [], []
    for contestant in chosen:
        cells, shares = [], []
        for work in works:
            found = results.rates(contestant.name, work.name)
            if not found:
                cells.append("")
                shares.append("")
                continue
            spread = (max(found) - min(found)) / 2
            cells.append(f"{statistics.median(found):,.0f} ± {spread:,.0f}")
            share = results.ratio(contestant, work.name)
            shares.append(f"{share[0]:.2f} ± {share[1]:.2f}" if share else "")
        if any(cells):
            rates.append(f"| {contestant.name} | " + " | ".join(cells) + " |")
            if not contestant.name.startswith("bare"):
                ratios.append(f"| {contestant.name} | {contestant.door.upper()} | " + " | ".join(shares) + " |")
    ratio_head = "| | door | " + " | ".join(work.name for work in works) + " |\n|---|---|" + "---:|" * len(works)
    memory = ", ".join(f"{name} {size:.0f}" for name, size in sorted(results.memory.items(), key=lambda item: item[1]))
    parts = [
        note,
        "### Requests per CPU-second of the server",
        "\n".join([head, *rates]),
        "### Share of the bare callable, same server, same door, same round",
        "\n".join([ratio_head, *ratios]),
        f"Memory of the worker after the load, MiB: {memory}.",
    ]
    if results.faults:
        left_out = "\n".join(f"- {name}: {fault.strip().splitlines()[-1][:200]}" for name, fault in results.faults.items())
        parts += ["Left out:", left_out]
    return "\n\n".join(parts)


def chart(results: Results, chosen: list[Contestant], works: list[Workload]) -> str:
    """Bars of requests per CPU-second, a panel for each workload."""
    width, label, bar, gap = 860, 250, 16, 6
    parts: list[str] = []
    top = 0
    for work in works:
        rows = [(contestant, statistics.median(found)) for contestant in chosen if (found := results.rates(contestant.name, work.name))]
        if not rows:
            continue
        rows.sort(key=lambda row: -row[1])
        most = rows[0][1]
        parts.append(f'<text x="0" y="{top + 16}" class="head">{work.name}</text>')
        top += 26
        for contestant, rate in rows:
            kind = "bare" if contestant.name.startswith("bare") else "ours" if contestant.name.startswith("Carboy") else "peer"
            length = (width - label - 80) * rate / most
            parts.append(f'<text x="{label - 8}" y="{top + 12}" class="name">{contestant.name.replace("`", "")}</text>')
            parts.append(f'<rect x="{label}" y="{top}" width="{length:.1f}" height="{bar}" class="{kind}"/>')
            parts.append(f'<text x="{label + length + 6:.1f}" y="{top + 12}">{rate:,.0f}</text>')
            top += bar + gap
        top += 14
    style = (
        "text{font:12px system-ui,sans-serif;fill:#444}.head{font-weight:600;font-size:14px;fill:#222}.name{text-anchor:end}"
        ".ours{fill:#0b7285}.peer{fill:#adb5bd}.bare{fill:#e9ecef;stroke:#ced4da}"
        "@media(prefers-color-scheme:dark){text{fill:#ccc}.head{fill:#eee}.peer{fill:#5c636a}.bare{fill:#2b3035;stroke:#495057}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img"'
        f' aria-label="Requests per CPU-second of the server, by workload and framework"><style>{style}</style>{"".join(parts)}</svg>\n'
    )


START, END = "<!-- figures: written by `make bench` -->", "<!-- end of the figures -->"


def write(text: str, drawing: str) -> None:
    page = PAGE.read_text() if PAGE.exists() else f"# Performance\n\n{START}\n{END}\n"
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")
    CHART.mkdir(exist_ok=True)
    (CHART / "requests.svg").write_text(drawing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="a regular expression for the contestants; the bare callables always run")
    parser.add_argument("--workloads", help="some of " + ",".join(work.name for work in WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each timed run")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 second")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--no-write", action="store_true", help="print; leave docs/performance.md as it is")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the load comes from wrk: apt-get install wrk")
    names = options.workloads.split(",") if options.workloads else None
    works = [work for work in WORKLOADS if names is None or work.name in names]
    chosen = list(contestants(options.only))
    rounds, seconds = (3, 1) if options.quick else (options.rounds, options.seconds)
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "big.txt").write_text("0123456789" * 10_000)
        results = measure(chosen, works, rounds, seconds, (options.server_core, options.load_core), folder)
    load_after = os.getloadavg()
    note = (
        f"{time.strftime('%Y-%m-%d')}, CPython {platform.python_version()}, {os.cpu_count()} cores, load average {load_before[0]:.1f}"
        f" before and {load_after[0]:.1f} after; one server process on one core, wrk with {CONNECTIONS} connections on another;"
        f" medians of {rounds} rounds of {seconds} s, ± half the distance between the least and the most. {versions(chosen)}."
    )
    text = tables(results, chosen, works, note)
    print(text)
    if not options.no_write:
        write(text, chart(results, chosen, works))
    return 1 if results.faults else 0


if __name__ == "__main__":
    sys.exit(main())
