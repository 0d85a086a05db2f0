"""What the tests of served streams talk to. It notes what happens, by name, with the time; `/seen` tells it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from carboy import Carboy, EventStream, Response, request
from carboy.realtime.sse import Event

app = Carboy(__name__)
SEEN: list[tuple[str, float]] = []


def note(what: str) -> None:
    SEEN.append((what, time.monotonic()))


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@app.get("/seen", blocking=False)
def seen() -> dict[str, Any]:
    return {"seen": [what for what, _ in SEEN], "resident": resident()}


@app.get("/quick")
def quick() -> str:
    return "quick"


# -- events ---------------------------------------------------------------------------------------


@app.get("/events/async")
async def events_async() -> EventStream:
    async def events() -> AsyncIterator[Event]:
        number = int(request.last_event_id or 0)
        try:
            while True:
                number += 1
                yield Event({"number": number}, id=str(number))
                await asyncio.sleep(0.02 if number % 3 else float(request.args.get("pause", "0.02")))
        finally:
            note("async closed")

    return EventStream(events(), retry=100)


@app.get("/events/plain")
def events_plain() -> EventStream:
    def events() -> Iterator[Event]:
        number = int(request.last_event_id or 0)
        try:
            while True:
                number += 1
                yield Event({"number": number}, id=str(number))
                time.sleep(0.02 if number % 3 else float(request.args.get("pause", "0.02")))
        finally:
            note("plain closed")

    return EventStream(events(), retry=100)


@app.get("/events/large")
async def events_large() -> EventStream:
    async def events() -> AsyncIterator[str]:
        for number in range(2_000):
            note("event made")
            yield "x" * 100_000

    return EventStream(events())


@app.get("/few")
async def few() -> EventStream:
    async def events() -> AsyncIterator[Event]:
        number = int(request.last_event_id or 0)
        for text in ("one line", "two\nlines", "three"):
            number += 1
            yield Event(text, event="tick", id=str(number))

    return EventStream(events(), retry=50)


@app.get("/browser")
def browser() -> str:
    return """<!doctype html><script>
const seen = [], source = new EventSource("/few");
source.addEventListener("tick", event => {
  seen.push(event.lastEventId + ":" + event.data);
  if (seen.length == 6) { source.close(); fetch("/report", {method: "POST", body: seen.join(" ")}); }
});
</script>"""


@app.post("/report")
def report() -> str:
    note(request.get_data(as_text=True))
    return "noted"


# -- streams --------------------------------------------------------------------------------------


@app.get("/broken/async")
async def broken_async() -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.1)
        raise ValueError("broken on purpose")

    return Response(pieces())


@app.get("/broken/plain")
def broken_plain() -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        time.sleep(0.1)
        raise ValueError("broken on purpose")

    return Response(pieces())


@app.get("/pieces/async")
async def pieces_async() -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            for _ in range(1_000):
                note("piece made")
                yield b"x" * 200_000
        finally:
            note("pieces closed")

    return Response(pieces())


@app.get("/pieces/plain")
def pieces_plain() -> Response:
    def pieces() -> Iterator[bytes]:
        try:
            for _ in range(1_000):
                note("piece made")
                yield b"x" * 200_000
        finally:
            note("pieces closed")

    return Response(pieces())


# -- uploads --------------------------------------------------------------------------------------


@app.post("/count/async", stream=True, max_body=1 << 40)
async def count_async() -> dict[str, int]:
    size = 0
    async for piece in request.chunks():
        size += len(piece)
    return {"size": size}


@app.post("/count/plain", stream=True, max_body=1 << 40)
def count_plain() -> dict[str, int]:
    return {"size": sum(map(len, request.chunks()))}


@app.post("/small/async", stream=True, max_body=100_000)
async def small_async() -> dict[str, int]:
    return await count_async()


@app.post("/small/plain", stream=True, max_body=100_000)
def small_plain() -> dict[str, int]:
    return count_plain()


@app.post("/save/async", stream=True, max_body=1 << 40)
async def save_async() -> dict[str, int]:
    before, most = resident(), 0
    sizes = {}
    async for part in request.stream_form():
        sizes[part.name] = await part.save(request.args["target"])
        most = max(most, resident())
    return {**sizes, "grown": most - before}


@app.post("/save/plain", stream=True, max_body=1 << 40)
def save_plain() -> dict[str, int]:
    before, most = resident(), 0
    sizes = {}
    for part in request.stream_form():
        sizes[part.name] = part.save(request.args["target"])
        most = max(most, resident())
    return {**sizes, "grown": most - before}


@app.post("/leave-it/async", stream=True, max_body=1 << 40)
async def leave_it_async() -> str:
    """Takes the first piece, and then its time."""
    note("began")
    pieces = aiter(request.chunks())
    await anext(pieces)
    try:
        await asyncio.sleep(float(request.args.get("pause", "60")))
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return str(sum([len(piece) async for piece in pieces]))


@app.post("/wait/async", stream=True, max_body=1 << 40)
async def wait_async() -> str:
    """Waits for each piece."""
    note("began")
    try:
        async for _ in request.chunks():
            pass
    except Exception as error:
        note(type(error).__name__)
        raise
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return "whole"


@app.post("/echo", stream=True, max_body=1 << 40)
async def echo() -> Response:
    """Answers while it is being asked."""
    from carboy import stream_with_context

    return Response(stream_with_context(aiter(request.chunks())))
