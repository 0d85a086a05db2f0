"""The WebSocket door (ASGI 3, `websocket` scopes): from a handshake to its plan, and to the answer that refuses it.

What is said once the handshake is accepted stands in `socket.py`.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.exceptions import ServiceUnavailable

from ..pipeline.drive import drive, outward, run
from ..pipeline.offload import admit
from ..pipeline.plan import Plan
from ..pipeline.threads import QueuedTooLong, ThreadPool
from ..wire.asgi import Event, Receive, Scope, Send
from ..wire.close_codes import ABNORMAL, INTERNAL, NORMAL
from ..wire.errors import MalformedPath
from ..wire.response import Answer, HeaderPairs, final_headers
from .bridge import detour_asgi
from .emit import close as close_body
from .gone import ClientGone
from .heads import MALFORMED, AsgiHead, encoded, path_in_app
from .socket import CrossedWire, Socket, State, Terms, Watched, WebSocketDisconnect, Wire

#: Sends a Response as `http.response.*` events: (response, request, scope, watch, send).
Emit = Callable[[Any, Any, Scope, Any, Send], Awaitable[None]]


#: The terms of a handshake that no route takes.
ANY = Terms()


@dataclass(frozen=True, slots=True)
class SocketPlan(Plan):
    """The way of every handshake to one route: a plan whose way out is gone at the accept, or with the refusal.

    Attributes:
        way: the same as it would be for a page; its way out is what runs at the accept.
    """

    way: Plan | None = None
    terms: Terms = ANY



# -- threads of `def` views -------------------------------------------------------------------------


class Threads:
    """The threads that an app's `def` views keep while their sockets are open: not those of its pages."""

    def __init__(self, most: int) -> None:
        self.pool = ThreadPool(most, "carboy-websocket")
        self.busy = 0
        self.lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        return self.busy >= self.pool.size

    async def follow(self, plan: Plan, ctx: Any) -> Any:
        with self.lock:
            self.busy += 1
        done = self.pool.submit(asyncio.get_running_loop(), self.drive, (run(plan, ctx),))
        done.add_done_callback(_seen)
        return await asyncio.shield(done)

    def drive(self, journey: Coroutine[Any, Any, Any]) -> Any:
        """Called in the thread: its loop may be gone when it ends."""
        try:
            return drive(journey)
        finally:
            with self.lock:
                self.busy -= 1


def _seen(done: asyncio.Future[Any]) -> None:
    """Take note of an error where nobody waits for it any more."""
    if not done.cancelled():
        done.exception()


_threads: weakref.WeakKeyDictionary[Any, Threads] = weakref.WeakKeyDictionary()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.clear)


def threads_of(app: Any, most: int) -> Threads:
    found = _threads.get(app)
    if found is None:
        found = _threads[app] = Threads(most)
    return found


# -- the door -------------------------------------------------------------------------------------


class SocketHead(AsgiHead):
    """Where a websocket scope keeps the parts of its request: a GET (RFC 6455 §4.1)."""

    __slots__ = ()

    def environ(self) -> dict[str, Any]:
        environ = AsgiHead({**self.scope, "method": "GET"}, self.path).environ()
        # WSGI knows no other schemes, and what reads environs asks for these.
        environ["wsgi.url_scheme"] = "https" if self.scheme() == "wss" else "http"
        return environ

    def scheme(self) -> str:
        return str(self.scope.get("scheme") or "ws")


async def serve(app: Any, scope: Scope, receive: Receive, send: Send, emit: Emit) -> None:
    """Serve one websocket scope.

    Args:
        app: the app behind the door; `Served`, and `find_socket`, `websocket_class`.
        emit: sends the answer of a refusal.
    """
    if app.mounts and await detour(app, scope, receive, send):
        return
    if (await receive())["type"] != "websocket.connect":
        return
    try:
        path = path_in_app(scope)
    except MalformedPath:
        path = MALFORMED
    head = SocketHead(scope, path)
    request = app.request_class.from_head(head, "GET", path)
    ctx = app.find_socket(request)
    plan: SocketPlan = ctx.plan
    terms = plan.terms
    wire = Wire(receive, send)
    socket = Socket(wire, terms, subprotocols(scope), lambda: greet(plan, ctx))
    try:
        if plan.is_async:
            wire.cancels = terms.cancels
            ctx.websocket = app.websocket_class(socket, ctx)
            response = await Watched(run(plan, ctx), wire)
        else:
            socket.wire = CrossedWire(wire)
            ctx.websocket = app.websocket_class.blocking_class(app.websocket_class(socket, ctx))
            response = await in_thread(app, plan, ctx)
        socket.wire = wire
        if socket.is_greeted:
            if socket.state is State.OPEN:
                await socket.close(*socket.ending)
        elif wire.gone is None:
            await refuse(response, request, scope, send, emit)
    except ClientGone:
        pass
    except QueuedTooLong:
        await refuse(Answer(503, [("Content-Length", "0")], b""), request, scope, send, emit)
    except Exception:
        # Raised again where errors propagate: the peer must not be left without a word.
        socket.wire = wire
        if socket.state is State.OPEN:
            await socket.close(INTERNAL)
        raise
    finally:
        for callback in socket.at_end:
            callback()
        # They hold what holds the socket.
        socket.at_end.clear()
        # Also where the server has cancelled us: a view in a thread learns it now.
        wire.end(WebSocketDisconnect(ABNORMAL))


async def in_thread(app: Any, plan: SocketPlan, ctx: Any) -> Any:
    """Follow a sync plan: a `def` view keeps a thread of its own kind; a refusal takes one of those of pages."""
    if plan.terms.holds_thread:
        threads = threads_of(app, plan.terms.threads)
        if not threads.is_full:
            return await threads.follow(plan, ctx)
        app.logger.warning("all %d threads for WebSockets of def views are taken (WEBSOCKET_THREADS); a handshake is refused with 503", threads.busy)
        ctx.plan = plan = plan.failing(ServiceUnavailable())  # type: ignore[assignment]  # a plan of the same class
    return await admit(drive, run(plan, ctx))


async def greet(plan: SocketPlan, ctx: Any) -> HeaderPairs:
    """Run what stands after the view, on a 101 response; the headers that it leaves there."""
    response = ctx.app.response_class(status=101)
    response.headers.pop("Content-Type", None)
    ctx.response = response
    if plan.way is not None:
        await outward(plan.way, ctx)
    ctx.after = None
    return final_headers(ctx.response)


async def refuse(response: Any, request: Any, scope: Scope, send: Send, emit: Emit) -> None:
    """Answer the handshake with a response; with a bare refusal (403) where the server can send no other."""
    if "websocket.http.response" not in (scope.get("extensions") or ()):
        if type(response) is not Answer:
            await close_body(response, response.response)
        await send({"type": "websocket.close", "code": NORMAL, "reason": ""})
        return

    async def as_refusal(event: Event) -> None:
        await send({**event, "type": f"websocket.{event['type']}"})

    if type(response) is Answer:
        await as_refusal({"type": "http.response.start", "status": response.status_code, "headers": encoded(response.headers)})
        await as_refusal({"type": "http.response.body", "body": response.body})
        return
    await emit(response, request, {**scope, "method": "GET", "extensions": {}}, _NoWatch, as_refusal)


class _NoWatch:
    """A client that waits for a refusal is not watched."""

    @staticmethod
    async def over() -> None:
        await asyncio.get_running_loop().create_future()


async def detour(app: Any, scope: Scope, receive: Receive, send: Send) -> bool:
    """Serve through a mounted ASGI application; False where the handshake stays here."""
    host = next((value.decode("latin1") for name, value in scope["headers"] if name == b"host"), "")
    try:
        mount = app.mounts.find(host, path_in_app(scope))
    except MalformedPath:
        return False
    if mount is None or not mount.is_asgi:
        return False  # WSGI knows no sockets; the miss says so
    return await detour_asgi(app, scope, receive, send)


def subprotocols(scope: Scope) -> tuple[str, ...]:
    """What the client offers; from the header where the server does not tell."""
    told: Sequence[str] | None = scope.get("subprotocols")
    if told is None:
        fields = (value.decode("latin1") for name, value in scope["headers"] if name == b"sec-websocket-protocol")
        told = [one.strip() for field in fields for one in field.split(",") if one.strip()]
    return tuple(told)
