"""What does it take to serve 100,000 requests a minute? The board's front page at that rate, for a minute, on two cores.

Run it as `make bench-board` or `python bench/front_page.py`. The page is that of somebody who is logged in: a signed
session, SQL queries (they are counted here), a template, compression. `carboy run` serves it with its defaults, each of two
workers with a processor of its own (`--pin`); the load (`steady.py`) runs on the same two cores and sends at a constant
rate. The figures go to docs/what-does-it-take.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pages
from servers import Server, free_port, memory_mib, processor_seconds

ROOT = Path(__file__).parent.parent
BOARD = ROOT / "examples" / "board"
PAGE = ROOT / "docs" / "what-does-it-take.md"
STEADY = Path(__file__).parent / "steady.py"
RATE = 100_000 / 60
LATEST = 100.0  # ms, the goal for p99
#: What a browser says that follows a link on the board.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
BUSY = 0.7  # load before the run, above which others were at work

COUNT = """
import json, sqlite3, sys
from board import create_app
import board.database as database
seen, connect = [], sqlite3.connect
def watched(*args, **kwargs):
    made = connect(*args, **kwargs)
    made.set_trace_callback(seen.append)
    return made
database.sqlite3.connect = watched
app = create_app()
client = app.test_client()
name, _, value = sys.argv[1].partition("=")
client.set_cookie(name, value)
client.get("/")
seen.clear()
answer = client.get("/", headers=json.loads(sys.argv[2]))
assert answer.status_code == 200, answer.status
print(json.dumps({"queries": [" ".join(sql.split())[:90] for sql in seen if sql.strip().upper().startswith("SELECT")],
    "encoding": answer.headers.get("Content-Encoding", "not compressed"), "renewed": "Set-Cookie" in answer.headers}))
"""


def seeded(python: str, environment: dict[str, str]) -> None:
    """Fill the board with its demo."""
    subprocess.run([python, "-m", "carboy", "board", "seed"], cwd=BOARD, env=environment, check=True, capture_output=True)


def people(environment: dict[str, str]) -> list[str]:
    import sqlite3

    with sqlite3.connect(Path(environment["BOARD_DATA"]) / "board.sqlite") as db:
        return [name for (name,) in db.execute("SELECT name FROM users ORDER BY id")]


def cookie_of(port: int, name: str) -> str:
    """Log somebody in, and look at the front page once, so that the greeting is no part of what is measured."""
    form = urllib.parse.urlencode({"name": name, "password": "fermentation"})
    cookie = ""
    for method, path, body in (("POST", "/login", form), ("GET", "/", None)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Content-Type": "application/x-www-form-urlencoded", **({"Cookie": cookie} if cookie else {})}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status not in (200, 302):
            raise SystemExit(f"{method} {path} for {name} gave {answer.status}")
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return cookie


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Serve, load, and say what came of it."""
    python = sys.executable
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-board-") as name:
        environment = {**os.environ, "BOARD_DATA": str(Path(name) / "data"), "CARBOY_ENV": "production"}
        seeded(python, environment)
        port = free_port()
        command = [python, "-m", "carboy", "run", "-h", "127.0.0.1", "-p", str(port), "--workers", str(options.workers), *options.more, "--log-level", "error"]
        cores = set(range(os.cpu_count() or 1)[:2])
        server = Server(command, port, cores, Path(name) / "log", folder=BOARD, environment=environment)
        try:
            server.wait_for_answer()
            time.sleep(1)  # every worker, not only the first
            cookies = [cookie_of(port, person) for person in people(environment)]
            ran = subprocess.run([python, "-c", COUNT, cookies[0], json.dumps(HEADERS)], cwd=BOARD, env=environment, check=False, capture_output=True, text=True)
            if ran.returncode:
                raise SystemExit(f"the queries could not be counted: {ran.stderr.strip()}")
            page = json.loads(ran.stdout)
            server.wait_for_answer()
            before = server.processor_seconds()
            order = {
                "host": "127.0.0.1", "port": port, "path": "/", "rate": options.rate, "seconds": options.seconds, "headers": HEADERS, "cookies": cookies,
                "must_have": "Log out", "connections": options.connections, "warm_seconds": options.warm,
            }  # fmt: skip
            driver = subprocess.run(
                [python, str(STEADY)],
                input=json.dumps(order),
                capture_output=True,
                text=True,
                check=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
            used = processor_seconds(server.pids) - before
            memory = memory_mib(server.pids)
        finally:
            server.stop()
    found: dict[str, Any] = json.loads(driver.stdout)
    # What has come late was served late: the time that it took is longer than what was asked for.
    whole = found["seconds"] + options.warm
    return {
        **found,
        **page,
        "rate": options.rate,
        "workers": " ".join([str(options.workers), *options.more]),
        "connections": options.connections,
        "asked_seconds": options.seconds,
        "server_cores": used / whole,
        "driver_cores": found["processor_seconds"] / whole,
        "server_ms": used / max(found["whole"], 1) * 1000,
        "memory": memory,
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }


def text(found: dict[str, Any]) -> str:
    """The figures as they stand in the page."""
    wrong = sum(found["errors"].values())
    kinds = ", ".join(f"{kind}: {count}" for kind, count in found["errors"].items())
    holds = not wrong and found["p99"] < LATEST
    rows = [
        ("requests", f"{found['sent']:,} in {found['asked_seconds']:.0f} s: {found['rate']:,.0f} a second, {found['rate'] * 60:,.0f} a minute"),
        ("answered right", f"{found['answered']:,}"),
        ("errors", f"{wrong:,}" + (f" ({kinds})" if kinds else "")),
        ("time of an answer, p50", f"{found['p50']:.1f} ms"),
        ("p99", f"{found['p99']:.1f} ms"),
        ("p99.9", f"{found['p999']:.1f} ms"),
        ("the longest", f"{found['most']:.0f} ms"),
        ("of that the driver's own delay, p99", f"{found['late_p99']:.1f} ms"),
        ("processor time of the servers", f"{found['server_cores']:.2f} cores, {found['server_ms']:.2f} ms a request"),
        ("so that two cores are full at about", f"{(2 - found['driver_cores']) / found['server_ms'] * 1000:,.0f} requests a second"),
        ("processor time of the load driver", f"{found['driver_cores']:.2f} cores"),
        ("memory of a worker", f"{found['memory']:.0f} MiB"),
        ("an answer on the wire", f"{found['body'] / 1000:.1f} kB ({found['encoding']})"),
    ]
    busy = ""
    if found["load_before"] > BUSY:
        busy = f"\n\n**The machine was busy with other work** (load average {found['load_before']:.1f} before the run): times of answers are longer than on a quiet one."
    shown = [re.sub(r"'[^']*'?", "'…'", sql) for sql in found["queries"]]  # the values are nobody's business
    queries = "\n".join(f"{number}. `{sql} …`" for number, sql in enumerate(shown, 1))
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.python_implementation()} {platform.python_version()}, two cores for everything (`carboy run --workers"
        f" {found['workers']}`, the load driver, SQLite), {found['connections']} connections, load average {found['load_before']:.1f} before and"
        f" {found['load_after']:.1f} after.{busy}\n\n| | |\n|---|---|\n"
        + "\n".join(f"| {what} | {value} |" for what, value in rows)
        + f"\n\nThe goal, no error and a p99 below {LATEST:.0f} ms: {'it holds' if holds else '**it does not hold in this run**'}."
        f"\n\nWhat the page asked of SQLite, counted in the same run ({len(found['queries'])} queries):\n\n{queries}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second (100,000 a minute)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm", type=float, default=5, help="seconds at the same rate before, which do not count")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-pin", action="store_const", dest="more", const=[], default=["--pin"], help="leave the workers to the system's scheduler")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--no-write", action="store_true", help="print; leave the docs as they are")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end then, too
    found = measure(options)
    shown = text(found)
    print(shown)
    if not options.no_write:
        pages.put(PAGE, "front page", shown)
    return 0 if not found["errors"] else 1


if __name__ == "__main__":
    sys.exit(main())
