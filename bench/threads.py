"""What does it give that a worker finds out how many threads are to work? `def` views of five kinds, with and without.

Run it as `python bench/threads.py`. Each server has the threads of the default, on two cores, with wrk beside it; the sizes are
measured in turn, several rounds. It prints a table (docs/production.md has one) and changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from scaling import APPS, Sample, wrk
from servers import Server, free_port, processes_of

CONNECTIONS = 64
VIEWS = {
    "/sqlite": "three queries to SQLite and a template",
    "/compute": "computes for some ms",
    "/both": "by turns 0.25 ms of computing and 2 ms of waiting, four times",
    "/wait": "waits for 20 ms",
    "/json": "hello world",
}


def sample(server: Server, path: str, seconds: int) -> Sample:
    """Requests per second and cores used."""
    before, began = server.processor_seconds(), time.monotonic()
    rate = wrk(f"http://127.0.0.1:{server.port}{path}", seconds, CONNECTIONS)
    return rate, (server.processor_seconds() - before) / (time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each timed run")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the load comes from wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="bench-threads-") as name, contextlib.ExitStack() as ends:
        servers: dict[tuple[int, str], Server] = {}
        for workers in (1, 2):
            for threads in ("all", "found"):
                port = free_port()
                command = [sys.executable, "-m", "carboy", "run", "carboy_threads:app", "-h", "127.0.0.1", "-p", str(port)]
                command += ["--workers", str(workers), "--log-level", "warning", "--control", "off"]
                server = Server(command, port, {0, 1}, Path(name) / f"{workers}-{threads}.log", folder=APPS, environment={"BENCH_THREADS": threads, "TMPDIR": name})
                ends.callback(server.stop)
                server.wait_for_answer()
                servers[workers, threads] = server
        time.sleep(2)  # every worker, not only the first
        for server in servers.values():
            server.pids = processes_of(server.process.pid)
        found: dict[tuple[str, int, str], list[Sample]] = {}
        for number in range(options.rounds):
            for path in VIEWS:
                for (workers, threads), server in list(servers.items())[:: 1 if number % 2 == 0 else -1]:
                    wrk(f"http://127.0.0.1:{server.port}{path}", 1, CONNECTIONS)
                    found.setdefault((path, workers, threads), []).append(sample(server, path, options.seconds))
                    print(f"round {number + 1} of {options.rounds}: {path}, {workers} workers, {threads}: {found[path, workers, threads][-1][0]:.0f} a second", file=sys.stderr)
    print("| `def` view | workers | all threads work | as many as are found right | |\n|---|---:|---:|---:|---:|")
    for path, what in VIEWS.items():
        for workers in (1, 2):
            rates = {threads: statistics.median(rate for rate, _ in found[path, workers, threads]) for threads in ("all", "found")}
            cores = {threads: statistics.median(used for _, used in found[path, workers, threads]) for threads in ("all", "found")}
            cells = [f"{rates[threads]:,.0f} a second, {cores[threads]:.2f} cores" for threads in ("all", "found")]
            print(f"| {what} | {workers} | {cells[0]} | {cells[1]} | {rates['found'] / rates['all']:.2f} × |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
