"""The questions to the database with psycopg and its pool, the same for every framework with `def` views; as `rows_asyncpg.py`."""

from __future__ import annotations

import threading
from random import randint, sample
from typing import Any

import rows
from psycopg_pool import ConnectionPool

ONE = f"SELECT id, randomnumber FROM {rows.SCHEMA}.world WHERE id = %s"
ALL = f"SELECT id, message FROM {rows.SCHEMA}.fortune"
UPDATE = f"UPDATE {rows.SCHEMA}.world SET randomnumber = %s WHERE id = %s"

kept: Any = None
making = threading.Lock()


def pool() -> Any:
    """The pool of this process, made by the first who asks."""
    global kept
    if kept is None:
        with making:
            if kept is None:
                kept = ConnectionPool(rows.DATABASE, min_size=1, max_size=6, kwargs={"autocommit": True}, open=True)
    return kept


def shown(row: Any) -> dict[str, int]:
    return {"id": row[0], "randomNumber": row[1]}


def one() -> dict[str, int]:
    with pool().connection() as db:
        return shown(db.execute(ONE, (randint(1, rows.COUNT),)).fetchone())


def many(count: int) -> list[dict[str, int]]:
    """One query for each row, as the rules want it."""
    with pool().connection() as db:
        return [shown(db.execute(ONE, (number,)).fetchone()) for number in sample(range(1, rows.COUNT + 1), count)]


def fortunes() -> list[dict[str, Any]]:
    with pool().connection() as db:
        found = [{"id": row[0], "message": row[1]} for row in db.execute(ALL).fetchall()]
    found.append({"id": 0, "message": rows.ADDED})
    found.sort(key=lambda fortune: fortune["message"])
    return found


def updates(count: int) -> list[dict[str, int]]:
    """Read each row by itself, then write all; in the order of their ids, so that two requests never wait for each other."""
    with pool().connection() as db:
        found = [shown(db.execute(ONE, (number,)).fetchone()) for number in sorted(sample(range(1, rows.COUNT + 1), count))]
        for row in found:
            row["randomNumber"] = randint(1, rows.COUNT)
        with db.cursor() as cursor:
            cursor.executemany(UPDATE, [(row["randomNumber"], row["id"]) for row in found])
    return found
