"""Requests in flight on the loop, under one watch: who stalls, who is overdue, and when the loop has too much.

A request is a `Flight`; the `Watch` is one timer a worker that looks at all of them at each tick. So a request costs no
timer and no task, and a limit is kept to within a tick. What the watch finds it tells by cancelling: the task that
reads, the task that writes, or the task of the request; the flight turns that into an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, Literal

from werkzeug.exceptions import RequestTimeout

from ..pipeline import offload
from ..wire.body import BodyTooLarge
from ..wire.errors import MalformedRequest
from .options import Options

log = logging.getLogger("carboy.server")

#: Bytes above which an answer is sent piece by piece, and of its pieces. PERF: 200 clients that do not read 10 MB each:
#: 180 MB of growth instead of 1,060; four that do: 1.7 GB/s instead of 0.5. Granian copies what it is given whole.
LARGE, PIECE = 1024 * 1024, 128 * 1024
#: Bytes of a piece over HTTP/2, where one connection asks for many answers at once and granian keeps some seven pieces of each.
PIECE_OF_SECOND = 16 * 1024

Verdict = Literal["stalled body", "broken body", "body too large", "stalled reader", "overdue"]

#: What is answered where no answer had begun: status and text. A reader that stalls has its answer already.
ANSWERS: dict[str, tuple[int, str]] = {
    "stalled body": (408, "The request body came too slowly."),
    "broken body": (400, "The request body is broken or incomplete."),
    "body too large": (413, "The request body is larger than the server allows."),
    "overdue": (504, "The application did not answer in time."),
}
_BODY_VERDICTS = frozenset({"stalled body", "broken body", "body too large"})


class BodyStalled(RequestTimeout):
    """The body pauses for too long, or comes too slowly."""

    description = "The request body came too slowly."


class BodyBroken(MalformedRequest):
    """The body ended before it was whole: a malformed chunk, or the client has gone."""

    description = "The request body is broken or incomplete."


class ReaderStalled(ConnectionError):
    """The client has not read for too long; its connection is given up."""


class Flight:
    """One request, from its head to the last byte of its answer.

    PERF: what most requests never change is a default of the class; making one costs 0.4 µs.
    """

    #: The task that waits for the body, and since when; None while nobody does.
    reader: asyncio.Task[Any] | None = None
    #: The task that waits for the client to read.
    writer: asyncio.Task[Any] | None = None
    since = 0.0
    #: Time that was spent waiting for the body, and its bytes so far.
    waited = 0.0
    size = 0
    #: The body is here, or there is none.
    is_whole = True
    #: Most bytes of it, where the application does not count for itself.
    limit: int | None = None
    #: The application raises HTTP errors into its own error handlers.
    is_carboy = False
    has_started = False
    is_closing = False
    #: It asks for a WebSocket.
    is_handshake = False
    verdict: Verdict | None = None
    request_id: bytes | None = None
    #: The event that began the answer.
    start: Any = None

    def __init__(self, scope: Any, receive: Any, send: Any, begun: float, timeout: float) -> None:
        self.scope = scope
        self.inner_receive = receive
        self.inner_send = send
        self.task = asyncio.current_task()
        #: When the deadline began to run: with the request, and anew with each piece of its body.
        self.begun = begun
        #: Seconds until an answer must have begun; 0 for none. A route may set it.
        self.timeout = timeout

    # -- towards the application --------------------------------------------------------------------

    def receive(self) -> Awaitable[Any]:
        """The application's `receive` where there is a body."""
        if self.is_whole:
            awaitable: Awaitable[Any] = self.inner_receive()
            return awaitable
        return self.receive_piece()

    async def receive_piece(self) -> Any:
        """Wait for a piece of the body.

        Raises:
            BodyStalled, BodyBroken, BodyTooLarge: it is so; a stranger's application gets `http.disconnect` instead.
        """
        self.reader = asyncio.current_task()
        self.since = since = time.monotonic()
        try:
            event = await self.inner_receive()
        except asyncio.CancelledError:
            if self.verdict != "stalled body" or self.reader is None:
                raise
            self.reader.uncancel()
            return self.fail("stalled body", BodyStalled())
        finally:
            self.reader = None
        now = time.monotonic()
        self.waited += now - since
        self.begun = now
        if event["type"] == "http.disconnect":
            # Granian says the same of a malformed chunk and of a client that has gone; the first deserves its 400,
            # and the second does not hear it.
            return self.fail("broken body", BodyBroken())
        self.size += len(event.get("body", b""))
        if self.limit is not None and self.size > self.limit:
            return self.fail("body too large", BodyTooLarge())
        if not event.get("more_body", False):
            self.is_whole = True
        return event

    def fail(self, verdict: Verdict, error: Exception) -> Any:
        """Give the body up: what the client sends after this is not read, so the connection must end."""
        self.verdict = verdict
        self.is_closing = self.is_whole = True
        if self.is_carboy:
            raise error
        return {"type": "http.disconnect"}

    def send(self, event: Any) -> Awaitable[Any]:
        """The application's `send`."""
        if event["type"] == "http.response.start":
            if not self.is_carboy and self.verdict in _BODY_VERDICTS:
                # The application took half a body for one; whatever it says of it is wrong.
                raise ConnectionError(f"{self.verdict}: there is nobody to answer")
            self.has_started = True
            headers = event.get("headers")
            if self.is_closing or type(headers) is not list:
                event = self.with_headers(event)
            elif self.request_id is not None:
                headers.append((b"x-request-id", self.request_id))
            self.start = event
        elif event.get("more_body", False):
            return self.send_piece(event)
        elif len(event.get("body", b"")) > LARGE:
            return self.send_large(event)
        awaitable: Awaitable[Any] = self.inner_send(event)
        return awaitable

    def with_headers(self, event: Any) -> Any:
        headers = list(event.get("headers", ()))
        if self.request_id is not None:
            headers.append((b"x-request-id", self.request_id))
        if self.is_closing and self.scope["http_version"] != "2":
            headers[:] = [pair for pair in headers if bytes(pair[0]).lower() != b"connection"]
            headers.append((b"connection", b"close"))
        return {**event, "headers": headers}

    async def send_large(self, event: Any) -> None:
        """Send a large answer piece by piece, as its client reads: granian would copy all of it into its own memory.

        Only where its length has been told; without one, granian tells it for an answer in one piece.
        """
        if not any(bytes(name).lower() == b"content-length" for name, _ in self.start.get("headers", ())):
            await self.inner_send(event)
            return
        body = memoryview(event["body"])
        size = PIECE if self.scope["http_version"] != "2" else PIECE_OF_SECOND
        for offset in range(0, len(body), size):
            await self.send_piece({"type": event["type"], "body": bytes(body[offset : offset + size]), "more_body": True})
        await self.inner_send({"type": event["type"], "body": b""})

    async def send_piece(self, event: Any) -> None:
        """Send a piece of a stream.

        Raises:
            ReaderStalled: the client does not read.
        """
        self.writer = asyncio.current_task()
        self.since = time.monotonic()
        try:
            await self.inner_send(event)
        except asyncio.CancelledError:
            if self.verdict != "stalled reader" or self.writer is None:
                raise
            self.writer.uncancel()
            raise ReaderStalled("the client has stopped reading") from None
        finally:
            self.writer = None

    # -- towards the watch --------------------------------------------------------------------------

    def inspect(self, now: float, options: Options) -> None:
        """Cancel what takes too long."""
        if self.verdict is not None:
            return
        if self.reader is not None:
            pause = now - self.since
            waited = self.waited + pause
            if 0 < options.body_timeout < pause or (
                0 < options.body_timeout < waited and self.size < waited * options.body_rate
            ):
                self.verdict = "stalled body"
                self.reader.cancel()
        elif self.writer is not None:
            if 0 < options.write_timeout < now - self.since:
                self.verdict = "stalled reader"
                self.writer.cancel()
        elif not self.has_started and 0 < self.timeout < now - self.begun and self.task is not None:
            self.verdict = "overdue"
            self.task.cancel()

    # -- the end ------------------------------------------------------------------------------------

    async def settle(self, error: BaseException | None) -> bool:
        """Answer for what the watch or the body's end has cut off.

        Args:
            error: what the application raised, if anything.

        Returns:
            Whether the error was ours to make, and is settled.
        """
        verdict = self.verdict
        if verdict is None:
            return False
        if isinstance(error, asyncio.CancelledError):
            if verdict != "overdue" or self.task is None:
                return False
            self.task.uncancel()
        elif isinstance(error, Exception) and verdict == "overdue":
            return False  # the view answered its cancelling with an error of its own
        elif error is not None and not isinstance(error, Exception):
            return False
        if verdict == "overdue" and not self.has_started:
            self.tell_overdue()
        elif verdict == "stalled reader":
            log.info("%s %s: the client has not read for %g s; given up", *self.line(), time.monotonic() - self.since)
        if not self.has_started and verdict in ANSWERS:
            status, text = ANSWERS[verdict]
            # A thread that still works for a request has no claim on its connection, but an unread body has.
            await refuse(self, status, text)
        return True

    def tell_overdue(self) -> None:
        abandoned = offload.pool.abandoned
        if any(job.task is self.task for job in abandoned):
            log.warning(
                "%s %s: no answer within %g s; answered 504. Its def view cannot be stopped: %d threads work for nobody now",
                *self.line(), self.timeout, len(abandoned),
            )  # fmt: skip
        else:
            log.warning("%s %s: no answer within %g s; answered 504, the view is cancelled", *self.line(), self.timeout)

    def line(self) -> tuple[str, str]:
        """Method and path as they may stand in a log."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode("utf-8", "backslashreplace")
        return self.scope["method"], raw.partition(b"?")[0][:200].decode("ascii", "backslashreplace")


class CarboyFlight(Flight):
    """A request to a Carboy application, which makes a response of an HTTP error that its `receive` raises."""

    is_carboy = True


async def refuse(flight: Flight, status: int, text: str, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Answer for the server itself, in plain text."""
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), *extra]
    if flight.request_id is not None:
        headers.append((b"x-request-id", flight.request_id))
    if flight.is_closing and flight.scope["http_version"] != "2":
        headers.append((b"connection", b"close"))
    await flight.inner_send({"type": "http.response.start", "status": status, "headers": headers})
    await flight.inner_send({"type": "http.response.body", "body": b"" if flight.scope["method"] == "HEAD" else body})


class Watch:
    """All flights of a worker, and the one timer that looks at them.

    The watch also knows whether the loop has too much: it notes how late the tick is while requests still begin. The
    longest single pause is not counted, for one view that blocks is no overload; what is late without it is a queue.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.flights: set[Flight] = set()
        limits = (options.body_timeout, options.write_timeout, options.request_timeout, options.max_lag * 4)
        #: Seconds between two ticks: a limit is kept to within a quarter of it, and to within a second.
        self.period = max(0.05, min([1.0, *(each / 4 for each in limits if each > 0)]))
        #: From this moment on it is worth asking whether the loop is overloaded; before the first tick, at once.
        self.late_at = 0.0
        self.due = 0.0
        #: When a request last began, and the longest pause between two beginnings since the last tick.
        self.last = 0.0
        self.widest = 0.0
        self.shed = 0
        self.told_at = 0.0
        self.is_running = False
        self.coming: list[asyncio.Future[None]] = []
        self.later: asyncio.Future[None] | None = None

    def is_overloaded(self, now: float) -> bool:
        """Asked when the tick is late."""
        if not self.is_running:
            self.is_running = True
            self.tick(asyncio.get_running_loop(), now)
            return False
        return now - self.due - self.widest > self.options.max_lag > 0

    def tick(self, loop: asyncio.AbstractEventLoop, now: float | None = None) -> None:
        now = time.monotonic() if now is None else now
        self.due = now + self.period
        self.late_at = self.due + self.options.max_lag if self.options.max_lag else float("inf")
        self.last = now
        self.widest = 0.0
        for flight in tuple(self.flights):
            flight.inspect(now, self.options)
        for future in self.coming:
            if not future.done():
                future.set_result(None)
        self.coming = [self.later] if self.later is not None else []
        self.later = None
        if self.shed and now - self.told_at >= 5:
            log.warning("overload: %d requests answered with 503 in the last %.0f s", self.shed, min(now - self.told_at, 5))
            self.shed, self.told_at = 0, now
        loop.call_later(self.period, self.tick, loop)

    def after_next_tick(self) -> Awaitable[None]:
        """Wait for one to two ticks."""
        if self.later is None:
            self.later = asyncio.get_running_loop().create_future()
        return asyncio.shield(self.later)

    async def shed_one(self, flight: Flight) -> None:
        """Answer 503, not at once: a client that asks again without a pause would else be the load itself."""
        self.shed += 1
        await self.after_next_tick()
        await refuse(flight, 503, "The server has more to do than it can. Try again.", ((b"retry-after", b"2"),))
