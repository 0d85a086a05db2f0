"""`redis://`: a stream a topic is the log, Pub/Sub is the bell. One Lua script does both, so they never disagree.

Pub/Sub alone loses what is sent while a connection is broken; reading ten thousand streams at once costs the more the
more topics there are. So each message is published with its id and the id before it, and whoever finds a gap, or has
connected anew, reads the stream. Presence is in hashes, kept alive by a heartbeat of each worker; anybody's heartbeat
clears away the workers that have stopped.

Keys begin with `carboy:{NAME}:`; the braces keep an application in one slot of a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import redis.asyncio as aredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError

from .broker import Listener
from .errors import ChannelsError, Unreachable
from .message import ORIGIN, Backlog, Entry
from .presence import Stay
from .settings import Settings, place_of
from .upkeep import Upkeep, together, words_of

#: How far back a repeated publication looks for the first one.
LOOK_BACK = 1000
#: Seconds to be connected in, and to wait for an answer.
CONNECT, ANSWER = 2.0, 5.0
#: Connections for commands.
CONNECTIONS = 16

# Adds an entry unless it is there already, and rings the bell.
# KEYS: stream, last id of all. ARGV: channel, head, body, count, age in ms, again, how far to look back.
_PUBLISH = """
if ARGV[6] == '1' then
  for _, found in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[7])) do
    if found[2][2] == ARGV[2] then return found[1] end
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ms, number = string.match(redis.call('GET', KEYS[2]) or '0-0', '(%d+)-(%d+)')
ms, number = tonumber(ms), tonumber(number)
if now > ms then ms, number = now, 0 else number = number + 1 end
local id = string.format('%.0f-%.0f', ms, number)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local before = newest[1] and newest[1][1] or '0-0'
redis.call('SET', KEYS[2], id)
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f-0', now - ARGV[5]))
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], id, 'h', ARGV[2], 'b', before, 'm', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[1], id .. ' ' .. before .. ' ' .. ARGV[2] .. '\\n' .. ARGV[3])
return id
"""

# The time, as an id: what is older than the history's age is not given, though its stream still has it.
# KEYS: none. ARGV: age in ms.
_OLDEST = """
local time = redis.call('TIME')
return string.format('%.0f-0', time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1])
"""

# KEYS: signs of life, what the worker has. ARGV: prefix, worker, lifetime in ms, then topic, key, stay for each.
_ENTER = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
for n = 4, #ARGV, 3 do
  redis.call('HSET', ARGV[1] .. 'here:' .. ARGV[n], ARGV[n + 1], ARGV[2] .. '\\n' .. ARGV[n + 2])
  redis.call('HSET', KEYS[2], ARGV[n + 1], ARGV[n])
  redis.call('PUBLISH', ARGV[1] .. 'changed', ARGV[n])
end
"""

# KEYS: what the worker has. ARGV: prefix, topic, key.
_LEAVE = """
redis.call('HDEL', KEYS[1], ARGV[3])
if redis.call('HDEL', ARGV[1] .. 'here:' .. ARGV[2], ARGV[3]) == 1 then
  redis.call('PUBLISH', ARGV[1] .. 'changed', ARGV[2])
end
"""

# A worker is gone: with all it had.
_GONE = """
local function gone(prefix, worker)
  local had = redis.call('HGETALL', prefix .. 'of:' .. worker)
  for n = 1, #had, 2 do
    redis.call('HDEL', prefix .. 'here:' .. had[n + 1], had[n])
    redis.call('PUBLISH', prefix .. 'changed', had[n + 1])
  end
  redis.call('DEL', prefix .. 'of:' .. worker)
  redis.call('ZREM', prefix .. 'alive', worker)
end
"""

# A sign of life; clears away those who have given none, and tells how much is known of this worker.
# KEYS: signs of life, what the worker has. ARGV: prefix, worker, lifetime in ms.
_BEAT = (
    _GONE
    + """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 20)) do
  gone(ARGV[1], worker)
end
return redis.call('HLEN', KEYS[2])
"""
)

# KEYS: signs of life. ARGV: prefix, worker.
_GOODBYE = _GONE + "gone(ARGV[1], ARGV[2])"

# Both in one script: nobody sees the room empty in between.
_RESTATE = _GONE + "gone(ARGV[1], ARGV[2])" + _ENTER

# The stays of a topic whose workers are alive.
# KEYS: who is here, signs of life.
_PEOPLE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, stay in ipairs(redis.call('HVALS', KEYS[1])) do
  local until_ = redis.call('ZSCORE', KEYS[2], string.match(stay, '^[^\\n]*'))
  if until_ and tonumber(until_) > now then found[#found + 1] = stay end
end
return found
"""


class RedisBroker:
    """A loop's access to Redis: some connections for commands, and one that listens.

    Args:
        name: the application's.
        settings: its URL says where.
    """

    wants_memories = False

    def __init__(self, name: str, settings: Settings) -> None:
        self.settings = settings
        self.prefix = f"carboy:{{{name}}}:"
        self.where = place_of(settings.url)
        self.worker = uuid.uuid4().hex
        self.age = int(settings.history_age * 1000)
        self.lifetime = int(settings.lifetime * 1000)
        self.listener: Listener
        self.client: aredis.Redis
        self.bell: AbstractConnection | None = None
        #: Channels listened to, each with what is done once Redis has confirmed it.
        self.listening: dict[str, asyncio.Future[None]] = {}
        self.writing = asyncio.Lock()
        #: One word about presence at a time: what is said again as a whole must not arrive after what ended meanwhile.
        self.stating = asyncio.Lock()
        self.is_first = True

    # -- life -------------------------------------------------------------------------------------

    async def open(self, listener: Listener) -> None:
        self.listener = listener
        self.client = aredis.Redis.from_url(
            self.settings.url or "",
            socket_connect_timeout=CONNECT,
            socket_timeout=ANSWER,
            max_connections=None,
            # Trying again is done in one place, by the node.
            retry=Retry(NoBackoff(), 0),
        )
        #: Where connections that listen are made. In RESP2 all that is heard on one is an array, pongs too.
        self.bells: aredis.ConnectionPool = aredis.ConnectionPool.from_url(
            self.settings.url or "",
            protocol=2,
            socket_connect_timeout=CONNECT,
            socket_timeout=max(CONNECT, self.settings.lifetime),
            retry=Retry(NoBackoff(), 0),
        )
        self.commands = asyncio.Semaphore(CONNECTIONS)
        self.scripts: dict[str, Any] = {}
        self.upkeep = Upkeep(self.attend, (RedisError, OSError, TimeoutError, ChannelsError), self.client.aclose)

    async def close(self) -> None:
        with contextlib.suppress(ChannelsError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self.evaluate(_GOODBYE, [self.prefix + "alive"], [self.prefix, self.worker])
        await self.upkeep.end()

    async def attend(self) -> None:
        """One connection's life."""
        loop = asyncio.get_running_loop()
        bell = self.bells.make_connection()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        try:
            await bell.connect()
            await bell.send_command("SUBSCRIBE", self.prefix + "changed")
            self.listening = {self.prefix + "changed": loop.create_future()}
            self.bell = bell
            is_first, self.is_first = self.is_first, False
            await together(self.listen(bell), self.beat(), *([] if is_first else [self.resume()]))
        finally:
            self.bell = None
            for confirmed in self.listening.values():
                confirmed.cancel()
            self.listening = {}
            await bell.disconnect()

    async def ring(self, *command: str) -> None:
        """Say something on the connection that listens.

        Raises:
            Unreachable: it is broken. The library would make a new one, which listens to nothing.
        """
        async with self.errors(), self.writing:
            bell = self.bell
            if bell is None or not bell.is_connected:
                raise Unreachable(f"the connection to Redis at {self.where} was lost")
            await bell.send_command(*command, check_health=False)

    async def resume(self) -> None:
        await self.restate()
        await self.listener.resume()

    async def listen(self, bell: AbstractConnection) -> None:
        """Hear what is published; our own pings, which are answered, are the signs of life of the connection.

        Raises:
            TimeoutError: nothing was heard for three heartbeats.
        """
        start = len(self.prefix) + 2  # behind "t:"
        changed = (self.prefix + "changed").encode()
        while True:
            kind, channel, data = await self.heard(bell)
            if kind == b"message":
                if channel == changed:
                    self.listener.presence_changed(data.decode())
                else:
                    self.listener.receive(channel[start:].decode(), _entry_of(data))
            elif kind == b"subscribe":
                confirmed = self.listening.get(channel.decode())
                if confirmed is not None and not confirmed.done():
                    confirmed.set_result(None)

    async def heard(self, bell: AbstractConnection) -> tuple[bytes, bytes, Any]:
        told: Any = await bell.read_response()
        kind, channel, *rest = told
        return kind, channel, rest[0] if rest else None

    async def beat(self) -> None:
        """Signs of life: for Redis, of this worker; for us, of the connection that listens."""
        while True:
            await self.ring("PING")
            count = len(self.listener.stays)
            known = await self.evaluate(_BEAT, [self.prefix + "alive", self.of], [self.prefix, self.worker, self.lifetime])
            if known != count and known != len(self.listener.stays):
                await self.restate()
            await asyncio.sleep(self.settings.heartbeat * random.uniform(0.9, 1.0))

    async def restate(self) -> None:
        """Say again who is present in this worker: Redis knows otherwise, or nothing at all."""
        async with self.stating:
            said = [part for topic, stay in self.listener.stays.values() for part in (topic, stay.key, msgspec.json.encode(stay))]
            await self.evaluate(_RESTATE, [self.prefix + "alive", self.of], [self.prefix, self.worker, self.lifetime, *said])

    # -- the verbs --------------------------------------------------------------------------------

    async def publish(self, topic: str, key: str, kind: str, body: bytes, *, again: bool) -> str:
        args = [self.channel(topic), f"{key} {kind}", body, self.settings.history, self.age, int(again), LOOK_BACK]
        id_: bytes = await self.evaluate(_PUBLISH, [self.stream(topic), self.prefix + "last"], args)
        return id_.decode()

    async def follow(self, wanted: Mapping[str, str | None]) -> dict[str, Backlog]:
        await self.listen_to([self.channel(topic) for topic in wanted])
        # Only now: what is published from here on is heard, so what is read here and what is heard overlap.
        async with self.errors():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.eval(_OLDEST, 0, self.age)
            for topic, after in wanted.items():
                pipeline.xrevrange(self.stream(topic), count=1)
                if after is not None:
                    pipeline.xrange(self.stream(topic), min=f"({after}")
            answers = iter(await pipeline.execute())
        oldest = next(answers).decode()
        found = {}
        for topic, after in wanted.items():
            newest = next(answers)
            entries = [_entry(*each) for each in next(answers)] if after is not None else []
            found[topic] = Backlog(newest[0][0].decode() if newest else ORIGIN, _younger(entries, oldest))
        return found

    async def listen_to(self, channels: Sequence[str]) -> None:
        if self.bell is None:
            raise Unreachable(await self.trouble())
        loop = asyncio.get_running_loop()
        fresh = [channel for channel in channels if channel not in self.listening]
        for channel in fresh:
            self.listening[channel] = loop.create_future()
        confirmations = [self.listening[channel] for channel in channels]
        if fresh:
            await self.ring("SUBSCRIBE", *fresh)
        waiting = [each for each in confirmations if not each.done()]
        if waiting:
            # Not awaited one by one: a future that many wait for is not to be cancelled by the one that gives up.
            await asyncio.wait(waiting)
        if any(each.cancelled() for each in confirmations):
            raise Unreachable(f"the connection to Redis at {self.where} was lost")

    async def unfollow(self, topics: Sequence[str]) -> None:
        channels = [channel for channel in map(self.channel, topics) if self.listening.pop(channel, None) is not None]
        if channels:
            await self.ring("UNSUBSCRIBE", *channels)

    async def read(self, topic: str, after: str | None, count: int) -> list[Entry]:
        async with self.errors():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.eval(_OLDEST, 0, self.age)
            if after is None:
                pipeline.xrevrange(self.stream(topic), count=min(count, self.settings.history))
            else:
                pipeline.xrange(self.stream(topic), min=f"({after}")
            oldest, found = await pipeline.execute()
        entries = [_entry(*each) for each in found]
        if after is None:
            entries.reverse()
        # Streams are cut roughly; a little more than was asked for may be there.
        return _younger(entries, oldest.decode())[-self.settings.history :]

    async def enter(self, topic: str, stay: Stay) -> None:
        args = [self.prefix, self.worker, self.lifetime, topic, stay.key, msgspec.json.encode(stay)]
        async with self.stating:
            await self.evaluate(_ENTER, [self.prefix + "alive", self.of], args)

    async def leave(self, topic: str, stay: Stay) -> None:
        async with self.stating:
            await self.evaluate(_LEAVE, [self.of], [self.prefix, topic, stay.key])

    async def people(self, topic: str) -> list[Stay]:
        found = await self.evaluate(_PEOPLE, [f"{self.prefix}here:{topic}", self.prefix + "alive"], [])
        return [msgspec.json.decode(each.partition(b"\n")[2], type=Stay) for each in found]

    # -- inside -----------------------------------------------------------------------------------

    @property
    def of(self) -> str:
        """The key of what this worker has present."""
        return f"{self.prefix}of:{self.worker}"

    def stream(self, topic: str) -> str:
        return f"{self.prefix}s:{topic}"

    def channel(self, topic: str) -> str:
        return f"{self.prefix}t:{topic}"

    async def evaluate(self, text: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script, by its digest where Redis has it."""
        script = self.scripts.get(text)
        if script is None:
            script = self.scripts[text] = self.client.register_script(text)
        async with self.errors(), self.commands:
            return await script(keys=keys, args=args)

    @asynccontextmanager
    async def errors(self) -> AsyncGenerator[None]:
        """Say of an error whether it may pass."""
        try:
            yield
        except (AuthenticationError, NoScriptError) as error:
            raise Unreachable(f"Redis at {self.where}: {error}") from error
        except ResponseError as error:
            if str(error).startswith(("LOADING", "BUSY", "READONLY", "MASTERDOWN", "OOM", "TRYAGAIN", "CLUSTERDOWN", "UNBLOCKED")):
                raise Unreachable(f"Redis at {self.where}: {error}") from error
            raise ChannelsError(f"Redis at {self.where} refuses: {error}") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise Unreachable(f"Redis at {self.where}: {words_of(error)}") from error

    async def trouble(self) -> str:
        """Why there is no connection that listens, in Redis's words or the kernel's."""
        try:
            async with self.errors():
                await self.client.ping()
        except Unreachable as error:
            return str(error)
        return f"the connection to Redis at {self.where} is being made"


def _entry(id_: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    key, _, kind = fields[b"h"].decode().partition(" ")
    return Entry(id_.decode(), fields[b"b"].decode(), key, kind, fields[b"m"])


def _entry_of(data: bytes) -> Entry:
    head, _, body = data.partition(b"\n")
    id_, before, key, kind = head.decode().split(" ")
    return Entry(id_, before, key, kind, body)


def _younger(entries: list[Entry], oldest: str) -> list[Entry]:
    limit = int(oldest.partition("-")[0])
    return [entry for entry in entries if int(entry.id.partition("-")[0]) >= limit]
