"""The ASGI door (ASGI 3): http, lifespan; what becomes of a websocket scope stands in `websocket.py`.

A sync plan goes to a thread in one hop; an async one is awaited here. The body is read first, within the limit.
"""

from __future__ import annotations

import asyncio
import functools
import io
from typing import Any

from werkzeug.exceptions import ClientDisconnected, HTTPException

from ..pipeline.drive import drive, run
from ..pipeline.offload import admit
from ..pipeline.plan import Plan
from ..wire.asgi import Receive, Scope, Send
from ..wire.body import BodyBuffer, BodyMeter, declared_length
from ..wire.errors import MalformedPath
from ..wire.files import FilePayload
from ..wire.response import BODILESS, Answer, final_headers, is_bodiless
from . import websocket
from .arriving import Arriving, Incoming, hand_over
from .bridge import detour_asgi, emit_wsgi_response, serve_lifespan
from .emit import close, is_whole, joined, makes_own_output
from .flow import Flow, as_bytes, flow_of
from .gone import ClientGone, UntilGone, disconnect, until_gone
from .heads import MALFORMED, AsgiHead, encoded, has_body, path_in_app
from .served import Served, Visit


async def application(app: Served, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ASGI scope; `Carboy.asgi_app` is this function."""
    kind = scope["type"]
    if kind != "http":
        if kind == "lifespan":
            await serve_lifespan(app, scope, receive, send)
        elif kind == "websocket":
            await websocket.serve(app, scope, receive, send, emit)
        else:
            raise RuntimeError(f"an ASGI scope of type {kind!r} is unknown to Carboy")
        return
    if app.has_detours:
        if await detour_asgi(app, scope, receive, send):
            return
    method: str = scope["method"]
    try:
        path = path_in_app(scope)
    except MalformedPath:
        path = MALFORMED
    head = AsgiHead(scope, path)
    request = app.request_class.from_head(head, method, path)
    ctx: Visit = app.find(request, True)
    plan = ctx.plan
    incoming: Incoming | None = None
    if has_body(scope):
        try:
            if plan.reads_body or (plan.is_async and not plan.view_awaits):
                plan = ctx.plan = await read_body(app, plan, head, receive)
            else:
                plan = ctx.plan = let_arrive(app, plan, head, receive)
        except ClientGone:
            return
        incoming = hand_over(head, request)
    watch: Watch | None = None
    try:
        if not plan.is_async:
            response = await admit(drive, run(plan, ctx))
        else:
            # The first step here, not in `until_gone`: a view that answers at once makes neither object nor frame.
            journey = run(plan, ctx)
            try:
                waits_for = journey.send(None)
            except StopIteration as stop:
                response = stop.value
            else:
                watch = Watch(receive, incoming)
                response = await UntilGone(journey, waits_for, Watch.over, watch)
        if type(response) is Answer:
            status, headers, body = response
            await send({"type": "http.response.start", "status": status, "headers": list(map(_encoded, headers))})
            if method == "HEAD" or status in BODILESS:
                body = b""
            await send({"type": "http.response.body", "body": body})
            return
        if watch is None:
            watch = Watch(receive, incoming)
        await emit(response, request, scope, watch, send)
    except ClientGone:
        return
    finally:
        if watch is not None:
            watch.end()
        if incoming is not None:
            incoming.close()


# PERF: an Answer has one of a few content types and a length: 0.1 µs for 0.4 a pair.
@functools.lru_cache(maxsize=1024)
def _encoded(pair: tuple[str, str]) -> tuple[bytes, bytes]:
    """A header pair as ASGI has it: a lower-case name, bytes."""
    return pair[0].lower().encode("latin1"), pair[1].encode("latin1")


class Watch:
    """The wait for a request's `http.disconnect`: one, however many parts of its work are given up with the client.

    Gunicorn 27 takes a wait that was cancelled for the disconnect itself, and tells it to the next one.
    """

    __slots__ = ("incoming", "receive", "task")

    def __init__(self, receive: Receive, incoming: Incoming | None = None) -> None:
        self.receive = receive
        #: The body, while it is still coming.
        self.incoming = incoming
        self.task: asyncio.Task[None] | None = None

    async def over(self) -> None:
        """Wait for the client to go; may be cancelled and asked again."""
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(disconnected(self.receive, self.incoming))
        await asyncio.shield(self.task)

    def end(self) -> None:
        if self.task is not None:
            self.task.cancel()


async def disconnected(receive: Receive, incoming: Incoming | None = None) -> None:
    """Wait for `http.disconnect`: in the body, if it is still coming, or after it."""
    if incoming is not None:
        await incoming.gone()
        if not incoming.is_over:
            return
    await disconnect(receive)


async def read_body(app: Served, plan: Plan, head: AsgiHead, receive: Receive) -> Plan:
    """Read the body into `head.body`; a plan that raises is returned where it is too long or broken.

    Raises:
        ClientGone: nobody is left to answer.
    """
    try:
        length = declared_length([value for name, value in head.scope["headers"] if name == b"content-length"])
        buffer = BodyBuffer(app.body_limit(plan), length)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            if chunk:
                buffer.feed(chunk)
            if not message.get("more_body", False):
                break
        head.body = buffer.finish()
    except HTTPException as error:
        return plan.failing(error)
    return plan


def let_arrive(app: Served, plan: Plan, head: AsgiHead, receive: Receive) -> Plan:
    """Make `head.body` of what will come; a plan that raises is returned where the length told is too much or broken."""
    try:
        length = declared_length([value for name, value in head.scope["headers"] if name == b"content-length"])
        meter = BodyMeter(app.body_limit(plan), length)
    except HTTPException as error:
        return plan.failing(error)
    if plan.is_async:
        head.body = Incoming(functools.partial(next_piece, receive), meter)
    else:
        head.body = io.BufferedReader(Arriving(receive, asyncio.get_running_loop(), meter), 64 * 1024)
    return plan


async def next_piece(receive: Receive) -> tuple[bytes, bool]:
    """A piece of the body, and whether there is more.

    Raises:
        ClientDisconnected: the client has gone.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)


async def emit(response: Any, request: Any, scope: Scope, watch: Watch, send: Send) -> None:
    """Send a Response; a stream ends with its client."""
    if makes_own_output(response):
        await emit_wsgi_response(response, request, send)
        return
    status: int = response.status_code
    is_empty = scope["method"] == "HEAD" or is_bodiless(status)
    start = {"type": "http.response.start", "status": status, "headers": encoded(final_headers(response, {}))}
    body = response.response
    if is_whole(response):
        await send(start)
        await send({"type": "http.response.body", "body": b"" if is_empty else joined(body)})
        return
    try:
        if is_empty:
            await send(start)
            await send({"type": "http.response.body", "body": b""})
        elif type(body) is list or type(body) is tuple:
            await send(start)
            await send({"type": "http.response.body", "body": joined(body)})
        elif type(body) is FilePayload and body.is_whole_file and "http.response.pathsend" in scope.get("extensions", ()):
            await send(start)
            await send({"type": "http.response.pathsend", "path": str(body.path)})
        else:
            await send(start)
            body = flow_of(body)
            await until_gone(_stream(body, send), Watch.over, watch)
    except ClientGone:
        pass  # closing what was being sent is all that is left to do
    finally:
        await close(response, body)


async def _stream(flow: Flow, send: Send) -> None:
    async for chunk in flow:
        if chunk:
            await send({"type": "http.response.body", "body": as_bytes(chunk), "more_body": True})
    await send({"type": "http.response.body", "body": b""})
