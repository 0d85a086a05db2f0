"""One WebSocket, watched from its handshake to its end: counted while it is open, and logged once it is over.

This stands on ASGI's events, so it holds for any application, whoever speaks the frames. What is counted is written to
the shared memory at once: a worker that dies takes nothing along.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..wire.asgi import ASGIApp, Receive, Scope, Send
from ..wire.close_codes import ABNORMAL, INTERNAL, NO_CODE, NORMAL
from .log import Closed, Noted
from .memory import MISS
from .observer import CLIENT_LEFT, Observer
from .record import Record
from .series import Table
from .trace import trace_id_of

#: The longest that a close's reason can be, characters.
_LONGEST_REASON = 123

_now = time.perf_counter_ns


async def watch_socket(app: ASGIApp, observer: Observer, record: Record, is_counted: bool, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a WebSocket, observed.

    Args:
        record: of the handshake; gets the rule from the plan's first step.
        is_counted: somebody counts the handshake as a request already.
        scope: a `websocket` scope.
    """
    visit = SocketVisit(observer, record, scope)
    if not is_counted:
        visit.begin_handshake()

    async def receiving() -> Any:
        event = await receive()
        kind = event["type"]
        if kind == "websocket.receive":
            text = event.get("text")
            visit.count_received(size_of(text) if text is not None else len(event.get("bytes") or b""))
        elif kind == "websocket.disconnect":
            visit.closed(event.get("code", NO_CODE), event.get("reason"))
        return event

    async def sending(event: Any) -> None:
        kind = event["type"]
        if kind == "websocket.send":
            try:
                await send(event)
            except OSError:
                visit.is_lost = True
                raise
            text = event.get("text")
            visit.count_sent(size_of(text) if text is not None else len(event.get("bytes") or b""))
            return
        if kind == "websocket.close":
            if visit.is_open:
                visit.closed(event.get("code", NORMAL), event.get("reason"))
            elif not is_counted:
                visit.end_handshake(403)
        elif kind == "websocket.http.response.start" and not is_counted:
            visit.end_handshake(event["status"])
        await send(event)
        if kind == "websocket.accept":
            # Only now: where the client has gone meanwhile, there was none.
            if not is_counted:
                visit.end_handshake(101)
            visit.open()

    error: BaseException | None = None
    try:
        await app(scope, receiving, sending)
    except BaseException as exc:
        error = exc
        raise
    finally:
        if not is_counted:
            visit.end_handshake(500 if isinstance(error, Exception) else CLIENT_LEFT)
        visit.end(error)


def size_of(text: str) -> int:
    """Bytes of a text on the wire."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class SocketVisit:
    """What is known of one WebSocket."""

    __slots__ = (
        "began", "code", "is_answered", "is_lost", "is_open", "observer", "places", "reason", "received", "received_bytes", "record", "scope",
        "sent", "sent_bytes", "words",
    )  # fmt: skip

    def __init__(self, observer: Observer, record: Record, scope: Mapping[str, Any]) -> None:
        self.observer = observer
        self.record = record
        self.scope = scope
        self.is_open = self.is_answered = self.is_lost = False
        #: When it was accepted, nanoseconds on the performance counter.
        self.began = 0
        #: What it was closed with, and by whichever side came first.
        self.code: int | None = None
        self.reason: str | None = None
        self.received = self.received_bytes = self.sent = self.sent_bytes = 0
        self.words: Any = None
        #: Where its route's messages and bytes are counted: received, sent.
        self.places = (0, 0, 0, 0)

    # -- the handshake, where no door for requests has seen it ----------------------------------------

    def begin_handshake(self) -> None:
        slot = self.observer.slot
        if slot is not None:
            slot.begin()

    def end_handshake(self, status: int) -> None:
        if self.is_answered:
            return
        self.is_answered = True
        record, observer = self.record, self.observer
        took = _now() - record.began
        if observer.slot is not None:
            observer.slot.count("GET", record.rule, status, took, 0)
        lines = observer.log
        if lines is not None and lines.wants(status):
            lines.pending.append(self.noted(record.began, took, status, 0))

    # -- while it is open -----------------------------------------------------------------------------

    def open(self) -> None:
        self.is_open = True
        self.began = _now()
        slot = self.observer.slot
        if slot is None:
            return
        named, route = slot.named, self.route
        self.words = slot.words
        self.places = (
            named.place("carboy_websocket_messages_total", route=route, direction="received"),
            named.place("carboy_websocket_message_bytes_total", route=route, direction="received"),
            named.place("carboy_websocket_messages_total", route=route, direction="sent"),
            named.place("carboy_websocket_message_bytes_total", route=route, direction="sent"),
        )
        slot.words[named.place("carboy_websocket_connections_total", route=route)] += 1
        slot.words[named.place("carboy_websocket_connections_open", route=route)] += 1

    @property
    def route(self) -> str:
        return MISS if self.record.rule is None else self.record.rule

    def count_received(self, size: int) -> None:
        self.received += 1
        self.received_bytes += size
        words = self.words
        if words is not None:
            words[self.places[0]] += 1
            words[self.places[1]] += size

    def count_sent(self, size: int) -> None:
        self.sent += 1
        self.sent_bytes += size
        words = self.words
        if words is not None:
            words[self.places[2]] += 1
            words[self.places[3]] += size

    def closed(self, code: Any, reason: Any) -> None:
        """It has been closed; who says it first is right."""
        if self.code is None and self.is_open:
            self.code = code if isinstance(code, int) else NO_CODE
            self.reason = str(reason)[:_LONGEST_REASON] if reason else None

    # -- the end --------------------------------------------------------------------------------------

    def end(self, error: BaseException | None) -> None:
        """The application has ended, and with it the socket."""
        if not self.is_open:
            return
        if self.code is None:
            # Servers close with 1000 after an application that says nothing, with 1011 after one that has failed; one
            # that could not send, or was cancelled, has lost its peer.
            is_lost = self.is_lost or (error is not None and not isinstance(error, Exception))
            self.code = ABNORMAL if is_lost else NORMAL if error is None else INTERNAL
        took = _now() - self.began
        observer = self.observer
        slot = observer.slot
        if slot is not None and slot.words is self.words:
            self.count_end(slot.named, took)
        lines = observer.log
        if lines is not None and lines.wants(101):
            lines.pending.append(
                Closed(self.noted(self.began, took, 101, self.sent_bytes), self.code, self.reason, self.received, self.received_bytes, self.sent)
            )

    def count_end(self, named: Table, took: int) -> None:
        words, route = named.words, self.route
        words[named.place("carboy_websocket_closes_total", route=route, code=class_of(self.code))] += 1
        words[named.place("carboy_websocket_duration_seconds_total", route=route)] += took
        here = named.place("carboy_websocket_connections_open", route=route)
        words[here] = max(0, words[here] - 1)

    def noted(self, began: int, took: int, status: int, size: int) -> Noted:
        scope, record = self.scope, self.record
        headers = dict(scope["headers"])
        path = scope.get("raw_path") or scope["path"]
        if isinstance(path, bytes) and b"?" in path:
            path = path.partition(b"?")[0]
        client = scope.get("client")
        trace_id = trace_id_of(record, headers.get(b"traceparent"))
        return Noted(
            began, took, "GET", path, record.rule, status, size, client[0] if client else None,
            headers.get(b"user-agent"), headers.get(b"x-request-id"), trace_id,
        )  # fmt: skip


def class_of(code: int | None) -> str:
    """A close's code as a label; peers choose codes, and must not choose how many there are.

    Source: RFC 6455 §7.4.2: 3000 to 3999 are registered by libraries, 4000 to 4999 are private.
    """
    if code is None:
        return "other"
    if 1000 <= code <= 1015:
        return str(code)
    return f"{code // 1000}xxx" if 3000 <= code <= 4999 else "other"
