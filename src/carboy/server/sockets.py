"""All WebSockets of a worker: from the handshake to the goodbye. One of them: `websocket.py`; whose it was: `takeover.py`.

To the door a handshake is a request like any other, with its Host, proxies, id and deadline; it is over when it is
answered: by a 101, after which the application goes on in a task of its own, or by whatever it refuses with.
To the application it is the `websocket` scope of ASGI, extension `websocket.http.response` included.

One timer looks at all sockets, so that an idle one has none of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..wire.asgi import ASGIApp, Event, Receive, Scope, Send
from ..wire.close_codes import ABNORMAL, INTERNAL, NORMAL, RESTART
from .options import Options
from .proxy import PEER, SOCKET_SCHEMES
from .takeover import Finder, Held
from .tally import Tally

if TYPE_CHECKING:
    from .websocket import Connection, Handshake

log = logging.getLogger("carboy.server")

#: Sockets that are looked at, or told, in one turn of the loop. PERF: a ping is 6 µs, a goodbye 20.
AT_ONCE = 256
#: Seconds that applications have, after the goodbye, to see it and end.
GRACE = 2.0

BUSY = "The server has no room for another WebSocket. Try again."
LEAVING = "This worker is leaving. Try again."
BODY = "A WebSocket handshake has no body."


class Sockets:
    """The WebSockets of one worker.

    Args:
        listening: where their connections were accepted.
        connections: HTTP connections that granian may hold at once.
    """

    def __init__(self, options: Options, listening: socket.socket, connections: int, tally: Tally) -> None:
        self.options = options
        self.tally = tally
        self.finder = Finder(listening, connections)
        #: What is open, by the inode of its TCP socket.
        self.open: dict[int, Connection] = {}
        self.emptied = asyncio.Event()
        #: The applications of sockets, from the handshake on.
        self.tasks: set[asyncio.Task[None]] = set()
        limits = [each for each in (options.ws_ping, options.ws_ping_timeout, options.write_timeout) if each > 0]
        #: Seconds between two ticks: a limit is kept to within a tenth of it, and to within a second.
        self.period = max(0.05, min([1.0, *(each / 10 for each in limits)]))
        self.is_ticking = False
        self.is_loaded = False
        #: The code of the goodbye, once that is said.
        self.goodbye: int | None = None
        #: What is put around the application of each socket: who stands before the door sees only the handshake.
        self.around: Callable[[ASGIApp], ASGIApp] = lambda app: app

    # -- the handshake ------------------------------------------------------------------------------

    async def welcome(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a handshake; return when it is answered.

        Args:
            scope: an `http` scope, as the door has made it.
        """
        if self.tally.draining:
            await refuse(send, 503, LEAVING)
            return
        if not self.is_loaded:
            # Only now, and beside the loop: a worker without WebSockets is spared 50 to 150 ms and some memory.
            await asyncio.to_thread(_load)
            self.is_loaded = True
        from .websocket import Handshake

        handshake = Handshake(scope["headers"], self.options.ws_compression)
        response = handshake.refusal
        if response is not None:
            extra = [(name.lower().encode(), value.encode()) for name, value in response.headers.raw_items()]
            await refuse(send, response.status_code, (response.body or b"").decode(), [pair for pair in extra if pair[0] not in _OWN])
            return
        peer = scope[PEER][0] if PEER in scope else scope["client"]
        try:
            held = self.finder.find((peer[0], int(peer[1])), self.open)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            held = None
        if held is None:
            await refuse(send, 503, BUSY, [(b"retry-after", b"2")])
            return
        guest = Guest(self, handshake, held, receive, send)
        task = asyncio.create_task(guest.run(self.around(app), scope_of(scope, handshake)))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            await asyncio.shield(guest.answered)
        except asyncio.CancelledError:
            guest.answered.cancel()
            task.cancel()
            raise
        except Unanswered:
            await refuse(send, 503, LEAVING)

    def begin(self, connection: Connection) -> None:
        self.open[connection.key] = connection
        self.emptied.clear()
        if self.goodbye is not None:
            connection.close(self.goodbye)
        if not self.is_ticking:
            self.is_ticking = True
            asyncio.get_running_loop().call_later(self.period, self.tick)

    def ended(self, connection: Connection) -> None:
        self.open.pop(connection.key, None)
        if not self.open:
            self.emptied.set()

    # -- while they are open ------------------------------------------------------------------------

    def tick(self) -> None:
        if not self.open:
            self.is_ticking = False
            return
        self.inspect([*self.open.values()], 0)

    def inspect(self, connections: list[Connection], start: int) -> None:
        loop = asyncio.get_running_loop()
        now, options = loop.time(), self.options
        try:
            for connection in connections[start : start + AT_ONCE]:
                connection.inspect(now, options.ws_ping, options.ws_ping_timeout, options.write_timeout)
        finally:
            # Whatever is wrong with one, the others are looked at again.
            if start + AT_ONCE < len(connections):
                loop.call_soon(self.inspect, connections, start + AT_ONCE)
            else:
                loop.call_later(self.period, self.tick)

    # -- the goodbye --------------------------------------------------------------------------------

    async def leave(self, code: int) -> None:
        """Close what is open, and see that it ends.

        Args:
            code: 1001 where nobody takes over, 1012 where a client may come again at once.
        """
        self.goodbye = code
        left = [*self.open.values()]
        for start in range(0, len(left), AT_ONCE):
            for connection in left[start : start + AT_ONCE]:
                connection.close(code)
            await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                if self.tasks:
                    await asyncio.wait(self.tasks)
                if self.open:
                    await self.emptied.wait()
        for connection in [*self.open.values()]:
            connection.abort()
        if self.tasks:
            log.warning("%d WebSocket applications have not ended after their goodbye; cancelled", len(self.tasks))
            for task in [*self.tasks]:
                task.cancel()
            await asyncio.wait(self.tasks, timeout=GRACE)


def _load() -> None:
    from . import websocket  # noqa: F401 - for its effect


_OWN = frozenset({b"date", b"connection", b"content-length", b"content-type"})


async def refuse(send: Send, status: int, text: str, extra: Any = ()) -> None:
    """Answer a handshake for the server itself, in plain text."""
    body = text.rstrip("\n").encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def scope_of(scope: Scope, handshake: Handshake) -> Scope:
    """The `websocket` scope of a handshake's `http` scope."""
    made = {name: value for name, value in scope.items() if name != "method"}
    made.update(
        type="websocket",
        asgi={**scope["asgi"], "spec_version": "2.4"},
        scheme=SOCKET_SCHEMES[scope["scheme"]],
        subprotocols=handshake.subprotocols,
        # Granian gives ports as text.
        client=_with_number(scope.get("client")),
        server=_with_number(scope.get("server")),
        extensions={"websocket.http.response": {}},
    )
    made.pop("carboy.flight", None)
    return made


def _with_number(address: Any) -> Any:
    return None if address is None else (address[0], None if address[1] is None else int(address[1]))


class Unanswered(Exception):
    """The worker leaves, and the application had not answered the handshake."""


class Guest:
    """An application that is offered a WebSocket, and its `receive` and `send`."""

    def __init__(self, sockets: Sockets, handshake: Handshake, held: Held, receive: Receive, send: Send) -> None:
        self.sockets = sockets
        self.handshake: Handshake = handshake
        self.held: Held | None = held
        self.http_receive: Receive = receive
        self.http_send: Send = send
        self.connection: Connection | None = None
        #: The handshake has its answer, whatever it is, or will get none from us.
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_connect = False
        self.is_accepting = False
        self.is_refusing = False
        #: The client went before there was an answer.
        self.is_deserted = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Call the application, and end what it leaves open."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "backslashreplace")
        line = raw.partition(b"?")[0][:200].decode("ascii", "backslashreplace")
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.leave(RESTART if self.sockets.tally.draining else INTERNAL)
            if not self.answered.done():
                # By the worker's leaving, or out of the application's own inside.
                is_ours = self.sockets.tally.draining and not self.is_refusing
                text = f"WebSocket {line}: the application was cancelled before the handshake was answered"
                self.answered.set_exception(Unanswered(text) if is_ours else RuntimeError(text))
            raise
        except Exception as error:
            from .websocket import Gone

            if self.is_deserted or isinstance(error, Gone):
                # Whatever an application makes of a client that has gone is no news.
                self.settle()
                self.leave(INTERNAL)
            elif self.answered.done():
                log.exception("WebSocket %s: the application failed", line)
                self.leave(INTERNAL)
            else:
                # Towards the door, which answers 500 as for any request.
                self.answered.set_exception(error)
        else:
            if self.is_deserted:
                self.settle()
            elif not self.answered.done():
                self.answered.set_exception(RuntimeError(f"WebSocket {line}: the application has neither accepted nor refused"))
            self.leave(NORMAL)
        finally:
            self.let_go()

    def leave(self, code: int) -> None:
        if self.connection is not None:
            self.connection.close(code)

    async def receive(self) -> Event:
        if not self.has_connect:
            self.has_connect = True
            return {"type": "websocket.connect"}
        if self.connection is None and not self.is_accepting and not self.answered.done():
            # Nothing but the client's leaving can come now; granian says so too when it gives the connection up.
            while not self.is_deserted and (await self.http_receive())["type"] != "http.disconnect":
                pass
            if not self.is_accepting:
                self.is_deserted = True
        if self.is_accepting and not self.answered.done():
            await asyncio.wait([self.answered])
        if self.connection is None:
            return {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}
        return await self.connection.receive()

    async def send(self, event: Event) -> None:
        connection = self.connection
        kind = event["type"]
        if connection is not None:
            if kind == "websocket.send":
                await connection.send(event)
            elif kind == "websocket.close":
                connection.close(event.get("code", NORMAL), event.get("reason") or "")
            else:
                raise RuntimeError(f"{kind} after websocket.accept; websocket.send or websocket.close may follow")
        elif self.is_accepting:
            from .websocket import Gone

            raise Gone("the handshake is being answered, or could not be")
        elif self.answered.cancelled():
            from .websocket import Gone

            raise Gone("the client has gone before the handshake was answered")
        elif self.answered.done():
            raise RuntimeError(f"{kind} after a refusal")
        elif kind == "websocket.accept" and not self.is_refusing:
            await self.accept(event)
        elif kind == "websocket.close" and not self.is_refusing:
            await refuse(self.http_send, 403, "The WebSocket is refused.")
            self.settle()
        elif kind == "websocket.http.response.start" and not self.is_refusing:
            self.is_refusing = True
            await self.http_send({"type": "http.response.start", "status": event["status"], "headers": list(event.get("headers", ()))})
        elif kind == "websocket.http.response.body" and self.is_refusing:
            more = event.get("more_body", False)
            await self.http_send({"type": "http.response.body", "body": event.get("body", b""), "more_body": more})
            if not more:
                self.settle()
        else:
            raise RuntimeError(f"{kind} before websocket.accept, or within a refusal")

    async def accept(self, event: Event) -> None:
        """Answer 101, and take the connection over.

        Raises:
            Gone: the client has gone, or granian does not give the connection up.
            ValueError: what the application wants to be answered cannot be.
        """
        from .websocket import Connection, Gone

        headers = self.handshake.answer(event)
        held = self.held
        if held is None or held.is_released():
            self.is_deserted = True
            raise Gone("the client has gone before the handshake was answered")
        self.is_accepting = True
        try:
            await self.http_send({"type": "http.response.start", "status": 101, "headers": headers})
            await self.http_send({"type": "http.response.body", "body": b""})
            if not await held.released():
                log.warning("a WebSocket's connection was not given up by the HTTP parser; closed")
                raise Gone("the connection could not be taken over")
            carrier = socket.socket(fileno=held.fd)
            self.held = None
            try:
                carrier.setblocking(False)
                self.connection = await self.connect(carrier, Connection(self.handshake, held.inode, self.sockets.options.ws_max_message, self.sockets.ended))
            except BaseException:
                carrier.close()
                raise
        finally:
            self.settle()
            # The request is over; what it stood on may go.
            del self.handshake, self.http_receive, self.http_send

    async def connect(self, carrier: socket.socket, connection: Connection) -> Connection:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, carrier)
        if not transport.is_closing():
            self.sockets.begin(connection)
        return connection

    def settle(self) -> None:
        """The handshake is answered, and the connection ours or granian's."""
        self.let_go()
        if not self.answered.done():
            self.answered.set_result(None)

    def let_go(self) -> None:
        """Keep no hold of a connection that is not ours: granian could not end it."""
        if self.held is not None:
            self.held.close()
            self.held = None
