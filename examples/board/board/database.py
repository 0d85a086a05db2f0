"""The way to SQLite: one connection a request, more of them where an async view asks several things at once.

SQL itself stands in the ``queries.py`` of each package, as functions whose first parameter is the
connection. Nothing there knows of requests, so commands, tests and threads use the same functions.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from carboy import Carboy, current_app, g

P = ParamSpec("P")
T = TypeVar("T")

Query = Callable[Concatenate[sqlite3.Connection, P], T]


def init_app(app: Carboy) -> None:
    """Make the tables if they are not there, and close each request's connection at its end."""
    with app.app_context(), app.open_resource("schema.sql") as schema, closing(connect()) as db:
        db.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer; kept in the file
        # Workers start together: the first takes the write lock, the others wait and find all made.
        db.executescript(f"BEGIN IMMEDIATE; {schema.read().decode()} COMMIT;")
    app.teardown_appcontext(close)


def connect() -> sqlite3.Connection:
    """Open a connection to this app's database; the caller closes it."""
    path: Path = current_app.config["DATA"] / "board.sqlite"
    # Behind an async view, hooks and teardown may run in different threads, one after the other,
    # never at once. SQLite is built for that; only Python's own check stands in the way.
    db = sqlite3.connect(path, timeout=10, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")  # safe with WAL, and much faster than FULL
    return db


def get_db() -> sqlite3.Connection:
    """Return the connection of this request, opened when first asked for."""
    if "db" not in g:
        g.db = connect()
    return g.db


async def ask(query: Query[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Await a query in a worker thread, on a connection of its own.

    One connection answers one question at a time; ``asyncio.gather(ask(a), ask(b))`` asks both at once.
    """

    def answer() -> T:
        with closing(connect()) as db:
            return query(db, *args, **kwargs)

    return await asyncio.to_thread(answer)


def close(error: BaseException | None = None) -> None:
    """Close the connection of this request, if there is one."""
    db = g.pop("db", None)
    if db is not None:
        db.close()
