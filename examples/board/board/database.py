"""The way to SQLite: one connection a request, more where an async view asks several things at once.

SQL itself stands in the ``queries.py`` of each package, as functions whose first parameter is the
connection. Nothing there knows of requests, so commands, tests and threads use the same functions.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from carboy import Carboy, current_app, g

from .once import made_once

P = ParamSpec("P")
T = TypeVar("T")


class Connections:
    """The connections of one app: lent to a request, taken back, lent again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.idle: deque[sqlite3.Connection] = deque()  # opening one costs more than most queries

    def take(self) -> sqlite3.Connection:
        """Lend a connection; whoever takes it gives it back."""
        try:
            return self.idle.pop()
        except IndexError:
            return self.open()

    def give_back(self, db: sqlite3.Connection) -> None:
        """Take a connection back; what it has not committed is undone."""
        db.rollback()
        self.idle.append(db)

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for the length of a ``with``."""
        db = self.take()
        try:
            yield db
        finally:
            self.give_back(db)

    def open(self) -> sqlite3.Connection:
        """Open one more connection."""
        # It will be used by many threads, one after the other, never by two at once. SQLite is built
        # for that; only Python's own check stands in the way.
        db = sqlite3.connect(self.path, timeout=10, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = NORMAL")  # safe with WAL, and much faster than FULL
        return db


def init_app(app: Carboy) -> None:
    """Make the tables if they are not there, and take each request's connection back at its end."""
    connections = Connections(made_once(app.config["DATA"] / "board.sqlite", write_empty))
    app.extensions["board.connections"] = connections
    # Closed at once, not kept: a server may fork after this, and SQLite forbids to carry one along.
    with app.open_resource("schema.sql") as schema, closing(connections.open()) as db:
        # Workers start together: the first takes the write lock, the others wait and find all made.
        db.executescript(f"BEGIN IMMEDIATE; {schema.read().decode()} COMMIT;")
    app.teardown_appcontext(give_back)


def write_empty(path: Path) -> None:
    """Write a database in which readers do not wait for the writer; the file remembers that."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")


def get_db() -> sqlite3.Connection:
    """Return the connection of this request, taken when first asked for."""
    if "db" not in g:
        g.db = connections().take()
    return g.db


async def ask(query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Await a query in a worker thread, on a connection of its own.

    One connection answers one question at a time; ``asyncio.gather(ask(a), ask(b))`` asks both at once.
    """

    def answer() -> T:
        with connections().lent() as db:
            return query(db, *args, **kwargs)

    return await asyncio.to_thread(answer)


def connections() -> Connections:
    """Return the connections of the present app."""
    found: Connections = current_app.extensions["board.connections"]
    return found


def give_back(error: BaseException | None = None) -> None:
    """Give back the connection of this request, if it took one."""
    if "db" in g:
        connections().give_back(g.pop("db"))
