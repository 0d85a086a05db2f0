"""One WebSocket, seen from the application: the protocol's state, its messages as bytes and text, its end.

Three objects. `Wire` speaks with the server, on its loop; `CrossedWire` does so for a view in a thread; `Socket` holds
the state, written once for both colours: it waits for nothing but its wire. What a message means is not known here
(`realtime/websocket.py`), nor how a handshake finds its view (`websocket.py`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..wire.asgi import Event, Receive, Send
from ..wire.close_codes import ABNORMAL, GOING_AWAY, INVALID_DATA, NEVER_SENT, NO_CODE, NORMAL, TIMED_OUT, TOO_LARGE
from ..wire.response import HeaderPairs
from .gone import ClientGone
from .heads import encoded

#: Seconds in which a server that could not send any more tells with which code the connection was closed.
CODE_LIMIT = 0.1
#: Seconds between two looks of a waiting thread at whether its loop is still there.
LOOP_CHECK = 2.0

#: RFC 6455 §5.5: a control frame has 125 bytes, two of them the code.
_LONGEST_REASON = 123
#: What belongs to the handshake itself, or to a body that it has not.
_NOT_AT_ACCEPT = frozenset(
    {
        "connection", "content-length", "content-type", "sec-websocket-accept", "sec-websocket-extensions",
        "sec-websocket-protocol", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


class WebSocketDisconnect(Exception):
    """The socket is closed: by the peer, by the application, or because the connection broke.

    Attributes:
        code: 1005 where the peer gave none, 1006 where the connection broke (RFC 6455 §7.4.1).
        reason: a short text; often empty.
    """

    def __init__(self, code: int = NORMAL, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the WebSocket is closed: {self.code}{f' {self.reason}' if self.reason else ''}"


class InvalidMessage(ValueError):
    """A message that is not what the view asked for. Where nobody catches it, the socket is closed with its code.

    Attributes:
        code: 1007, or 1003 where text was asked for and bytes came, or the other way round.
    """

    def __init__(self, text: str, code: int = INVALID_DATA) -> None:
        super().__init__(text)
        self.code = code


class State(Enum):
    CONNECTING = "connecting"
    OPEN = "open"
    REFUSED = "refused"
    CLOSED = "closed"


#: What may happen in a state, and the state after it.
MOVES: Mapping[State, Mapping[str, State]] = {
    State.CONNECTING: {"accept": State.OPEN, "close": State.REFUSED, "disconnect": State.CLOSED},
    State.OPEN: {"receive": State.OPEN, "send": State.OPEN, "close": State.CLOSED, "disconnect": State.CLOSED},
    State.REFUSED: {"close": State.REFUSED},
    State.CLOSED: {"close": State.CLOSED, "disconnect": State.CLOSED},
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a route asks of its sockets.

    Attributes:
        subprotocols: in order of preference.
        max_message: most bytes of a message; None for no limit.
        receive_timeout: seconds that a receive waits; None for as long as it takes.
        cancels: the view is cancelled when its peer goes while it waits for something else.
        holds_thread: the view is a `def`: it keeps a thread for as long as the socket is open.
        threads: most such views at a time.
    """

    subprotocols: tuple[str, ...] = ()
    max_message: int | None = None
    receive_timeout: float | None = None
    cancels: bool = True
    holds_thread: bool = False
    threads: int = 1



# -- the wire -------------------------------------------------------------------------------------


class Wire:
    """The server's side of one socket; lives on its loop.

    Nothing is read ahead, save one message: where the view waits for something else, only a look at what comes next
    tells that the peer has gone.
    """

    __slots__ = (
        "ahead", "cancels", "closing", "elsewhere", "gone", "goodbye", "has_cancelled", "is_open", "is_sending", "is_told",
        "leaving", "loop", "news", "raw_receive", "raw_send", "receiver", "view",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send) -> None:
        self.raw_receive = receive
        self.raw_send = send
        self.loop = asyncio.get_running_loop()
        #: The message that comes next, asked for.
        self.ahead: asyncio.Task[Event] | None = None
        #: What `receive` waits for.
        self.news: asyncio.Future[None] | None = None
        #: Which task waits in `receive`.
        self.receiver: asyncio.Task[Any] | None = None
        #: The task of an async view; None for one in a thread.
        self.view: asyncio.Task[Any] | None = None
        self.cancels = False
        self.is_open = False
        #: The view waits for something that is no message.
        self.elsewhere = False
        self.gone: WebSocketDisconnect | None = None
        #: The view has learned that the peer is gone, and does what is left to do.
        self.is_told = False
        self.has_cancelled = False
        #: The view's task waits in `send`.
        self.is_sending = False
        self.goodbye: asyncio.Task[None] | None = None
        #: The code of a goodbye that was asked for before there was anything to close.
        self.leaving: int | None = None
        #: The close that goes out, or has gone out: a server takes a second one for an error.
        self.closing: WebSocketDisconnect | None = None

    async def receive(self, timeout: float | None) -> Event:
        """Wait for the next message; cancelling the wait loses none.

        Raises:
            TimeoutError: nothing came.
            WebSocketDisconnect: nothing will come.
        """
        if self.receiver is not None:
            raise RuntimeError("two tasks receive from one WebSocket at the same time; let one receive and pass on what came")
        self.receiver = asyncio.current_task()
        try:
            if self.gone is not None:
                self.is_told = True
                raise self.farewell()
            task = self.ahead or self.look_ahead()
            if task.done():
                # In this very turn of the loop, perhaps: then nobody has looked at it yet.
                self.has_looked(task)
            else:
                # PERF: a future of ours, where `asyncio.wait` or a shield would cost ten microseconds a message.
                self.news = self.loop.create_future()
                if timeout is None:
                    await self.news
                else:
                    async with asyncio.timeout(timeout):
                        await self.news
            if self.gone is not None:
                self.is_told = True
                raise self.farewell()
            self.ahead = None
            event = task.result()
        finally:
            self.receiver = self.news = None
        if self.elsewhere:
            self.look_ahead()
        return event

    async def send(self, event: Event) -> None:
        """Hand an event to the server; waits while the peer is slow to read.

        Raises:
            WebSocketDisconnect: nobody is there to read it.
        """
        is_view = asyncio.current_task() is self.view
        self.is_sending = self.is_sending or is_view
        try:
            await self.put(event)
        except WebSocketDisconnect:
            self.is_told = True
            raise
        finally:
            if is_view:
                self.is_sending = False

    async def put(self, event: Event) -> None:
        """`send` for work beside the view; the view itself learns nothing of it.

        Raises:
            WebSocketDisconnect: nobody is there to read it.
        """
        kind = event["type"]
        if self.gone is not None or (kind != "websocket.accept" and not self.is_open):
            raise self.farewell()
        if kind == "websocket.close":
            self.is_open = False
            self.closing = WebSocketDisconnect(event["code"], event["reason"])
        try:
            await self.raw_send(event)
        except OSError as error:
            # ASGI: what a server raises where the connection is closed; how it was closed, only `receive` tells.
            await asyncio.wait((self.ahead or self.look_ahead(),), timeout=CODE_LIMIT)
            self.end(WebSocketDisconnect(ABNORMAL))
            raise self.farewell() from error
        if kind == "websocket.accept":
            self.is_open = True
            if self.elsewhere:
                self.look_ahead()
            if self.leaving is not None:
                self.leave(self.leaving)

    async def perform(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do work on the loop that has to do with this socket."""
        return await work

    @property
    def base(self) -> Wire:
        """The wire on the loop."""
        return self

    def farewell(self) -> WebSocketDisconnect:
        """A new one each time: an exception keeps its traceback."""
        gone = self.gone or self.closing
        return WebSocketDisconnect(gone.code, gone.reason) if gone is not None else WebSocketDisconnect(ABNORMAL)

    def look_ahead(self) -> asyncio.Task[Event]:
        self.ahead = task = self.loop.create_task(self.next_event())
        task.add_done_callback(self.has_looked)
        return task

    async def next_event(self) -> Event:
        return await self.raw_receive()

    def has_looked(self, task: asyncio.Task[Event]) -> None:
        """See whether what came is the end; called on the loop, more than once it may be."""
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self.end(WebSocketDisconnect(ABNORMAL, str(error)))
            elif task.result()["type"] == "websocket.disconnect":
                event = task.result()
                self.end(WebSocketDisconnect(event.get("code") or NO_CODE, event.get("reason") or ""))
        # A receive that is waiting may be the next one's already.
        if task is self.ahead and self.news is not None and not self.news.done():
            self.news.set_result(None)

    def end(self, gone: WebSocketDisconnect) -> None:
        """Note that the socket is over; who receives is told, a view that waits elsewhere is cancelled."""
        if self.gone is None:
            self.gone = gone
        self.is_open = False
        if self.ahead is not None and not self.ahead.done():
            self.ahead.cancel()
        # Where a task of the view's receives, that one is told, and the view is its business.
        if self.elsewhere and self.receiver is None:
            self.cancel_view()

    def leave(self, code: int) -> None:
        """Say goodbye with 1001 or 1012, since the server is about to leave; called on the loop.

        A handshake that is still being answered gets it after its accept.
        """
        self.leaving = code
        if self.is_open and self.goodbye is None:
            reason = "the server stops" if code == GOING_AWAY else "the server restarts"
            self.goodbye = self.loop.create_task(self.hang_up(code, reason))

    async def hang_up(self, code: int, reason: str) -> None:
        """Close from beside the view, which is told by its next word, or cancelled."""
        gone = WebSocketDisconnect(code, reason)
        try:
            await self.put({"type": "websocket.close", "code": gone.code, "reason": gone.reason})
        except WebSocketDisconnect:
            return  # the peer was faster, or the view
        self.end(gone)

    def cancel_view(self) -> None:
        # A send that waits ends by itself: the server wakes it.
        if self.cancels and self.view is not None and not self.is_told and not self.is_sending:
            self.is_told = self.has_cancelled = True
            self.view.cancel()

    def view_waits(self) -> None:
        """The view's task is about to be suspended."""
        if self.receiver is self.view:
            return
        self.elsewhere = True
        if self.is_open:
            if self.ahead is None:
                self.look_ahead()
        elif self.gone is not None:
            self.cancel_view()

    def view_runs(self) -> None:
        self.elsewhere = False


class Watched:
    """Awaits the journey of an async view and lets its wire know when it is suspended.

    Raises:
        ClientGone: the peer has gone; the journey was cancelled.
    """

    __slots__ = ("journey", "wire")

    def __init__(self, journey: Coroutine[Any, Any, Any], wire: Wire) -> None:
        self.journey = journey
        self.wire = wire

    def __await__(self) -> Generator[Any, Any, Any]:
        journey, wire = self.journey, self.wire
        wire.view = task = asyncio.current_task()
        try:
            waits_for = journey.send(None)
            while True:
                wire.view_waits()
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    journey.close()
                    raise
                except BaseException as error:  # whatever is thrown into the task is the journey's
                    wire.view_runs()
                    waits_for = journey.throw(error)
                else:
                    wire.view_runs()
                    waits_for = journey.send(sent)
        except StopIteration as stop:
            return stop.value
        except asyncio.CancelledError:
            if wire.has_cancelled:
                raise ClientGone from None
            raise
        finally:
            wire.view = None
            wire.elsewhere = False
            if wire.has_cancelled and task is not None:
                task.uncancel()


class CrossedWire:
    """A wire for a view in a thread: the same two verbs, which block the thread and never suspend."""

    __slots__ = ("wire",)

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        # A thread cannot be interrupted: what it learns of its peer, it learns from the next message it sends.
        wire.elsewhere = True

    async def receive(self, timeout: float | None) -> Event:
        event: Event = self.wait(self.wire.receive(timeout))
        return event

    async def send(self, event: Event) -> None:
        self.wait(self.wire.send(event))

    async def perform(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.wait(work)

    @property
    def base(self) -> Wire:
        return self.wire

    def leave(self, code: int) -> None:
        self.wire.leave(code)

    def wait(self, verb: Coroutine[Any, Any, Any]) -> Any:
        try:
            future = asyncio.run_coroutine_threadsafe(verb, self.wire.loop)
        except RuntimeError:
            # The server's loop was closed while the view worked.
            verb.close()
            raise WebSocketDisconnect(ABNORMAL) from None
        while not concurrent.futures.wait((future,), LOOP_CHECK).done:
            if self.wire.loop.is_closed():
                # It took the call after its last turn: nobody will answer.
                verb.close()
                raise WebSocketDisconnect(ABNORMAL)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            # The loop is ending, and with it all that waits there.
            raise WebSocketDisconnect(ABNORMAL) from None


# -- the socket -----------------------------------------------------------------------------------


class Socket:
    """One WebSocket, seen from its view.

    Args:
        wire: where it is spoken.
        terms: of its route.
        offered: the subprotocols that the client offers.
        greet: runs what stands after the view on a 101 response; gives the headers to send with the accept.
    """

    def __init__(
        self, wire: Wire | CrossedWire, terms: Terms, offered: tuple[str, ...], greet: Callable[[], Awaitable[HeaderPairs]]
    ) -> None:
        self.wire = wire
        self.terms = terms
        self.offered = offered
        self.greet = greet
        self.state = State.CONNECTING
        self.is_greeted = False
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        #: Called on the loop when the connection is over.
        self.at_end: list[Callable[[], None]] = []
        #: With what to close where the view leaves it open.
        self.ending = (NORMAL, "")
        #: Set when the accept that a first send or receive has begun is done.
        self.opening: asyncio.Event | None = None

    def move(self, verb: str) -> None:
        """Take a step of `MOVES`.

        Raises:
            WebSocketDisconnect: the socket is closed.
            RuntimeError: the step is not possible here.
        """
        after = MOVES[self.state].get(verb)
        if after is None:
            if self.state is State.CLOSED:
                raise WebSocketDisconnect(self.close_code or ABNORMAL, self.close_reason)
            if self.state is State.REFUSED:
                raise RuntimeError(f"the WebSocket was closed before it was accepted; it cannot {verb} any more")
            raise RuntimeError(f"a WebSocket that is {self.state.value} cannot {verb}")
        self.state = after

    def end(self, gone: WebSocketDisconnect) -> WebSocketDisconnect:
        if self.close_code is None:
            self.close_code, self.close_reason = gone.code, gone.reason
        self.state = State.CLOSED
        return WebSocketDisconnect(self.close_code, self.close_reason)

    async def accept(self, subprotocol: str | None = None, headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None) -> None:
        """Accept the handshake; the session is saved, and what else stands after the view runs.

        Raises:
            ValueError: a subprotocol that the client has not offered (RFC 6455 §4.2.2), or a header of the handshake.
        """
        if self.state is not State.CONNECTING:
            self.move("accept")
        if subprotocol is None:
            subprotocol = next((one for one in self.terms.subprotocols if one in self.offered), None)
        elif subprotocol not in self.offered:
            offered = ", ".join(self.offered) or "none"
            raise ValueError(f"the client has not offered the subprotocol {subprotocol!r}, so it cannot be chosen; it offers {offered}")
        told: Any = headers.items() if isinstance(headers, Mapping) else headers or ()
        own: HeaderPairs = list(told)
        for name, value in own:
            if name.lower() in _NOT_AT_ACCEPT:
                raise ValueError(f"the header {name!r} belongs to the handshake and cannot be set; choose a subprotocol by subprotocol=")
            if any(mark in name + value for mark in "\r\n\0"):
                raise ValueError(f"the header {name!r} holds a line break")
        pairs = [pair for pair in await self.greet() if pair[0].lower() not in _NOT_AT_ACCEPT]
        self.is_greeted = True
        self.subprotocol = subprotocol
        try:
            await self.wire.send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": encoded([*pairs, *own])})
        except WebSocketDisconnect as gone:
            raise self.end(gone) from gone.__cause__
        self.move("accept")

    async def open(self) -> None:
        """Accept for a first send or receive; of several tasks that come at once, one does it and the others wait for it."""
        if self.opening is None:
            self.opening = asyncio.Event()
            try:
                await self.accept()
            finally:
                done, self.opening = self.opening, None
                # A `def` view is in a thread of its own; on a loop that was closed meanwhile nobody waits any more.
                with contextlib.suppress(RuntimeError):
                    self.wire.base.loop.call_soon_threadsafe(done.set)
        else:
            await self.wire.perform(self.opening.wait())

    async def receive(self) -> str | bytes:
        """Wait for a message. The first one accepts.

        Raises:
            WebSocketDisconnect: there will be none; or it was too long, or too late.
        """
        while self.state is State.CONNECTING:  # again, where the task that was at it has been cancelled
            await self.open()
        self.move("receive")
        terms = self.terms
        try:
            event = await self.wire.receive(terms.receive_timeout)
        except TimeoutError:
            await self.close(TIMED_OUT, f"nothing came for {terms.receive_timeout:g} s")
            raise WebSocketDisconnect(TIMED_OUT, self.close_reason) from None
        except WebSocketDisconnect as gone:
            raise self.end(gone) from None
        text: str | None = event.get("text")
        message: str | bytes = event["bytes"] if text is None else text
        most = terms.max_message
        if most is not None and len(message) * 4 > most and _size(message) > most:
            await self.close(TOO_LARGE, f"a message has {_size(message)} bytes, {most} are allowed")
            raise WebSocketDisconnect(TOO_LARGE, self.close_reason)
        return message

    async def send(self, message: str | bytes) -> None:
        """Send text, or bytes; the first one accepts. Returns when the server has taken it.

        Raises:
            WebSocketDisconnect: the peer is gone.
        """
        while self.state is State.CONNECTING:  # again, where the task that was at it has been cancelled
            await self.open()
        self.move("send")
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self.wire.send({"type": "websocket.send", kind: message})
        except WebSocketDisconnect as gone:
            raise self.end(gone) from gone.__cause__

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it; closing again does nothing. Before the accept it is a refusal, sent when the view returns.

        Raises:
            ValueError: a code that is never sent, or a reason of more than 123 bytes.
        """
        if not (1000 <= code <= 4999) or code in NEVER_SENT:
            raise ValueError(f"{code} is no code to close a WebSocket with: 1000, 1001 and their like, or 3000 to 4999 for your own (RFC 6455 §7.4)")
        if len(reason.encode()) > _LONGEST_REASON:
            raise ValueError(f"the reason of a close has at most {_LONGEST_REASON} bytes, this one {len(reason.encode())}: {reason!r}")
        was_open = self.state is State.OPEN
        self.move("close")
        if not was_open:
            return
        self.close_code, self.close_reason = code, reason
        try:
            await self.wire.send({"type": "websocket.close", "code": code, "reason": reason})
        except WebSocketDisconnect as gone:
            self.close_code, self.close_reason = gone.code, gone.reason

    def leave_with(self, code: int, reason: str) -> None:
        """Choose how the socket is closed where the view leaves it open; the reason is cut to what may be sent."""
        self.ending = (code, reason.encode()[:_LONGEST_REASON].decode(errors="ignore"))


def _size(message: str | bytes) -> int:
    return len(message.encode()) if isinstance(message, str) else len(message)
