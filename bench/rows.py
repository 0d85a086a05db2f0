"""The tables that the database workloads ask: what is in them, how they are made. Needs psycopg; the contestants' side is `apps/`.

They stand in a schema of their own, `carboy_bench`, which goes again at the end.
"""

from __future__ import annotations

import os
import random
from typing import Any

DATABASE = os.environ.get("BENCH_DATABASE") or "postgresql://postgres@127.0.0.1:5432/test"
SCHEMA = "carboy_bench"
COUNT = 10_000
#: One of them must be escaped, one is not ASCII.
FORTUNES = (
    "A brine that tastes of the sea is about right.",
    "Cabbage forgives nearly everything.",
    "He who lifts the lid every day eats no pickles.",
    "If it is fuzzy, it is not yours any more.",
    "Keep it under the brine & you will be fine.",
    "Never trust a thermometer you have not boiled.",
    "Patience is the cheapest ingredient.",
    "The jar knows when it is done.",
    "Two crocks are better than one.",
    "What bubbles today is still tomorrow.",
    "<script>alert('a cookie, please')</script>",
    "ぬか床は毎日混ぜること。",
)
#: The one that each request adds to those of the table.
ADDED = "An additional fortune, made while you waited."


def connect() -> Any:
    import psycopg

    return psycopg.connect(DATABASE, autocommit=True, connect_timeout=5)


def make() -> None:
    """Make and fill the tables."""
    with connect() as db:
        db.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        db.execute(f"CREATE SCHEMA {SCHEMA}")
        db.execute(f"CREATE TABLE {SCHEMA}.world (id integer PRIMARY KEY, randomnumber integer NOT NULL)")
        db.execute(f"CREATE TABLE {SCHEMA}.fortune (id integer PRIMARY KEY, message text NOT NULL)")
        with db.cursor() as cursor:
            with cursor.copy(f"COPY {SCHEMA}.world FROM STDIN") as copy:
                for number in range(1, COUNT + 1):
                    copy.write_row((number, random.randint(1, COUNT)))
            cursor.executemany(f"INSERT INTO {SCHEMA}.fortune VALUES (%s, %s)", list(enumerate(FORTUNES, 1)))
        db.execute(f"ANALYZE {SCHEMA}.world, {SCHEMA}.fortune")


def drop() -> None:
    """Take the tables away."""
    with connect() as db:
        db.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def stored(ids: list[int]) -> dict[int, int]:
    """The numbers that stand in the table, by id."""
    with connect() as db:
        return dict(db.execute(f"SELECT id, randomnumber FROM {SCHEMA}.world WHERE id = ANY(%s)", (ids,)).fetchall())
