"""The questions to the database with asyncpg, the same for every framework with async views; what is measured is what stands around them."""

from __future__ import annotations

import asyncio
from random import randint, sample
from typing import Any

import asyncpg
import rows

ONE = f"SELECT id, randomnumber FROM {rows.SCHEMA}.world WHERE id = $1"
ALL = f"SELECT id, message FROM {rows.SCHEMA}.fortune"
UPDATE = f"UPDATE {rows.SCHEMA}.world SET randomnumber = $2 WHERE id = $1"

kept: Any = None
making: asyncio.Lock | None = None


async def pool() -> Any:
    """The pool of this process, made by the first who asks."""
    global kept, making
    if kept is None:
        making = making or asyncio.Lock()
        async with making:
            if kept is None:
                kept = await asyncpg.create_pool(rows.DATABASE, min_size=1, max_size=6)
    return kept


def shown(row: Any) -> dict[str, int]:
    return {"id": row[0], "randomNumber": row[1]}


async def one() -> dict[str, int]:
    async with (await pool()).acquire() as db:
        return shown(await db.fetchrow(ONE, randint(1, rows.COUNT)))


async def many(count: int) -> list[dict[str, int]]:
    """One query for each row, as the rules want it."""
    async with (await pool()).acquire() as db:
        return [shown(await db.fetchrow(ONE, number)) for number in sample(range(1, rows.COUNT + 1), count)]


async def fortunes() -> list[dict[str, Any]]:
    async with (await pool()).acquire() as db:
        found = [{"id": row[0], "message": row[1]} for row in await db.fetch(ALL)]
    found.append({"id": 0, "message": rows.ADDED})
    found.sort(key=lambda fortune: fortune["message"])
    return found


async def updates(count: int) -> list[dict[str, int]]:
    """Read each row by itself, then write all; in the order of their ids, so that two requests never wait for each other."""
    async with (await pool()).acquire() as db:
        found = [shown(await db.fetchrow(ONE, number)) for number in sorted(sample(range(1, rows.COUNT + 1), count))]
        for row in found:
            row["randomNumber"] = randint(1, rows.COUNT)
        await db.executemany(UPDATE, [(row["id"], row["randomNumber"]) for row in found])
    return found
