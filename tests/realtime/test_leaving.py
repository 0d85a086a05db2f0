"""Who is told that the server leaves, and when."""

from __future__ import annotations

import asyncio

from carboy.realtime.leaving import forget, listen


def test_who_comes_after_the_event_is_told_too() -> None:
    """A socket whose handshake comes while the others are told to leave is told as they are."""

    async def scenario() -> None:
        event = asyncio.Event()
        told: list[str] = []
        listen(event, lambda: told.append("early"))
        event.set()
        await asyncio.sleep(0.01)

        listen(event, lambda: told.append("late"))
        await asyncio.sleep(0.01)

        assert told == ["early", "late"]

    asyncio.run(scenario())


def test_who_has_gone_is_not_told() -> None:
    """What is forgotten is not called, and the task that waited for it ends."""

    async def scenario() -> None:
        event, told = asyncio.Event(), asyncio.Event()
        listen(event, told.set)
        forget(event, told.set)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        event.set()
        await asyncio.sleep(0.01)

        assert not told.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
