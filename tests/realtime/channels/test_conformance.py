"""What every broker does, seen from `app.channels`: one suite, run against each of them.

`--import-mode=importlib` keeps test files apart, so the conftest's tools come as fixtures do: by name from its module.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import random
import time
from pathlib import Path
from typing import Any

import pytest

from carboy.realtime.channels import ChannelsError, TooSlow

spec = importlib.util.spec_from_file_location("channels_conftest", Path(__file__).with_name("conftest.py"))
assert spec is not None and spec.loader is not None
tools: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tools)
take, nothing, eventually = tools.take, tools.nothing, tools.eventually


def run(world: Any, scenario: Any) -> None:
    """Play a scenario on an event loop of its own; it takes the world."""

    async def play() -> None:
        async with asyncio.timeout(60), world.open():
            await scenario(world)

    asyncio.run(play())


def test_a_message_reaches_every_subscriber_of_every_worker_once(world: Any) -> None:
    """Two workers, two subscribers in each, one message; each gets it once, with its topic, id, time and value."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        async with one.subscribe("a") as a, one.subscribe("a") as b, two.subscribe("a") as c, two.subscribe("a") as d:
            before = time.time()
            id_ = await one.publish("a", {"text": "hi"})

            for messages in (a, b, c, d):
                (message,) = await take(messages, 1)
                assert (message.topic, message.id, message.data, message.event, message.missed) == ("a", id_, {"text": "hi"}, "message", 0)
                assert abs(message.at.timestamp() - before) < 5
            for messages in (a, b, c, d):
                await nothing(messages, 0.05)

    run(world, scenario)


@pytest.mark.parametrize("value", ["text, ümläut, 😀", "", b"\x00\xff\xfe binary", b"", {"a": [1, None, 2.5]}, 7, None, [], True])
def test_values_come_back_as_they_were(world: Any, value: Any) -> None:
    """Text, bytes and JSON values keep their type, live and from history."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        async with two.subscribe("v") as messages:
            await one.publish("v", value)
            (message,) = await take(messages, 1)
        (kept,) = await two.history("v")

        assert message.data == value == kept.data
        assert type(message.data) is type(value) is type(kept.data)

    run(world, scenario)


def test_big_messages_pass(world: Any) -> None:
    """Five megabytes, which are random, so that nothing can be left out."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        big = random.Random(1).randbytes(5_000_000)
        async with two.subscribe("big") as messages:
            await one.publish("big", big)
            await one.publish("big", "small")
            first, second = await take(messages, 2)

        assert first.data == big
        assert second.data == "small"

    run(world, scenario)


def test_one_publishers_order_is_kept(world: Any) -> None:
    """Three hundred messages, one after the other, arrive so at all subscribers."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(queue=1000), world.worker(queue=1000)
        async with one.subscribe("o", queue=1000) as here, two.subscribe("o", queue=1000) as there:
            ids = [await one.publish("o", number) for number in range(300)]

            for messages in (here, there):
                found = await take(messages, 300)
                assert [message.data for message in found] == list(range(300))
                assert [message.id for message in found] == ids

    run(world, scenario)


def test_several_publishers_have_one_order_for_everybody(world: Any) -> None:
    """Four publishers in two workers at once: all subscribers see the same sequence, and history has it too."""

    async def scenario(world: Any) -> None:
        workers = [world.worker(queue=1000), world.worker(queue=1000)]

        async def publish(number: int) -> None:
            for turn in range(50):
                await workers[number % 2].publish("o", [number, turn])

        async with workers[0].subscribe("o", queue=1000) as here, workers[1].subscribe("o", queue=1000) as there:
            await asyncio.gather(*map(publish, range(4)))
            first, second = await take(here, 200), await take(there, 200)
            kept = await workers[1].history("o", 200)

        assert [m.id for m in first] == [m.id for m in second] == [m.id for m in kept]
        assert len({m.id for m in first}) == 200
        for number in range(4):
            assert [m.data[1] for m in first if m.data[0] == number] == list(range(50))

    run(world, scenario)


def test_topics_are_apart(world: Any) -> None:
    """A subscriber of two topics gets those two, in one order; one of another gets none of it."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        async with two.subscribe("a", "b") as both, two.subscribe("c") as other:
            ids = [await one.publish(topic, topic) for topic in ("a", "b", "a", "d")]
            found = await take(both, 3)
            await nothing(other)
            await nothing(both, 0.05)

        assert [message.topic for message in found] == ["a", "b", "a"]
        assert [message.id for message in found] == ids[:3]

    run(world, scenario)


def test_publishing_without_subscribers_is_kept(world: Any) -> None:
    """Nobody listens; who comes later and asks for history finds it, of all workers."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        for number in range(5):
            await one.publish("h", number)

        assert [message.data for message in await two.history("h", 3)] == [2, 3, 4]
        assert await two.history("nothing was published here") == []
        assert await two.history("h", 0) == []

    run(world, scenario)


def test_history_comes_first_and_meets_what_is_live(world: Any) -> None:
    """A subscriber with history, while somebody publishes all the time: no gap and no repetition where they meet."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(queue=5000, history=2000), world.worker(queue=5000, history=2000)
        is_over = False
        published: list[str] = []

        async def publish() -> None:
            while not is_over:
                published.append(await one.publish("h", len(published)))
                await asyncio.sleep(0)

        task = asyncio.create_task(publish())
        for round_ in range(10):
            await asyncio.sleep(0.01)
            worker = (one, two)[round_ % 2]
            async with worker.subscribe("h", history=5, queue=5000) as messages:
                found = [message.data for message in await take(messages, 20)]
            assert found == list(range(found[0], found[0] + 20))
        is_over = True
        await task

    run(world, scenario)


def test_history_is_bounded_by_count(world: Any) -> None:
    """No more than CHANNELS_HISTORY are given, the last ones."""

    async def scenario(world: Any) -> None:
        one = world.worker(history=10)
        for number in range(50):
            await one.publish("h", number)

        assert [message.data for message in await one.history("h", 1000)] == list(range(40, 50))

    run(world, scenario)


def test_history_is_bounded_by_age(world: Any) -> None:
    """What is older than CHANNELS_HISTORY_AGE is not given."""

    async def scenario(world: Any) -> None:
        one = world.worker(history_age=0.4)
        await one.publish("h", "old")
        await asyncio.sleep(0.6)
        assert await one.history("h") == []

        await one.publish("h", "new")

        assert [message.data for message in await one.history("h")] == ["new"]

    run(world, scenario)


def test_resume_after_an_id(world: Any) -> None:
    """Who comes back with the last id it saw gets what followed, on all its topics, once and in order."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        ids = [await one.publish(f"r{number % 2}", number) for number in range(10)]
        async with two.subscribe("r0", "r1", after=ids[3]) as messages:
            await one.publish("r0", 10)
            found = await take(messages, 7)
            await nothing(messages, 0.1)

        assert [message.data for message in found] == list(range(4, 11))
        assert all(message.missed == 0 for message in found)
        assert [message.data for message in await one.history("r0", after=ids[3])] == [4, 6, 8, 10]

    run(world, scenario)


def test_resume_again_and_again_misses_nothing(world: Any) -> None:
    """A subscriber that leaves and comes back all the time, while somebody publishes, sees each message once."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(history=5000), world.worker(history=5000)

        async def publish() -> None:
            for number in range(200):
                await one.publish("r", number)
                await asyncio.sleep(random.uniform(0, 0.004))

        start = await one.publish("r", "start")
        task = asyncio.create_task(publish())
        seen: list[int] = []
        last = start
        while len(seen) < 200:
            async with two.subscribe("r", after=last, queue=1000) as messages:
                for message in await take(messages, min(random.randint(1, 20), 200 - len(seen))):
                    seen.append(message.data)
                    last = message.id
        await task

        assert seen == list(range(200))

    run(world, scenario)


def test_resume_behind_what_is_kept_is_told(world: Any) -> None:
    """History has forgotten what followed an id: the first message says that something is missing."""

    async def scenario(world: Any) -> None:
        one = world.worker(history=5)
        first = await one.publish("r", 0)
        ids = [await one.publish("r", number) for number in range(1, 10)]

        async with one.subscribe("r", after=first) as messages:
            found = await take(messages, 5)
            assert [message.data for message in found] == [5, 6, 7, 8, 9]
            assert [message.missed for message in found] == [1, 0, 0, 0, 0]
            assert messages.missed == 1
        async with one.subscribe("r", after=ids[3]) as messages:
            found = await take(messages, 5)
            assert [message.missed for message in found] == [0] * 5

    run(world, scenario)


def test_a_slow_subscriber_loses_the_oldest_and_is_told(world: Any) -> None:
    """Its queue is bounded: the newest wait, and the first says how many were lost; others lose nothing."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        async with two.subscribe("s", queue=10) as slow, two.subscribe("s", queue=1000) as quick:
            for number in range(100):
                await one.publish("s", number)
            assert [message.data for message in await take(quick, 100)] == list(range(100))

            found = await take(slow, 10)
            assert [message.data for message in found] == list(range(90, 100))
            assert [message.missed for message in found] == [90] + [0] * 9
            assert slow.missed == 90
            assert two.counts.dropped == 90
            await one.publish("s", "on")
            (message,) = await take(slow, 1)
            assert (message.data, message.missed) == ("on", 0)

    run(world, scenario)


def test_a_slow_subscriber_may_ask_to_be_closed(world: Any) -> None:
    """With overflow="close" it gets an error that says so, and nothing that would hide the gap."""

    async def scenario(world: Any) -> None:
        one = world.worker()
        async with one.subscribe("s", queue=10, overflow="close") as slow, one.subscribe("s", queue=100) as quick:
            for number in range(30):
                await one.publish("s", number)
            await take(quick, 30)

            with pytest.raises(TooSlow, match="10 messages waiting"):
                await take(slow, 1)

    run(world, scenario)


def test_unsubscribing_frees(world: Any) -> None:
    """Nothing is kept of subscribers that left, nor of topics that nobody follows; and coming back works."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        for round_ in range(20):
            async with two.subscribe("u", f"u{round_}") as messages:
                assert (two.counts.subscribers, two.counts.topics) == (1, 2)
                await one.publish("u", round_)
                assert [message.data for message in await take(messages, 1)] == [round_]
        assert (two.counts.subscribers, two.counts.topics) == (0, 0)
        received = two.counts.received

        await one.publish("u", "nobody")
        await asyncio.sleep(0.2)

        assert two.counts.received == received
        assert two._node().feeds == {}

    run(world, scenario)


def test_ten_thousand_topics(world: Any) -> None:
    """One subscriber of ten thousand topics is set up in seconds, and hears those on which something happens."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        topics = [f"t:{number}" for number in range(10_000)]
        begun = time.monotonic()
        async with two.subscribe(*topics) as messages:
            assert time.monotonic() - begun < 15
            for number in range(0, 10_000, 500):
                await one.publish(f"t:{number}", number)

            assert [message.data for message in await take(messages, 20)] == list(range(0, 10_000, 500))

    run(world, scenario)


def test_a_thousand_subscribers_get_all_in_order(world: Any) -> None:
    """The broker sends a message once to each worker; there it fans out."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        subscriptions = [two.subscribe("f", queue=200) for _ in range(1000)]
        for subscription in subscriptions:
            await subscription.__aenter__()
        for number in range(100):
            await one.publish("f", number)
        found = await asyncio.gather(*(take(subscription, 100, 30) for subscription in subscriptions))
        for subscription in subscriptions:
            await subscription.__aexit__()

        assert all([message.data for message in each] == list(range(100)) for each in found)
        assert two.counts.received == 100
        assert two.counts.delivered == 100_000

    run(world, scenario)


def test_presence_is_seen_by_all_workers(world: Any) -> None:
    """Who is here, since when, with what was said; somebody with two tabs is one person."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        assert await one.presence("p") == []
        async with one.present("p", who="ana", colour="red"), two.present("p", who="ben"), two.present("p", who="ana", colour="blue"):
            for worker in (one, two):
                people = await worker.presence("p")
                assert [(person.who, person.stays, person.info) for person in people] == [("ana", 2, {"colour": "blue"}), ("ben", 1, {})]
                assert abs(people[0].since.timestamp() - time.time()) < 5
            assert await one.presence("elsewhere") == []
        assert await one.presence("p") == await two.presence("p") == []

    run(world, scenario)


def test_joining_and_leaving_is_told(world: Any) -> None:
    """A subscriber with presence=True hears who comes and who goes, a person once; others hear nothing of it."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        async with one.present("p", who="zoe"), two.subscribe("p", presence=True) as watching, two.subscribe("p") as plain:
            async with one.present("p", who="ana", colour="red"):
                (joined,) = await take(watching, 1)
                async with two.present("p", who="ana"):
                    await nothing(watching)
                await nothing(watching, 0.1)
            (left,) = await take(watching, 1)
            await one.publish("p", "a message")
            (message,) = await take(watching, 1)
            (other,) = await take(plain, 1)

        assert (joined.event, joined.data) == ("joined", {"who": "ana", "info": {"colour": "red"}})
        assert (left.event, left.data["who"]) == ("left", "ana")
        assert (message.event, message.data) == ("message", "a message")
        assert (other.event, other.data) == ("message", "a message")

    run(world, scenario)


def test_a_worker_that_closes_takes_its_people_along(world: Any) -> None:
    """Its subscriptions end, its people are gone at once, and the others go on."""
    if world.kind == "memory":
        pytest.skip("one process is one worker")

    async def scenario(world: Any) -> None:
        one, two, three = world.worker(), world.worker(), world.worker()
        await one.publish("p", "the first to come is the hub, and stays")
        ended: list[Any] = []
        entered = asyncio.Event()

        async def visit() -> None:
            async with two.present("p", who="ana"), two.subscribe("p") as messages:
                entered.set()
                ended.extend([message.data async for message in messages])
                ended.append("over")

        async with three.subscribe("p", presence=True) as watching:
            visitor = asyncio.create_task(visit())
            await entered.wait()
            assert [m.event for m in await take(watching, 1)] == ["joined"]
            await two.close()
            assert [m.event for m in await take(watching, 1)] == ["left"]
            await visitor

            await one.publish("p", "on")
            assert [m.data for m in await take(watching, 1)] == ["on"]
        assert ended == ["over"]

    run(world, scenario)


def test_bad_topics_are_refused(world: Any) -> None:
    """A topic is a text of a bounded length, everywhere the same."""

    async def scenario(world: Any) -> None:
        one = world.worker(max_message=100)
        for topic in ("", "x" * 256, 7, None, "a\0b", "\ud800"):
            with pytest.raises(ChannelsError, match="is no topic"):
                await one.publish(topic, 1)
        await one.publish("ä " * 127, 1)
        with pytest.raises(ValueError, match="CHANNELS_MAX_MESSAGE"):
            await one.publish("a", "x" * 101)
        with pytest.raises(TypeError, match="that JSON can hold"):
            await one.publish("a", object())
        with pytest.raises(ValueError, match="is no id of a message"):
            one.subscribe("a", after="yesterday")
        with pytest.raises(ChannelsError, match="needs a topic"):
            one.subscribe()

    run(world, scenario)


def test_retried_publications_are_made_once(world: Any) -> None:
    """An attempt whose answer was lost is made again under its own name, and adds nothing."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(), world.worker()
        async with two.subscribe("r") as messages:
            await one.history("r")
            node = one._node()
            ids = [await node.broker.publish("r", "key-1", "t", b"once", again=again) for again in (False, True, True)]
            await one.publish("r", "after")
            found = await take(messages, 2)

        assert len(set(ids)) == 1
        assert [message.data for message in found] == ["once", "after"]

    run(world, scenario)


def test_many_come_and_go_at_once(world: Any) -> None:
    """Thirty people in two workers, each for a moment, while one stays: at the end she alone is here, and told so."""

    async def scenario(world: Any) -> None:
        one, two = world.worker(heartbeat=0.1), world.worker(heartbeat=0.1)

        async def visit(number: int) -> None:
            for _ in range(3):
                async with (one, two)[number % 2].present("p", who=f"visitor {number}"):
                    await asyncio.sleep(random.uniform(0, 0.1))

        async with two.subscribe("p", presence=True, queue=1000) as watching, one.present("p", who="ana"):
            await asyncio.gather(*map(visit, range(30)))

            async def alone() -> bool:
                return [person.who for person in await two.presence("p")] == ["ana"]

            await eventually(alone)
            here: set[str] = set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    async for message in watching:
                        who = message.data["who"]
                        assert (who in here) == (message.event == "left")
                        here ^= {who}
            assert here == {"ana"}
            assert await alone()

    run(world, scenario)
