"""The application under attack: views that answer, wait, block, hold the interpreter, leak and stream."""

import asyncio
import os
import re
import time

from lifespan import go_through

RELEASE = "one"
leaked = []


async def app(scope, receive, send):
    """A plain ASGI callable, so that what is tested is the server alone."""
    if scope["type"] == "lifespan":
        await go_through(receive, send)
        return
    path = scope["path"]
    if path.startswith("/sleep/"):
        await asyncio.sleep(float(path.removeprefix("/sleep/")))
    elif path.startswith("/block/"):
        time.sleep(float(path.removeprefix("/block/")))  # noqa: ASYNC251 - the fault that is tried
    elif path.startswith("/compute/"):
        until = time.thread_time() + float(path.removeprefix("/compute/"))
        while time.thread_time() < until:
            sum(range(500))
    elif path == "/hold":
        # The regular expression engine holds the interpreter's lock for as long as it backtracks.
        re.match("(a+)+$", "a" * 60 + "b")
    elif path == "/leak":
        try:
            for _ in range(1000):
                leaked.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    elif path == "/until-leaving":
        await scope["state"]["carboy.leaving"].wait()
    elif path == "/exit":
        os._exit(7)
    body = f"{RELEASE} {os.getpid()}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
