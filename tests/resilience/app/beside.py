"""An application that speaks a line protocol beside HTTP, after the manner of Redis, and leaves work behind."""

import asyncio
import os
import pathlib
import time

from carboy import Carboy, current_app, g

app = Carboy(__name__)
RELEASE = "one"
PORT = int(pathlib.Path("service-port").read_text())


async def handle(reader, writer):
    g.store = {}
    while line := await reader.readline():
        command, *words = line.decode().split()
        match command:
            case "PING":
                answer = f"+PONG {RELEASE} {os.getpid()}"
            case "SET":
                g.store[words[0]] = words[1]
                answer = "+OK"
            case "GET":
                answer = f"${g.store.get(words[0])} of {current_app.name}"
            case "SLEEP":
                await asyncio.sleep(float(words[0]))
                answer = "+SLEPT"
            case "DEAF":
                await asyncio.sleep(3600)
            case _:
                raise ValueError(line)
        writer.write(f"{answer}\r\n".encode())
        await writer.drain()


class Clock(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(f"{data.decode()} {os.getpid()}".encode(), addr)


app.listen_tcp(("127.0.0.1", PORT), handle, name="lines")
app.listen_udp(("127.0.0.1", PORT), Clock, name="clock")
app.listen_unix("service.sock", handle, name="lines, unix")


def note(word):
    with open("notes", "a") as file:
        file.write(f"{word}\n")


@app.background
async def beat():
    note("begun")
    try:
        await asyncio.sleep(3600)
    finally:
        note("ended")


def blocking(seconds):
    time.sleep(seconds)
    note("blocking work done")


async def waiting(seconds):
    await asyncio.sleep(seconds)
    note("work done")


@app.get("/")
async def index():
    return f"{RELEASE} {os.getpid()}"


@app.get("/spawn/<float:seconds>")
def spawn(seconds):
    app.spawn(blocking, seconds, at_shutdown="wait")
    app.spawn(waiting, seconds, at_shutdown="wait")
    app.spawn(waiting, 3600.0)
    return "spawned"
