"""Carboy: `def` views that compute, wait, do both by turns, or ask SQLite; with all threads always at work if BENCH_THREADS=all."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from typing import Any

from carboy import Carboy, render_template_string
from carboy.pipeline import offload

if os.environ.get("BENCH_THREADS") == "all":
    offload.pool.watch = None  # nobody looks on, nobody is held back

app = Carboy("bench-threads", static_folder=None)
mine = threading.local()
ROWS = "<ul>{% for row in rows %}<li>{{ row[0] }}: {{ row[1] }}</li>{% endfor %}</ul>"


def database() -> sqlite3.Connection:
    """A connection of this thread to a table of its own process."""
    if not hasattr(mine, "database"):
        mine.database = sqlite3.connect(os.path.join(tempfile.gettempdir(), f"bench-threads-{os.getpid()}.sqlite"))
        mine.database.execute("PRAGMA journal_mode = WAL")
        mine.database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text TEXT)")
        mine.database.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?)", [(number, f"Row {number}") for number in range(100)])
        mine.database.commit()
    found: sqlite3.Connection = mine.database
    return found


def compute(rounds: int) -> int:
    total = 0
    for number in range(rounds):
        total += number * number % 7
    return total


@app.get("/json")
def hello() -> Any:
    return {"message": "Hello, World!"}


@app.get("/compute")
def computes() -> Any:
    return {"total": compute(110_000)}


@app.get("/wait")
def waits() -> Any:
    time.sleep(0.02)
    return {"waited": 20}


@app.get("/both")
def both() -> Any:
    total = 0
    for _ in range(4):
        total += compute(3_000)
        time.sleep(0.002)
    return {"total": total}


@app.get("/sqlite")
def asks() -> Any:
    queries = [database().execute("SELECT id, text FROM rows WHERE id >= ? ORDER BY id LIMIT 12", (start,)).fetchall() for start in (0, 30, 60)]
    return render_template_string(ROWS, rows=[row for rows in queries for row in rows])
