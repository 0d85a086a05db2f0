"""WebSockets under attack, as a plain ASGI application: what is tested is the server alone."""

import asyncio
import json
import os
import resource
import time

from lifespan import go_through

sent = 0
seen = []


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await go_through(receive, send)
        return
    if scope["type"] == "http":
        await report(scope, receive, send)
        return
    assert (await receive())["type"] == "websocket.connect"
    await SOCKETS[scope["path"]](scope, receive, send)


async def report(scope, receive, send):
    if scope["path"] == "/sleep":
        await asyncio.sleep(1)
    resident = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
    facts = {"pid": os.getpid(), "descriptors": len(os.listdir("/proc/self/fd")), "resident": resident, "sent": sent, "seen": seen}
    body = json.dumps(facts).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope, receive, send):
    await send({"type": "websocket.accept"})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            seen.append([event["code"], event["reason"]])
            return
        await send({**event, "type": "websocket.send"})


async def speak_first(scope, receive, send):
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    await echo_on(receive, send)


async def echo_on(receive, send):
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


async def tell(scope, receive, send):
    headers = [(b"set-cookie", b"a=1"), (b"x-own", b"yes")]
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[-1], "headers": headers})
    told = {name: scope[name] for name in ("type", "path", "scheme", "http_version", "subprotocols", "extensions", "asgi", "root_path")}
    told["query"] = scope["query_string"].decode()
    told["raw_path"] = scope["raw_path"].decode()
    told["client"], told["server"] = list(scope["client"]), list(scope["server"])
    told["headers"] = {name.decode(): value.decode() for name, value in scope["headers"]}
    await send({"type": "websocket.send", "text": json.dumps(told)})
    await echo_on(receive, send)


async def refuse(scope, receive, send):
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]})
    await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"you?"})


async def close_first(scope, receive, send):
    await send({"type": "websocket.close"})


async def close(scope, receive, send):
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4001, "reason": "no more"})
    seen.append([(await receive())["type"], "after close"])


async def crash(scope, receive, send):
    await send({"type": "websocket.accept"})
    await receive()
    raise RuntimeError("a fault of the application")


async def crash_first(scope, receive, send):
    raise RuntimeError("a fault before the answer")


async def return_at_once(scope, receive, send):
    await send({"type": "websocket.accept"})


async def wait_first(scope, receive, send):
    seen.append([(await receive())["type"], "before accept"])


async def flood(scope, receive, send):
    """Send as fast as it is taken."""
    global sent
    await send({"type": "websocket.accept"})
    sent = 0
    try:
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 10_000})
            sent += 1
    except OSError as error:
        seen.append([type(error).__name__, "flood"])


async def deaf(scope, receive, send):
    """Never read."""
    await send({"type": "websocket.accept"})
    await asyncio.sleep(3600)


async def slow(scope, receive, send):
    """Read one message, then nothing for a second, then the rest."""
    await send({"type": "websocket.accept"})
    await receive()
    await asyncio.sleep(1)
    began, count = time.monotonic(), 0
    while (event := await receive())["type"] == "websocket.receive" and event.get("text") != "end":
        count += 1
    await send({"type": "websocket.send", "text": f"{count} {time.monotonic() - began:.2f}"})
    await echo_on(receive, send)


async def leaving(scope, receive, send):
    """Say goodbye before the server does."""
    await send({"type": "websocket.accept"})
    await scope["state"]["carboy.leaving"].wait()
    await send({"type": "websocket.close", "code": 4100, "reason": "so long"})


SOCKETS = {
    "/": echo, "/first": speak_first, "/tell": tell, "/refuse": refuse, "/close-first": close_first, "/close": close, "/crash": crash,
    "/crash-first": crash_first, "/return": return_at_once, "/wait": wait_first, "/flood": flood, "/deaf": deaf, "/slow": slow,
    "/leaving": leaving,
}  # fmt: skip
