"""A Carboy application whose limits are tried: views that take bodies, wait, block, compute and stream."""

import asyncio
import os
import time

from lifespan import go_through

import carboy
from carboy import Response, request

app = carboy.Carboy(__name__)
seen: list[str] = []


@app.get("/")
async def index() -> str:
    return f"one {os.getpid()}"


@app.post("/take")
def take() -> str:
    """The length of a body; noted, so that a test sees whether the view was reached."""
    seen.append(f"take {len(request.get_data())}")
    return str(len(request.get_data()))


@app.post("/take-much", max_body=64 * 1024 * 1024)
def take_much() -> str:
    return str(len(request.get_data()))


@app.post("/stream", stream=True)
def stream() -> str:
    """Read piece by piece in a thread, as the body comes."""
    size = 0
    while piece := request.stream.read(1000):
        size += len(piece)
    seen.append(f"stream {size}")
    return str(size)


@app.get("/seen")
def what_was_seen() -> str:
    return ",".join(seen)


@app.get("/wait/<float:seconds>")
async def wait(seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        seen.append("wait cancelled")
        raise
    return "waited"


@app.get("/patient/<float:seconds>", timeout=0)
def patient(seconds: float) -> str:
    time.sleep(seconds)
    return "waited"


@app.get("/hasty", timeout=0.3)
async def hasty() -> str:
    await asyncio.sleep(10)
    return "waited"


@app.get("/block/<float:seconds>")
def block(seconds: float) -> str:
    time.sleep(seconds)
    return f"one {os.getpid()}"


@app.get("/compute")
async def compute() -> str:
    until = time.perf_counter() + 0.005
    while time.perf_counter() < until:
        pass
    return f"one {os.getpid()}"


@app.get("/flow")
async def flow() -> Response:
    async def pieces():
        try:
            for _ in range(200):
                yield b"x" * 500_000
        finally:
            seen.append("flow closed")

    return Response(pieces())


@app.get("/drip")
async def drip() -> Response:
    async def pieces():
        for _ in range(6):
            yield b"."
            await asyncio.sleep(0.4)

    return Response(pieces())


@app.get("/breaks")
async def breaks() -> Response:
    async def pieces():
        yield b"the first piece"
        await asyncio.sleep(0.05)
        raise RuntimeError("the second piece cannot be made")

    return Response(pieces())


@app.get("/big")
def big() -> bytes:
    return b"x" * 50_000_000


TEN_MEGABYTES = b"x" * 10_000_000


@app.get("/ten")
async def ten() -> bytes:
    return TEN_MEGABYTES


@app.get("/who")
def who() -> dict[str, object]:
    return {
        "client": request.remote_addr,
        "scheme": request.scheme,
        "host": request.host,
        "root": request.root_path,
        "path": request.path,
        "url": request.url,
        "route": list(request.access_route),
        "id": request.headers.get("X-Request-ID"),
        "environ_id": request.environ.get("HTTP_X_REQUEST_ID"),
        "forwarded": request.headers.get("X-Forwarded-For"),
    }


async def raw(scope, receive, send):
    """A plain ASGI callable that trusts what it is sent, and sends what it is told to."""
    if scope["type"] == "lifespan":
        await go_through(receive, send)
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    value = {"/crlf": b"a\r\nx-evil: 1", "/nul": b"a\0b", "/lf": b"a\nx-evil: 1"}.get(scope["path"], b"fine")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-value", value)]})
    await send({"type": "http.response.body", "body": str(size).encode()})
