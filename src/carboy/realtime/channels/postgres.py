"""`postgresql://`: a table is the log, LISTEN/NOTIFY is the bell.

Publications of an application follow one another under an advisory lock: ids are given, and become visible, in one
order, so that nobody reads past a message that is committed late. (NOTIFY serializes commits anyhow.) A notification
carries the message itself where it is short, and is only the bell where it is long. Presence is a table too, kept alive
by a heartbeat of each worker; anybody's heartbeat clears away the workers that have stopped.

The tables (`carboy_messages`, `carboy_workers`, `carboy_presence`) are made at the first use, in the first schema of
the search path, and are unlogged: after a crash of PostgreSQL they are empty, as a cache is.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import random
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg

from .broker import Listener
from .errors import ChannelsError, Unreachable
from .message import ORIGIN, Backlog, Entry, position
from .presence import Stay
from .settings import Settings, place_of
from .upkeep import Upkeep, together, words_of

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

#: Connections for commands, of each event loop; one more listens.
CONNECTIONS = 4
#: Seconds to be connected in.
CONNECT = 3
#: One publication in so many looks whether its topic is longer than it is to be.
CUT = 64
#: Bytes of the longest body that a notification carries; it may have 8,000 in all, and base64 takes a third more.
CARRIED = 3000

_TABLES = """
CREATE UNLOGGED TABLE IF NOT EXISTS carboy_messages (
    app text NOT NULL, id bigint NOT NULL, topic text NOT NULL, before bigint NOT NULL,
    key text NOT NULL, kind text NOT NULL, body bytea NOT NULL, PRIMARY KEY (app, id));
CREATE INDEX IF NOT EXISTS carboy_messages_topic ON carboy_messages (app, topic, id);
CREATE UNLOGGED TABLE IF NOT EXISTS carboy_workers (
    app text NOT NULL, worker text NOT NULL, until timestamptz NOT NULL, PRIMARY KEY (app, worker));
CREATE UNLOGGED TABLE IF NOT EXISTS carboy_presence (
    app text NOT NULL, key text NOT NULL, topic text NOT NULL, worker text NOT NULL, stay bytea NOT NULL, PRIMARY KEY (app, key));
CREATE INDEX IF NOT EXISTS carboy_presence_topic ON carboy_presence (app, topic);
CREATE INDEX IF NOT EXISTS carboy_presence_worker ON carboy_presence (app, worker);
"""

# Ids are microseconds since 1970, or the number after the last.
_PUBLISH = """
WITH newest AS (SELECT coalesce(max(id), 0) AS id FROM carboy_messages WHERE app = %(app)s),
tail AS (SELECT coalesce(max(id), 0) AS id FROM carboy_messages WHERE app = %(app)s AND topic = %(topic)s),
twin AS (SELECT id FROM carboy_messages WHERE %(again)s AND app = %(app)s AND topic = %(topic)s AND key = %(key)s LIMIT 1),
added AS (
    INSERT INTO carboy_messages (app, id, topic, before, key, kind, body)
    SELECT %(app)s, greatest(newest.id + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
        %(topic)s, tail.id, %(key)s, %(kind)s, %(body)s
    FROM newest, tail WHERE NOT EXISTS (SELECT FROM twin)
    RETURNING id, before)
SELECT id, pg_notify(%(channel)s, json_build_array(id, before, %(key)s::text, %(kind)s::text, %(topic)s::text, %(carried)s::text)::text)::text
FROM added UNION ALL SELECT id, NULL FROM twin
"""

_CUT = """
DELETE FROM carboy_messages WHERE app = %(app)s AND topic = %(topic)s AND id <= (
    SELECT id FROM carboy_messages WHERE app = %(app)s AND topic = %(topic)s ORDER BY id DESC OFFSET %(count)s LIMIT 1)
"""

_FORGET = "DELETE FROM carboy_messages WHERE app = %(app)s AND id < (extract(epoch FROM now()) * 1000000)::bigint - %(age)s"

_READ = """
SELECT id, before, key, kind, body FROM carboy_messages
WHERE app = %(app)s AND topic = %(topic)s AND id > %(after)s AND id >= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - %(age)s
ORDER BY id DESC LIMIT %(count)s
"""

_TAILS = """
SELECT wanted.topic, (SELECT max(id) FROM carboy_messages m WHERE m.app = %(app)s AND m.topic = wanted.topic)
FROM unnest(%(topics)s::text[]) AS wanted (topic)
"""

_BEAT = """
INSERT INTO carboy_workers (app, worker, until) VALUES (%(app)s, %(worker)s, clock_timestamp() + make_interval(secs => %(lifetime)s))
ON CONFLICT (app, worker) DO UPDATE SET until = excluded.until
"""

_REAP = """
WITH dead AS (DELETE FROM carboy_workers WHERE app = %(app)s AND until < clock_timestamp() RETURNING worker),
lost AS (DELETE FROM carboy_presence USING dead WHERE app = %(app)s AND carboy_presence.worker = dead.worker RETURNING topic)
SELECT pg_notify(%(channel)s, json_build_array(topic)::text) FROM lost GROUP BY topic
"""

_GOODBYE = """
WITH lost AS (DELETE FROM carboy_presence WHERE app = %(app)s AND worker = %(worker)s RETURNING topic)
SELECT pg_notify(%(channel)s, json_build_array(topic)::text) FROM lost GROUP BY topic
"""

_OVER = """
WITH lost AS (DELETE FROM carboy_presence WHERE app = %(app)s AND worker = %(worker)s AND key <> ALL (%(keys)s::text[]) RETURNING topic)
SELECT pg_notify(%(channel)s, json_build_array(topic)::text) FROM lost GROUP BY topic
"""

_ENTER = """
INSERT INTO carboy_presence (app, key, topic, worker, stay) VALUES (%(app)s, %(key)s, %(topic)s, %(worker)s, %(stay)s)
ON CONFLICT (app, key) DO NOTHING
"""

_LEAVE = "DELETE FROM carboy_presence WHERE app = %(app)s AND key = %(key)s"
_CHANGED = "SELECT pg_notify(%(channel)s, json_build_array(%(topic)s::text)::text)"

_PEOPLE = """
SELECT stay FROM carboy_presence JOIN carboy_workers USING (app, worker)
WHERE app = %(app)s AND topic = %(topic)s AND until > clock_timestamp()
"""


class PostgresBroker:
    """A loop's access to PostgreSQL: some connections for commands, and one that listens.

    Args:
        name: the application's.
        settings: its URL says where.
    """

    wants_memories = False

    def __init__(self, name: str, settings: Settings) -> None:
        self.settings = settings
        self.where = place_of(settings.url)
        digest = hashlib.sha256(name.encode()).digest()
        #: A name for LISTEN and a number for the lock: PostgreSQL's names are short.
        self.channel = "carboy_" + digest.hex()[:32]
        self.lock = int.from_bytes(digest[:8], "big", signed=True)
        self.values: dict[str, Any] = {
            "app": name,
            "channel": self.channel,
            "worker": uuid.uuid4().hex,
            "age": int(settings.history_age * 1_000_000),
            "lifetime": settings.lifetime,
        }
        self.idle: list[Connection] = []
        self.listener: Listener
        #: Topics followed; notifications come for all of an application's.
        self.following: set[str] = set()
        self.is_listening = asyncio.Event()
        #: One word about presence at a time: what is said again as a whole must not arrive after what ended meanwhile.
        self.stating = asyncio.Lock()
        self.heard = 0.0
        self.is_first = True

    # -- life -------------------------------------------------------------------------------------

    async def open(self, listener: Listener) -> None:
        self.listener = listener
        self.commands = asyncio.Semaphore(CONNECTIONS)
        self.upkeep = Upkeep(self.attend, (psycopg.Error, OSError, TimeoutError, ChannelsError), self.hang_up)

    async def close(self) -> None:
        with contextlib.suppress(ChannelsError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self.execute(_GOODBYE)
                await self.execute("DELETE FROM carboy_workers WHERE app = %(app)s AND worker = %(worker)s")
        await self.upkeep.end()

    async def hang_up(self) -> None:
        while self.idle:
            await self.idle.pop().close()

    async def attend(self) -> None:
        """One connection's life."""
        connection = await self.connect()
        try:
            await self.set_up(connection)
            await connection.execute(f'LISTEN "{self.channel}"'.encode())
            self.heard = asyncio.get_running_loop().time()
            self.is_listening.set()
            is_first, self.is_first = self.is_first, False
            await together(self.listen(connection), self.beat(), *([] if is_first else [self.resume()]))
        finally:
            self.is_listening.clear()
            await connection.close()

    async def set_up(self, connection: Connection) -> None:
        """Make the tables, unless somebody has."""
        cursor = await connection.execute("SELECT to_regclass('carboy_presence_worker')")
        row = await cursor.fetchone()
        if row is not None and row[0] is not None:
            return
        async with connection.transaction():
            # Two workers at once: IF NOT EXISTS alone is no protection.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('carboy_channels'))")
            await connection.execute(_TABLES.encode())

    async def resume(self) -> None:
        await self.restate()
        await self.listener.resume()

    async def listen(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        async for notice in connection.notifies():
            self.heard = loop.time()
            told = json.loads(notice.payload)
            if len(told) == 1:
                self.listener.presence_changed(told[0])
            elif told:
                await self.ring(*told)

    async def ring(self, id_: int, before: int, key: str, kind: str, topic: str, carried: str | None) -> None:
        if topic not in self.following:
            return
        if carried is not None:
            self.listener.receive(topic, Entry(_text(id_), _text(before), key, kind, base64.b64decode(carried)))
            return
        rows = await self.execute("SELECT body FROM carboy_messages WHERE app = %(app)s AND id = %(id)s", id=id_)
        if rows:  # otherwise it is forgotten already; the next one tells that it is missing
            self.listener.receive(topic, Entry(_text(id_), _text(before), key, kind, rows[0][0]))

    async def beat(self) -> None:
        """Signs of life, in both directions.

        Raises:
            TimeoutError: the connection that listens has not heard even our own.
        """
        loop = asyncio.get_running_loop()
        beat = self.settings.heartbeat
        turn = 0
        while True:
            count = len(self.listener.stays)
            await self.execute(_BEAT)
            await self.execute(_REAP)
            await self.execute("SELECT pg_notify(%(channel)s, '[]')")
            rows = await self.execute("SELECT count(*) FROM carboy_presence WHERE app = %(app)s AND worker = %(worker)s")
            if rows[0][0] != count and rows[0][0] != len(self.listener.stays):
                await self.restate()
            if turn % 10 == 0:
                await self.execute(_FORGET)
            turn += 1
            await asyncio.sleep(beat * random.uniform(0.9, 1.0))
            if loop.time() - self.heard > beat * 3:
                raise TimeoutError("PostgreSQL is silent")

    async def restate(self) -> None:
        """Say again who is present in this worker: the table knows otherwise, or nothing at all."""
        async with self.stating:
            stays = tuple(self.listener.stays.values())
            await self.execute(_BEAT)
            # What is right stays where it is, so that nobody who looks meanwhile sees an empty room.
            await self.execute(_OVER, keys=[stay.key for _, stay in stays])
            for topic, stay in stays:
                await self.say_present(topic, stay)

    # -- the verbs --------------------------------------------------------------------------------

    async def publish(self, topic: str, key: str, kind: str, body: bytes, *, again: bool) -> str:
        carried = base64.b64encode(body).decode() if len(body) <= CARRIED else None
        values = {**self.values, "topic": topic, "key": key, "kind": kind, "body": body, "again": again, "carried": carried}
        async with self.connection() as connection:
            # One journey: the statements go out together.
            async with connection.pipeline(), connection.transaction():
                # It is a cache that must be quick: what a crash of the server loses is lost with the table anyhow.
                await connection.execute("SET LOCAL synchronous_commit = off")
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (self.lock,))
                cursor = await connection.execute(_PUBLISH.encode(), values)
            row = await cursor.fetchone()
            if random.randrange(CUT) == 0:
                await connection.execute(_CUT.encode(), {**values, "count": self.settings.history})
        if row is None:
            raise Unreachable(f"PostgreSQL at {self.where} has not taken a message")
        return _text(row[0])

    async def follow(self, wanted: Mapping[str, str | None]) -> dict[str, Backlog]:
        if not self.is_listening.is_set():
            raise Unreachable(f"PostgreSQL at {self.where} cannot be listened to: {self.upkeep.trouble}")
        # First: what is committed from here on is heard, so what is read here and what is heard overlap.
        self.following.update(wanted)
        tails = dict(await self.execute(_TAILS, topics=list(wanted)))
        found = {}
        for topic, after in wanted.items():
            tail = _text(tails[topic] or 0)
            is_behind = after is not None and position(tail) > position(after)
            found[topic] = Backlog(tail, await self.read(topic, after, 0) if is_behind else [])
        return found

    async def unfollow(self, topics: Sequence[str]) -> None:
        self.following.difference_update(topics)

    async def read(self, topic: str, after: str | None, count: int) -> list[Entry]:
        most = self.settings.history if after is not None else min(count, self.settings.history)
        rows = await self.execute(_READ, topic=topic, after=0 if after is None else _number(after), count=most)
        return [Entry(_text(id_), _text(before), key, kind, body) for id_, before, key, kind, body in reversed(rows)]

    async def enter(self, topic: str, stay: Stay) -> None:
        async with self.stating:
            await self.say_present(topic, stay)

    async def say_present(self, topic: str, stay: Stay) -> None:
        async with self.connection() as connection, connection.pipeline():
            values = {**self.values, "topic": topic, "key": stay.key, "stay": msgspec.json.encode(stay)}
            for text in (_BEAT, _ENTER, _CHANGED):
                await connection.execute(text.encode(), values)

    async def leave(self, topic: str, stay: Stay) -> None:
        async with self.stating, self.connection() as connection, connection.pipeline():
            for text in (_LEAVE, _CHANGED):
                await connection.execute(text.encode(), {**self.values, "topic": topic, "key": stay.key})

    async def people(self, topic: str) -> list[Stay]:
        return [msgspec.json.decode(stay, type=Stay) for (stay,) in await self.execute(_PEOPLE, topic=topic)]

    # -- inside -----------------------------------------------------------------------------------

    async def execute(self, text: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.connection() as connection:
            cursor = await connection.execute(text.encode(), {**self.values, **values})
            return await cursor.fetchall() if cursor.description is not None else []

    async def connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self.settings.url or "", autocommit=True, connect_timeout=CONNECT, application_name="carboy channels",
            keepalives_idle=5, keepalives_interval=2, keepalives_count=2,
        )  # fmt: skip

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """Lend a connection for commands; one on which something went wrong is not used again."""
        async with self.commands:
            connection: Connection | None = None
            try:
                if not self.is_listening.is_set() and not self.idle:
                    # The tables are made by who listens.
                    raise Unreachable(f"PostgreSQL at {self.where}: {self.upkeep.trouble}")
                connection = self.idle.pop() if self.idle else await self.connect()
                yield connection
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
                raise Unreachable(f"PostgreSQL at {self.where}: {words_of(error)}") from error
            except psycopg.Error as error:
                raise ChannelsError(f"PostgreSQL at {self.where} refuses: {error}") from error
            finally:
                if connection is not None:
                    status = connection.info.transaction_status
                    if not connection.closed and status == psycopg.pq.TransactionStatus.IDLE:
                        self.idle.append(connection)
                    else:
                        await connection.close()


def _text(id_: int) -> str:
    return f"{id_ // 1000}-{id_ % 1000}" if id_ else ORIGIN


def _number(id_: str) -> int:
    milliseconds, number = position(id_)
    return milliseconds * 1000 + number
