"""Does twice as much do twice as much? 1 and 2 workers; 1, 2 and 4 nodes behind a load balancer.

Run it as `make bench-scaling` or `python bench/scaling.py`. Workers are measured as `carboy run` starts them, and each with a
processor of its own (`--pin`). The view computes for some milliseconds, so that the load driver's share is small. A node is a network namespace with a `carboy run` of its own and a quota of processor time (a
cgroup); nginx stands in a namespace before them. Sizes are measured in turn, several rounds; what is judged is the median
of the rounds' own ratios. Nodes need Linux, root, iproute2 and nginx; without, the reason is printed and workers alone
are measured. Whatever happens, the namespaces and cgroups are taken away again.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pages
from servers import Server, free_port, processes_of, processor_seconds

ROOT = Path(__file__).parent.parent
APPS = Path(__file__).parent / "apps"
PAGE = ROOT / "docs" / "what-does-it-take.md"
WORKERS_GOAL, NODES_GOAL = 1.9, 1.85
CONNECTIONS = 16
SIZES = (1, 2, 4)
QUOTA = 0.30  # of a core, a node: four of them, the balancer and the driver fit on two cores
PERIOD = 20_000  # µs
BUSY = 0.7  # load before the run, above which others were at work

#: Requests per second and processor seconds of the servers per second.
Sample = tuple[float, float]


def wrk(url: str, seconds: int, connections: int = CONNECTIONS) -> float:
    """Requests per second.

    Raises:
        RuntimeError: an answer was wrong, or none came.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", url]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    count = re.search(r"(\d+) requests in ([\d.]+)s", out)
    if "Non-2xx" in out or re.search(r"Socket errors: .*(?:connect|read|write) [1-9]", out) or count is None or count[1] == "0":
        raise RuntimeError(f"{url}: {out}")
    return int(count[1]) / float(count[2])


def in_turn(sizes: tuple[int, ...], rounds: int, sample: Callable[[int], Sample], what: str) -> dict[int, list[Sample]]:
    """A sample of each size in each round, every second round from the other end."""
    found: dict[int, list[Sample]] = {size: [] for size in sizes}
    for number in range(rounds):
        for size in sizes if number % 2 == 0 else sizes[::-1]:
            found[size].append(sample(size))
            rate, used = found[size][-1]
            print(f"round {number + 1} of {rounds}: {size} {what}: {rate:.1f} requests a second, {used:.2f} cores", file=sys.stderr, flush=True)
    return found


def doublings(found: dict[int, list[Sample]]) -> list[tuple[int, int, float, float]]:
    """From, to, the median of the rounds' ratios, and half their width."""
    sizes = list(found)
    lines = []
    for few, many in itertools.pairwise(sizes):
        ratios = [after[0] / before[0] for before, after in zip(found[few], found[many], strict=True)]
        lines.append((few, many, statistics.median(ratios), (max(ratios) - min(ratios)) / 2))
    return lines


# -- workers -----------------------------------------------------------------------------------------


def workers(rounds: int, seconds: int, folder: Path, *more: str) -> dict[int, list[Sample]]:
    """One and two workers on the same two cores, the driver beside them; `more` options for `carboy run`."""
    cores = set(range(os.cpu_count() or 1)[:2])
    with contextlib.ExitStack() as ends:
        servers: dict[int, Server] = {}
        for count in (1, 2):
            port = free_port()
            command = [sys.executable, "-m", "carboy", "run", "carboy_busy:app", "-h", "127.0.0.1", "-p", str(port), "--workers", str(count)]
            command += ["--log-level", "warning", "--control", "off", *more]
            servers[count] = Server(command, port, cores, folder / f"workers-{count}.log", folder=APPS)
            ends.callback(servers[count].stop)
            servers[count].wait_for_answer()
        time.sleep(2)  # the second worker too
        for server in servers.values():
            server.pids = processes_of(server.process.pid)

        def sample(count: int) -> Sample:
            server = servers[count]
            if not set(server.pids) <= set(processes_of(server.process.pid)):
                raise RuntimeError(f"a process of the server with {count} workers has ended:\n{server.last_words()}")
            wrk(f"http://127.0.0.1:{server.port}/busy", 1)
            before, begin = server.processor_seconds(), time.monotonic()
            rate = wrk(f"http://127.0.0.1:{server.port}/busy", seconds)
            return rate, (server.processor_seconds() - before) / (time.monotonic() - begin)

        return in_turn((1, 2), rounds, sample, " ".join(["workers", *more]))


# -- nodes -------------------------------------------------------------------------------------------


def why_no_nodes() -> str | None:
    """The reason why there can be no nodes here, None if there can."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces and cgroups need root"
    missing = [name for name in ("ip", "nginx") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"ip netns: {tried.stderr.strip()}"
    if not Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "there are no cgroups with a quota of processor time"
    return None


@contextlib.contextmanager
def quota(name: str, share: float | None) -> Iterator[Path]:
    """A cgroup whose processes get no more than a share of a core (None for no limit); yields the file that takes their numbers.

    It weighs four times as much as an ordinary process, so that a node has its quota where others work, too.
    """
    is_first = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists()
    group = Path("/sys/fs/cgroup/cpu" if is_first else "/sys/fs/cgroup") / name
    group.mkdir()
    try:
        if is_first:  # version 1 of cgroups
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(round(PERIOD * share)) if share else "-1")
            (group / "cpu.shares").write_text("4096")
        else:
            (group / "cpu.max").write_text(f"{round(PERIOD * share) if share else 'max'} {PERIOD}")
            (group / "cpu.weight").write_text("400")
        yield group / "cgroup.procs"
    finally:
        for _ in range(50):  # its last process may be on its way out
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)
        else:
            print(f"{group} could not be removed", file=sys.stderr)


def ip(*words: str) -> None:
    ran = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {ran.stderr.strip()}")


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)  # its end of each pair goes with it, and so the other


def join(one: str | None, other: str, number: int, mark: int) -> None:
    """A cable between two namespaces (None is ours): 10.77.N.1 at the one end, 10.77.N.2 at the other."""
    ends = (f"cb{mark}a{number}", f"cb{mark}b{number}")
    ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    for end, space, host in ((ends[0], one, 1), (ends[1], other, 2)):
        within = ["-n", space] if space else []
        if space:
            ip("link", "set", end, "netns", space)
        ip(*within, "addr", "add", f"10.77.{number}.{host}/24", "dev", end)
        ip(*within, "link", "set", end, "up")


@contextlib.contextmanager
def process(command: list[str], log: Path, into: Path | None = None, folder: Path = APPS) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a group of its own, and in a cgroup; ended at the end."""

    def prepare() -> None:
        if into is not None:
            into.write_text(str(os.getpid()))

    with log.open("wb") as file:
        started = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, stdin=subprocess.DEVNULL, preexec_fn=prepare, start_new_session=True)
    try:
        yield started
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(5)


NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream nodes {{
        least_conn;
{servers}
        keepalive 64;
    }}
    server {{
        listen 8080;
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} after {seconds:.0f} s")
        time.sleep(0.1)


def answers(url: str, space: str | None = None) -> bool:
    """Whether something answers 200, asked within a namespace."""
    code = f"import urllib.request as u; u.urlopen({url!r}, timeout=3).read()"
    within = ["ip", "netns", "exec", space] if space else []
    return subprocess.run([*within, sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def nodes(rounds: int, seconds: int, folder: Path) -> dict[int, list[Sample]]:
    """1, 2 and 4 nodes behind nginx."""
    mark = os.getpid()
    with contextlib.ExitStack() as stack:
        balancer = stack.enter_context(namespace(f"carboy-bench-{mark}-balancer"))
        balancers = stack.enter_context(quota(f"carboy-bench-{mark}-balancer", None))
        join(None, balancer, 0, mark)
        started = []
        for number in range(1, SIZES[-1] + 1):
            space = stack.enter_context(namespace(f"carboy-bench-{mark}-node{number}"))
            join(balancer, space, number, mark)
            procs = stack.enter_context(quota(f"carboy-bench-{mark}-node{number}", QUOTA))
            command = ["ip", "netns", "exec", space, sys.executable, "-m", "carboy", "run", "carboy_busy:app", "-h", "0.0.0.0", "-p", "8000"]
            command += ["--workers", "1", "--log-level", "error", "--control", "off"]
            started.append(stack.enter_context(process(command, folder / f"node{number}.log", procs)))
        for number in range(1, SIZES[-1] + 1):
            log = folder / f"node{number}.log"
            until(
                lambda number=number: answers(f"http://10.77.{number}.2:8000/busy", balancer),
                f"node {number} does not answer ({log.read_text()[-500:]})",
            )
        pids = [processes_of(each.pid) for each in started]

        def sample(count: int) -> Sample:
            with contextlib.ExitStack() as ends:
                lines = "\n".join(f"        server 10.77.{number}.2:8000;" for number in range(1, count + 1))
                (folder / "nginx.conf").write_text(NGINX.format(folder=folder, servers=lines))
                command = ["ip", "netns", "exec", balancer, "nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.error.log")]
                ends.enter_context(process(command, folder / "nginx.log", balancers))
                url = "http://10.77.0.2:8080/busy"
                until(lambda: answers(url), "nginx does not answer", 15)
                wrk(url, 1)
                asked = [pid for group in pids[:count] for pid in group]
                before, begin = processor_seconds(asked), time.monotonic()
                rate = wrk(url, seconds)
                return rate, (processor_seconds(asked) - before) / (time.monotonic() - begin)

        return in_turn(SIZES, rounds, sample, "nodes")


# -- the page ----------------------------------------------------------------------------------------


def table(found: dict[int, list[Sample]], what: str, goal: float) -> str:
    """Rates of each size and the ratio to the size before."""
    ratios = {many: (ratio, width) for _, many, ratio, width in doublings(found)}
    lines = [f"| {what} | requests per second | cores used | requests per CPU-second | beside the row above | wanted |", "|---:|---:|---:|---:|---:|---|"]
    for size, samples in found.items():
        rate, used = (statistics.median(values) for values in zip(*samples, strict=True))
        if size in ratios:
            ratio, width = ratios[size]
            verdict = f"≥ {goal} ×: {'holds' if ratio >= goal else '**does not hold in this run**'}"
            lines.append(f"| {size} | {rate:.1f} | {used:.2f} | {rate / used:.0f} | {ratio:.2f} × ± {width:.2f} | {verdict} |")
        else:
            lines.append(f"| {size} | {rate:.1f} | {used:.2f} | {rate / used:.0f} | | |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15, help="of each timed run; in its first, connections are shared out")
    parser.add_argument("--no-write", action="store_true", help="print; leave the docs as they are")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the load comes from wrk: apt-get install wrk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is taken away then, too
    load_before = os.getloadavg()[0]
    reason = why_no_nodes()
    with tempfile.TemporaryDirectory(prefix="bench-scaling-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is somebody else
        parts = []
        for more in ([], ["--pin"]):
            found = workers(options.rounds, options.seconds, folder, *more)
            parts.append(table(found, " ".join(["workers", *more]), WORKERS_GOAL))
        if reason:
            print(f"nodes are left out: {reason}", file=sys.stderr)
        else:
            parts.append(table(nodes(options.rounds, options.seconds, folder), "nodes", NODES_GOAL))
    text = (
        f"{time.strftime('%Y-%m-%d')}, {platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, load average"
        f" {load_before:.1f} before and {os.getloadavg()[0]:.1f} after; medians of {options.rounds} rounds of {options.seconds} s, wrk with"
        f" {CONNECTIONS} connections, {QUOTA:.0%} of a core a node."
    )
    if load_before > BUSY:
        text += "\n\n**The machine was busy with other work**: where others take a core, a second worker has none."
    text += "\n\n" + "\n\n".join(parts)
    print(text)
    if reason is None and not options.no_write:
        pages.put(PAGE, "scaling", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
