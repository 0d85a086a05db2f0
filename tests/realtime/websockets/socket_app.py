"""The application that every WebSocket test speaks with, in process and behind real servers.

What happens in it is noted in `events`, which a test reads by `GET /events/<tag>`: each test has a tag of its own.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import gc
import threading
import time
from typing import Any

import msgspec
from werkzeug.exceptions import HTTPException

from carboy import (
    Blueprint,
    Carboy,
    Handler,
    Request,
    WebSocket,
    WebSocketDisconnect,
    abort,
    after_this_request,
    g,
    request,
    session,
    url_for,
)
from carboy.core.ctx import Context
from carboy.gateways.socket import Socket, Wire
from carboy.realtime.websocket import BlockingWebSocket, InvalidMessage

app = Carboy(__name__)
app.config.update(SECRET_KEY="a key for tests", PROPAGATE_EXCEPTIONS=False, WEBSOCKET_THREADS=4)
events: dict[str, list[Any]] = collections.defaultdict(list)


def note(*what: Any) -> None:
    events[request.args.get("tag", "")].append(list(what))


@app.get("/events/<tag>")
async def told(tag: str) -> list[Any]:
    return events[tag]


@app.get("/counts")
async def counts() -> dict[str, int]:
    gc.collect()
    living = collections.Counter(type(each) for each in gc.get_objects())
    return {
        "contexts": living[Context],
        "sockets": living[Socket],
        "wires": living[Wire],
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
    }


# -- hooks ------------------------------------------------------------------------------------------


@app.before_request
def before() -> Any:
    if "tag" in request.args:
        note("before", request.endpoint, dict(request.view_args or {}))
    refuse = request.args.get("refuse")
    if refuse == "answer":
        return {"why": "hook"}, 402, {"X-Why": "hook"}
    if refuse == "abort":
        abort(401)
    if refuse == "light":
        return "no"
    if refuse == "error":
        raise LookupError("in a hook")
    g.opened = threading.get_ident()
    return None


@app.after_request
def after(response: Any) -> Any:
    if "tag" in request.args:
        note("after", response.status_code)
    response.headers["X-After"] = "yes"
    return response


@app.teardown_request
def teardown(error: BaseException | None) -> None:
    if "tag" in request.args:
        note("teardown", type(error).__name__ if error is not None else None)


@app.errorhandler(401)
def unauthorized(error: HTTPException) -> Any:
    if "tag" in request.args:
        note("handler", 401)
    return {"handled": 401}, 401


@app.errorhandler(404)
async def missing(error: HTTPException) -> Any:
    return {"handled": 404}, 404


class Oops(Exception):
    pass


@app.errorhandler(Oops)
def oops(error: Oops) -> Any:
    note("handler", "Oops")
    return {"handled": "Oops"}, 418


# -- views ------------------------------------------------------------------------------------------


@app.websocket("/echo/<room>")
async def echo(ws: WebSocket, room: str) -> None:
    async for message in ws:
        await ws.send(f"{room}: {message}" if isinstance(message, str) else message)
    if "tag" in request.args:
        note("ended", ws.close_code, ws.close_reason, ws.closed)


@app.websocket("/sync/echo/<room>")
def sync_echo(ws: BlockingWebSocket, room: str) -> None:
    for message in ws:
        ws.send(f"{room}: {message}" if isinstance(message, str) else message)
    if "tag" in request.args:
        note("ended", ws.close_code, ws.close_reason, ws.closed)


@app.websocket("/asked-for/<int:number>")
async def asked_for(number: int, socket: WebSocket, req: Request, session: Any, g: Any, app: Any) -> None:
    await socket.send([number, req.path, req is request._get_current_object(), bool(g.opened), app.name])  # type: ignore[attr-defined]


@app.websocket("/session")
async def keep(ws: WebSocket) -> None:
    session["name"] = request.args["name"]
    await ws.accept(headers={"X-Own": "mine"})
    after_this_request(lambda response: response)
    await ws.send(session["name"])


@app.websocket("/sync/session")
def sync_keep(ws: BlockingWebSocket) -> None:
    session["name"] = request.args["name"]
    ws.accept(headers={"X-Own": "mine"})
    ws.send(session["name"])


@app.websocket("/session/read")
async def read(ws: WebSocket) -> None:
    await ws.send(session["name"])


@app.get("/session")
async def kept() -> Any:
    return {"name": session.get("name")}


@app.websocket("/sends/first")
async def sends_first(ws: WebSocket) -> None:
    await ws.send("welcome")
    await ws.close(4001, "enough")
    note("closed", ws.closed, ws.close_code)


@app.websocket("/protocols", subprotocols=["v2", "v1"])
async def protocols(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send([list(ws.requested_subprotocols), ws.subprotocol])


@app.websocket("/chosen")
async def chosen(ws: WebSocket) -> None:
    try:
        await ws.accept(subprotocol="unknown")
    except ValueError as error:
        note("error", str(error))
        await ws.accept(subprotocol=ws.requested_subprotocols[-1])
    await ws.send(ws.subprotocol)


@app.websocket("/refuse/<how>")
async def refuse(ws: WebSocket, how: str) -> Any:
    if how == "none":
        return None
    if how == "abort":
        abort(401)
    if how == "value":
        return {"no": "thanks"}, 429, {"Retry-After": "7"}
    if how == "light":
        return "a plain text"
    if how == "close":
        await ws.close()
        return None
    if how == "close-then-send":
        await ws.close()
        await ws.send("too late")
    if how == "error":
        raise LookupError("before the accept")
    if how == "oops":
        raise Oops
    if how == "stream":
        return (piece for piece in ("in ", "pieces")), 409
    raise AssertionError(how)


@app.websocket("/fail/<how>")
async def fail(ws: WebSocket, how: str) -> None:
    await ws.accept()
    if how == "error":
        raise LookupError("after the accept")
    if how == "oops":
        raise Oops
    if how == "abort":
        abort(403, "not in this room")
    if how == "handled":
        abort(401)
    if how == "broken":
        abort(503)
    if how == "long":
        abort(400, "ü" * 200)


@app.websocket("/sync/fail")
def sync_fail(ws: BlockingWebSocket) -> None:
    ws.receive()
    raise LookupError("in a thread")


class Say(msgspec.Struct, tag=True):
    text: str


class Move(msgspec.Struct, tag=True):
    x: int
    y: int


@dataclasses.dataclass
class Point:
    x: int
    y: int


@app.websocket("/typed")
async def typed(ws: WebSocket) -> None:
    async for message in ws.messages(Say | Move):
        if isinstance(message, Move):
            await ws.send(Move(message.x + 1, message.y + 1))
        else:
            await ws.send({"said": message.text})


@app.websocket("/typed/kept")
async def typed_kept(ws: WebSocket) -> None:
    while True:
        try:
            point = await ws.receive_as(Point)
        except InvalidMessage as error:
            await ws.send(f"again: {error}")
        else:
            await ws.send(point)


@app.websocket("/sync/typed")
def sync_typed(ws: BlockingWebSocket) -> None:
    for point in ws.messages(Point):
        ws.send(Point(point.y, point.x))


@app.websocket("/kinds/<kind>")
async def kinds(ws: WebSocket, kind: str) -> None:
    await ws.send({"got": repr(await getattr(ws, f"receive_{kind}")())})


@app.websocket("/waits")
async def waits(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send("ready")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        note("cancelled", time.time())
        raise
    finally:
        await asyncio.sleep(0.01)
        note("cleaned")


@app.websocket("/stays", cancel_on_disconnect=False)
async def stays(ws: WebSocket) -> None:
    await ws.send("ready")
    await asyncio.sleep(0.3)
    try:
        await ws.send("late")
    except WebSocketDisconnect as gone:
        note("disconnect", gone.code)


@app.websocket("/handles")
async def handles(ws: WebSocket) -> None:
    try:
        await ws.receive()
    except WebSocketDisconnect as gone:
        await asyncio.sleep(0.05)
        note("handled", gone.code, gone.reason)


@app.websocket("/tasks")
async def tasks(ws: WebSocket) -> None:
    """Two tasks: one receives, one sends on its own."""
    await ws.accept()

    async def tick() -> None:
        for number in range(1000):
            await ws.send(number)
            await asyncio.sleep(0.01)

    async def listen() -> None:
        async for message in ws:
            note("heard", message)

    ticking = asyncio.create_task(tick())
    try:
        await listen()
    finally:
        ticking.cancel()
        note("done")


@app.websocket("/group")
async def group(ws: WebSocket) -> None:
    """A task group: the one that receives goes on in peace, the one that sends finds nobody there."""
    await ws.accept()

    async def listen() -> None:
        async for message in ws:
            note("heard", message)
        await asyncio.sleep(0.05)
        note("listened")

    async def tick() -> None:
        while True:
            await ws.send("tick")
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen())
        tasks.create_task(tick())


@app.websocket("/twice")
async def twice(ws: WebSocket) -> None:
    await ws.accept()
    waiting = asyncio.create_task(ws.receive_text())
    await asyncio.sleep(0)
    try:
        await ws.receive()
    except RuntimeError as error:
        await ws.send(str(error))
    await ws.send(await waiting)


@app.websocket("/patient")
async def patient(ws: WebSocket) -> None:
    """A wait that is given up loses no message."""
    await ws.accept()
    for _ in range(3):
        try:
            async with asyncio.timeout(0.05):
                await ws.receive()
        except TimeoutError:
            pass
    await ws.send("now")
    await ws.send(await ws.receive())


@app.websocket("/small", max_message=10)
async def small(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(len(message))
    note("ended", ws.close_code)


@app.websocket("/idle", receive_timeout=0.1)
async def idle(ws: WebSocket) -> None:
    async for _ in ws:
        pass
    note("ended", ws.close_code)


@app.websocket("/flood")
async def flood(ws: WebSocket) -> None:
    sent = 0
    try:
        while True:
            await ws.send(b"x" * 65536)
            sent += 1
            app.extensions["flooded"] = sent
    except WebSocketDisconnect:
        note("disconnect", sent)


@app.websocket("/sync/flood")
def sync_flood(ws: BlockingWebSocket) -> None:
    sent = 0
    try:
        while True:
            ws.send(b"x" * 65536)
            sent += 1
            app.extensions["flooded"] = sent
    except WebSocketDisconnect:
        note("disconnect", sent)


@app.get("/flooded")
async def flooded() -> Any:
    return {"sent": app.extensions.get("flooded", 0)}


@app.websocket("/hoard")
async def hoard(ws: WebSocket) -> None:
    """Receives one message, then nothing for a while."""
    await ws.receive()
    await asyncio.sleep(2)


@app.websocket("/sync/hoard")
def sync_hoard(ws: BlockingWebSocket) -> None:
    ws.receive()
    time.sleep(2)


@app.websocket("/threads")
def threads(ws: BlockingWebSocket) -> None:
    ws.send([threading.current_thread().name, g.opened == threading.get_ident()])
    ws.receive()


@app.websocket("/from-anywhere", origins="*")
async def from_anywhere(ws: WebSocket) -> None:
    await ws.send("hello")


@app.websocket("/from-partners", origins=["https://partner.example", "http://localhost:3000"])
async def from_partners(ws: WebSocket) -> None:
    await ws.send("hello")


@app.websocket("/urls")
async def urls(ws: WebSocket) -> None:
    await ws.send([url_for("echo", room="a b"), url_for("kept", _external=True), request.url])


@app.get("/urls")
async def page_urls() -> Any:
    return [url_for("echo", room="a b"), url_for("part.part_echo", _external=True)]


class Chat(Handler):
    def prepare(self) -> Any:
        note("prepare")
        if self.request.args.get("refuse") == "prepare":
            return "not prepared", 409
        return None

    def on_finish(self) -> None:
        note("finish")

    async def websocket(self, ws: WebSocket, room: str) -> None:
        async for message in ws:
            await ws.send(f"{type(self).__name__} {room}: {message}")


class SyncChat(Chat):
    def websocket(self, ws: BlockingWebSocket, room: str) -> None:  # type: ignore[override]
        for message in ws:
            ws.send(f"{type(self).__name__} {room}: {message}")


app.websocket("/class/<room>")(Chat)
app.websocket("/sync/class/<room>")(SyncChat)

part = Blueprint("part", __name__, url_prefix="/part")


@part.before_request
async def before_part() -> Any:
    if request.args.get("refuse") == "part":
        abort(451)
    return None


@part.websocket("/echo")
async def part_echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send([request.blueprint, message])


app.register_blueprint(part)


@app.websocket("/rooms/<room>")
async def rooms(ws: WebSocket, room: str) -> None:
    await ws.join(room, history=int(request.args.get("history", 0)))
    await ws.send("joined")
    async for message in ws:
        if message == "leave":
            await ws.leave(room)
            await ws.send("left")
        elif message == "again":
            try:
                await ws.join(room)
            except ValueError as error:
                await ws.send(str(error))
        else:
            await app.channels.publish(room, message)


@app.websocket("/sync/rooms/<room>")
def sync_rooms(ws: BlockingWebSocket, room: str) -> None:
    ws.join(room, convert=lambda message: {"topic": message.topic, "data": message.data})
    ws.send("joined")
    for message in ws:
        app.channels.sync.publish(room, message)
