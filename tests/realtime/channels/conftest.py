"""The brokers that the conformance tests run against, each with several workers of one application."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import carboy
from carboy.realtime.channels import Channels, Message

sys.path.insert(0, str(Path(__file__).parent))
try:
    from servers import Postgres, Redis, find_postgres
finally:
    sys.path.pop(0)

BROKERS = ("memory", "host", "redis", "postgres")
REDIS = os.environ.get("CARBOY_TEST_REDIS", "redis://127.0.0.1:6379/5")
POSTGRES = os.environ.get("CARBOY_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")


class World:
    """One application on one broker, in several workers: channels that know nothing of each other but the broker."""

    def __init__(self, kind: str, url: str, name: str) -> None:
        self.kind = kind
        self.url = url
        self.name = name
        self.opened: list[Channels] = []

    def worker(self, **config: Any) -> Channels:
        """Channels of one more worker; through `memory://` there is one process, and so one."""
        if self.kind == "memory" and self.opened:
            return self.opened[0]
        app = carboy.Carboy(self.name)
        app.config["CHANNELS_URL"] = self.url
        app.config.update({f"CHANNELS_{key.upper()}": value for key, value in config.items()})
        channels = Channels(app)
        self.opened.append(channels)
        return channels

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[World]:
        try:
            yield self
        finally:
            # The hub leaves last, so that a test of something else does not wait for an election.
            for channels in reversed(self.opened):
                await channels.close()
            self.opened.clear()


def postgres_is_there() -> bool:
    import psycopg

    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(POSTGRES, connect_timeout=3):
        return True
    return False


def redis_is_there() -> bool:
    import redis

    with contextlib.suppress(redis.ConnectionError), redis.Redis.from_url(REDIS, socket_connect_timeout=3) as client:
        return bool(client.ping())
    return False


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that runs here, or one of the tests' own."""
    pytest.importorskip("redis", reason="the library redis is not installed")
    if redis_is_there():
        yield REDIS
        return
    if shutil.which("redis-server") is None:
        pytest.skip(f"no Redis answers at {REDIS} (CARBOY_TEST_REDIS names another), and redis-server is not installed")
    server = Redis(tmp_path_factory.mktemp("redis"), keeps=False)
    server.start()
    yield server.url
    server.kill()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL that runs here, or one of the tests' own."""
    pytest.importorskip("psycopg", reason="the library psycopg is not installed")
    if postgres_is_there():
        yield POSTGRES
        return
    binaries = find_postgres()
    if binaries is None:
        pytest.skip(f"no PostgreSQL answers at {POSTGRES} (CARBOY_TEST_POSTGRES names another), and its server is not installed")
    with tempfile.TemporaryDirectory(prefix="carboy-postgres-") as folder:
        server = Postgres(Path(folder), binaries)
        server.start()
        try:
            yield server.url
        finally:
            server.kill()


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.service) if kind in ("redis", "postgres") else kind for kind in BROKERS])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An application of its own on each broker."""
    kind = str(request.param)
    url = "memory://" if kind == "memory" else f"host://{tmp_path / 'bus'}" if kind == "host" else request.getfixturevalue(f"{kind}_url")
    world = World(kind, url, f"test-{uuid.uuid4().hex[:12]}")
    yield world
    # The server may be somebody's own.
    if kind == "redis":
        import redis

        with redis.Redis.from_url(url) as client:
            if left := list(client.scan_iter(match=f"carboy:{{{world.name}}}:*", count=1000)):
                client.delete(*left)
    elif kind == "postgres":
        import psycopg

        with psycopg.connect(url) as connection:
            for table in ("messages", "workers", "presence"):
                connection.execute(f"DELETE FROM carboy_{table} WHERE app = %s", (world.name,))


async def take(messages: Any, count: int, within: float = 10.0) -> list[Message]:
    """The next *count* messages."""
    found: list[Message] = []
    async with asyncio.timeout(within):
        while len(found) < count:
            found.append(await anext(messages))
    return found


async def nothing(messages: Any, during: float = 0.2) -> None:
    """Nothing comes for a while."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(during):
            raise AssertionError(f"came: {await anext(messages)}")


async def eventually(question: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until the answer, awaited, is true."""
    async with asyncio.timeout(within):
        while not await question():
            await asyncio.sleep(0.02)
