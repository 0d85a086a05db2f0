import asyncio
import time

from carboy import Carboy

app = Carboy(__name__)


@app.get("/file")
def reads_a_file():  # may block: it has a worker thread to itself
    time.sleep(0.1)
    return "read"


@app.get("/elsewhere")
async def asks_elsewhere():  # awaits: thousands of these can wait on one event loop
    first, second = await asyncio.gather(ask("a"), ask("b"))
    return {"a": first, "b": second}


@app.get("/ping", blocking=False)
def never_blocks():  # has nothing to wait for: it runs on the event loop itself, without a hop
    return "pong"


@app.before_request
def look():  # a hook of either colour serves routes of both
    pass


async def ask(name):
    await asyncio.sleep(0.1)
    return name.upper()
