"""What the tests of whole servers serve: publish, listen, be present; and say which process does it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

from carboy import Carboy, Request, Response, WebSocket

app = Carboy(__name__)
app.config.update(CHANNELS_HISTORY=5000, CHANNELS_QUEUE=5000)


@app.get("/pid")
async def pid() -> dict[str, Any]:
    return {"pid": os.getpid()}


@app.post("/publish/<topic>")
async def publish(topic: str, request: Request) -> dict[str, Any]:
    return {"id": await app.channels.publish(topic, request.get_data(as_text=True)), "pid": os.getpid()}


@app.post("/publish-sync/<topic>")
def publish_sync(topic: str, request: Request) -> dict[str, Any]:
    return {"id": app.channels.sync.publish(topic, request.get_data(as_text=True)), "pid": os.getpid()}


@app.get("/presence/<topic>")
async def presence(topic: str) -> dict[str, Any]:
    return {"people": [person.who for person in await app.channels.presence(topic)]}


@app.get("/history/<topic>")
async def history(topic: str) -> dict[str, Any]:
    return {"data": [message.data for message in await app.channels.history(topic, 5000)]}


@app.get("/listen/<topic>")
async def listen(topic: str, request: Request) -> Response:
    after, who = request.args.get("after"), request.args.get("who")

    async def lines() -> AsyncGenerator[str]:
        async with AsyncExitStack() as stack:
            messages = await stack.enter_async_context(app.channels.subscribe(topic, after=after, presence="events" in request.args))
            if who:
                await stack.enter_async_context(app.channels.present(topic, who=who))
            yield json.dumps({"pid": os.getpid()}) + "\n"
            async for message in messages:
                yield json.dumps({"id": message.id, "data": message.data, "missed": message.missed, "event": message.event}) + "\n"

    return Response(lines(), mimetype="application/x-ndjson")


@app.websocket("/listen/<topic>")
async def listen_by_socket(ws: WebSocket, topic: str, request: Request) -> None:
    after, who = request.args.get("after"), request.args.get("who")
    async with AsyncExitStack() as stack:
        await ws.join(
            topic, after=after, convert=lambda message: {"id": message.id, "data": message.data, "missed": message.missed, "event": message.event}
        )
        if who:
            await stack.enter_async_context(app.channels.present(topic, who=who))
        await ws.send({"pid": os.getpid()})
        async for _ in ws:
            pass
