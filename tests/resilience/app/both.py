"""A Carboy application under attack: the same answers through every door, and views that keep threads."""

import asyncio
import os
import time

import carboy

RELEASE = "one"
app = carboy.Carboy(__name__)


@app.get("/")
def index() -> str:
    return f"{RELEASE} {os.getpid()}"


@app.get("/async")
async def waits() -> str:
    await asyncio.sleep(0.001)
    return f"{RELEASE} {os.getpid()}"


@app.get("/keep/<float:seconds>")
def keep(seconds: float) -> str:
    """Keep a thread busy."""
    time.sleep(seconds)
    return f"{RELEASE} {os.getpid()}"


@app.get("/stream")
def stream() -> carboy.Response:
    def pieces():
        for _ in range(20):
            time.sleep(0.02)
            yield b"piece "

    return carboy.Response(pieces())
