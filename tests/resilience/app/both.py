"""A Carboy application under attack: the same answers through every door, and views that keep threads."""

import asyncio
import os
import time

import carboy
from carboy import request

RELEASE = "one"
app = carboy.Carboy(__name__)


@app.get("/")
def index() -> str:
    return f"{RELEASE} {os.getpid()}"


@app.get("/async")
async def waits() -> str:
    await asyncio.sleep(0.001)
    return f"{RELEASE} {os.getpid()}"


@app.post("/take")
def take() -> str:
    """Take a body of 100,000 times the same letter; anything else is an error."""
    data = request.get_data()
    assert data == data[:1] * 100_000, len(data)
    return f"{RELEASE} {os.getpid()}"


@app.get("/pieces")
async def in_pieces() -> carboy.Response:
    """The usual answer, in two pieces with a pause between them."""
    text = f"{RELEASE} {os.getpid()}".encode()

    async def pieces():
        yield text[:3]
        await asyncio.sleep(0.005)
        yield text[3:]

    return carboy.Response(pieces(), headers={"Content-Length": str(len(text))})


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
