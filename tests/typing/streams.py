"""What a user's editor knows of streams both ways; checked by mypy and pyright, never run."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

from carboy import Carboy, EventStream, Request
from carboy.realtime.sse import Event
from carboy.wire.multipart import AsyncPart, Part

app = Carboy(__name__)


@app.get("/prices")
async def prices(request: Request) -> EventStream:
    assert_type(request.last_event_id, str | None)

    async def events() -> AsyncIterator[Event | str]:
        yield Event({"amount": 3}, id="17")
        yield "text"

    return EventStream(events(), heartbeat=None, retry=2000)


@app.post("/files", stream=True)
async def files(request: Request) -> str:
    async for chunk in request.chunks():
        assert_type(chunk, bytes)
    async for part in request.stream_form():
        assert_type(part, AsyncPart)
        assert_type(await part.save(Path("x")), int)
    return "ok"


@app.post("/more", stream=True)
def more(request: Request) -> str:
    for chunk in request.chunks():
        assert_type(chunk, bytes)
    for part in request.stream_form():
        assert_type(part, Part)
        assert_type(part.text(), str)
    return "ok"
