"""The chapter on channels: its example is a file, and does what is said of it."""

from __future__ import annotations

import asyncio
import re
import runpy
from pathlib import Path
from typing import Any

import msgspec

from carboy.realtime.channels.counts import Counts
from carboy.realtime.channels.settings import SCHEMES, Settings

PROJECT = Path(__file__).parents[3]
PAGE = PROJECT / "docs" / "channels.md"


def test_each_example_is_a_file() -> None:
    """A fence of Python names its file, and is that file."""
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```\n", text, re.DOTALL)

    assert len(shown) == text.count("```python") > 0
    for file, code in shown:
        assert (PROJECT / file).read_text(encoding="utf-8") == code


def test_settings_and_counts_are_those_told() -> None:
    """Names and defaults."""
    text = PAGE.read_text(encoding="utf-8")

    for name in Settings.__struct_fields__:
        assert f"CHANNELS_{name.upper()}" in text
    for name in Counts.__slots__:
        assert f"`{name}`" in text
    for scheme in SCHEMES.keys() - {"postgres"}:
        assert f"{scheme}://" in text
    defaults = Settings()
    told = (defaults.history, defaults.history_age, defaults.queue, defaults.timeout, defaults.heartbeat, defaults.max_message)
    assert told == (256, 600, 256, 5, 2, 16 * 1024 * 1024)
    assert msgspec.structs.asdict(defaults)["url"] is None


def test_room() -> None:
    """Somebody listens, somebody speaks; who comes back with the id of the last event goes on behind it."""
    app: Any = runpy.run_path(str(PROJECT / "docs" / "examples" / "realtime" / "room.py"), run_name="room")["app"]

    async def heard(client: Any, count: int, **kwargs: Any) -> list[dict[str, str]]:
        """So many events, then the listener goes."""
        events: list[dict[str, str]] = []
        async with client.stream("/rooms/7", **kwargs) as answer:
            text = ""
            async for chunk in answer.chunks:
                *blocks, text = (text + chunk.decode()).split("\n\n")
                events += [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks if not block.startswith(":")]
                if len(events) >= count:
                    return events
        raise AssertionError("ended")

    async def play() -> None:
        async with app.async_test_client() as client, asyncio.timeout(20):
            first = (await client.post("/rooms/7", data={"text": "hi"})).json["id"]
            await client.post("/rooms/7", data={"text": "is anybody here?"})

            events = await heard(client, 3, query_string={"who": "ana"})
            again = await heard(client, 1, headers={"Last-Event-ID": first})
            people = (await client.get("/rooms/7/people")).json
            await client.post("/announcements", data={"text": "closing"})

            assert [event["data"] for event in events] == ['{"text": "hi"}', '{"text": "is anybody here?"}', '{"who":"ana","info":{}}']
            assert [event["event"] for event in events] == ["message", "message", "joined"]
            assert events[0]["id"] == first
            assert [event["data"] for event in again] == ['{"text": "is anybody here?"}']
            assert people == []
            assert [message.data for message in await app.channels.history("room:1")] == [{"text": "closing"}]

    asyncio.run(play())
