"""Server-sent events: a view returns an `EventStream`, a browser's `EventSource` reads it.

`Event` is what stands between two blank lines on the wire; `_Frames` is the body that a door pulls: the source's
events as they come, a comment where none comes for a while, an end when the server leaves. The way of the bytes is
the gateways' business.

Source: HTML Living Standard §9.2, Server-sent events.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import math
import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.ctx import request_var
from ..core.response import Response
from ..core.stream import stream_with_context
from ..gateways.flow import flow_of
from ..wire import json as wire_json
from .leaving import forget, leaving_of, listen

#: A line ends at one of these, and at no other character (§9.2.5); `str.splitlines` knows more.
_LINE_END = re.compile(r"\r\n|\r|\n")

_COMMENT = b":\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream.

    Args:
        data: text, which may have several lines; anything else is sent as JSON. None for an event that only sets *id*
            or *retry*, which browsers do not show to the page.
        event: the name under which the page listens; `message` in the browser where there is none.
        id: comes back as `request.last_event_id` when the browser reconnects. "" makes it forget the last one.
        retry: milliseconds until the browser reconnects after the stream has ended, from now on.

    Raises:
        ValueError: a line break in *event* or *id*, a NUL in *id*, a negative *retry*: they would break the stream up.
        TypeError: one of them is of another type.

    Example:
        >>> Event({"price": 3}, event="offer", id="17").encode()
        b'event: offer\nid: 17\ndata: {"price": 3}\n\n'
    """

    data: Any = ""
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("event", self.event), ("id", self.id)):
            if value is None:
                continue
            if not isinstance(value, str):
                raise TypeError(f"Event({name}=...) takes a str, not {type(value).__name__}: {value!r}")
            if _LINE_END.search(value):
                raise ValueError(f"Event({name}=...) must be one line: {value!r}")
        if self.id is not None and "\0" in self.id:
            raise ValueError(f"Event(id=...) must have no NUL; a browser would ignore it: {self.id!r}")
        _check_retry(self.retry, "Event")

    def encode(self, dumps: Callable[[Any], str] = wire_json.dumps) -> bytes:
        """The event as it goes on the wire, UTF-8, with the blank line that ends it.

        Args:
            dumps: makes JSON of data that is no text.
        """
        lines = []
        if self.event is not None:
            lines.append(f"event: {self.event}\n")
        if self.id is not None:
            lines.append(f"id: {self.id}\n")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}\n")
        if self.data is not None:
            text = self.data if isinstance(self.data, str) else dumps(self.data)
            lines.extend(f"data: {line}\n" for line in _LINE_END.split(text))
        lines.append("\n")
        return "".join(lines).encode()


def _check_retry(retry: Any, owner: str) -> None:
    if retry is None:
        return
    if not isinstance(retry, int) or isinstance(retry, bool):
        raise TypeError(f"{owner}(retry=...) takes milliseconds as an int, not {type(retry).__name__}: {retry!r}")
    if retry < 0:
        raise ValueError(f"{owner}(retry=...) takes milliseconds from 0 up, not {retry!r}")


#: What a source may give: text, an `Event`, or a mapping or list that is sent as JSON.
Item = Event | str | Mapping[str, Any] | list[Any]


class EventStream(Response):
    """A response that sends events for as long as its client listens.

    Args:
        source: an async generator or another async iterable; or a plain one, whose steps are made in a thread. Its
            items are text, mappings and lists (sent as JSON), or `Event`. It sees `request`, `session` and `g`; the
            teardown functions run when it has ended.
        heartbeat: seconds of silence after which a comment is sent, which keeps proxies from closing the connection
            and shows that the client is still there; None for none.
        retry: milliseconds until the browser reconnects after the stream has ended; its own default is some seconds.
        status: of the response. 204 tells an `EventSource` not to come back; return it without a stream.
        headers: more headers.

    Raises:
        TypeError: *source* is nothing that can be iterated, or text.
        ValueError: *heartbeat* or *retry* is no span of time.

    The source is closed, its `finally` blocks run, when the client goes, and when the worker leaves (`carboy run`): the
    stream then ends after a whole event, and the browser reconnects to the next worker. A plain generator that is
    waiting in its thread is closed when its step ends, for Python cannot interrupt it.

    Example:
        >>> @app.get("/prices")
        ... async def prices(request):
        ...     async def events():
        ...         async for price in new_prices(since=request.last_event_id):
        ...             yield Event({"amount": price.amount}, id=str(price.number))
        ...     return EventStream(events())
    """

    def __init__(
        self,
        source: AsyncIterable[Item] | Iterable[Item],
        *,
        heartbeat: float | None = 15.0,
        retry: int | None = None,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        _check_source(source)
        _check_retry(retry, "EventStream")
        if heartbeat is not None and not (0 < heartbeat < math.inf):
            raise ValueError(f"EventStream(heartbeat=...) takes seconds above 0, or None for no heartbeat; not {heartbeat!r}")
        ctx = request_var.get(None)
        dumps: Callable[[Any], str] = wire_json.dumps
        find_leaving: Callable[[], asyncio.Event | None] | None = None
        kept: Any = source  # kept with its context
        if ctx is not None:
            app: Any = ctx.app
            dumps = app.json.dumps
            find_leaving = functools.partial(leaving_of, app, ctx.request)
            kept = stream_with_context(aiter(source) if isinstance(source, AsyncIterable) else iter(source))
        # At once: servers keep the headers back until there is something of the body.
        first = _COMMENT if retry is None else Event(None, retry=retry).encode()
        body: Any = _Frames(kept, dumps, heartbeat, first, find_leaving)  # Werkzeug's types know plain iterables only
        super().__init__(body, status, headers)
        self.mimetype = "text/event-stream"
        self.compress = False
        # `no-store`, and nothing kept back: nginx and those who copy it heed this one.
        self.headers.setdefault("Cache-Control", "no-store")
        self.headers.setdefault("X-Accel-Buffering", "no")


def _check_source(source: Any) -> None:
    hint = ""
    if inspect.isfunction(source) or inspect.ismethod(source):
        hint = f": call it, EventStream({source.__name__}())"
    elif inspect.iscoroutine(source):
        source.close()
        hint = ": an `async def` without a `yield` is no generator"
    elif not isinstance(source, (str, bytes, bytearray, Mapping)) and (hasattr(source, "__aiter__") or hasattr(source, "__iter__")):
        return
    raise TypeError(f"EventStream takes an async or a plain generator, not {type(source).__name__}{hint}")


class _Frames:
    """The body of an `EventStream`: an async iterator on every door.

    The source runs in a task of its own, so that the wait for its next event can be left for a heartbeat without
    being cancelled. It is one event ahead of nobody: the next one is asked for when the last one has been sent.
    """

    def __init__(
        self,
        source: Any,
        dumps: Callable[[Any], str],
        heartbeat: float | None,
        first: bytes,
        find_leaving: Callable[[], asyncio.Event | None] | None,
    ) -> None:
        self.flow = flow_of(source)
        #: The source sees the context variables as the view left them.
        self.context = contextvars.copy_context()
        self.dumps = dumps
        self.heartbeat = heartbeat
        self.first: bytes | None = first
        self.find_leaving = find_leaving
        self.leaving: asyncio.Event | None = None
        self.pump: asyncio.Task[None] | None = None
        #: The event that waits to be sent.
        self.frame: bytes | None = None
        #: Resolved when there is something to do for the door, and for the source.
        self.news: asyncio.Future[None] | None = None
        self.room: asyncio.Future[None] | None = None
        self.is_ending = False
        self.is_told = False

    def __aiter__(self) -> _Frames:
        return self

    async def __anext__(self) -> bytes:
        if self.first is not None:
            first, self.first = self.first, None
            return first
        loop = asyncio.get_running_loop()
        if self.pump is None:
            if self.find_leaving is not None:
                self.leaving = self.find_leaving()
            if self.is_ending or (self.leaving is not None and self.leaving.is_set()):
                raise StopAsyncIteration
            if self.leaving is not None:
                listen(self.leaving, self.end)
            self.pump = loop.create_task(self.work(), context=self.context)
            self.pump.add_done_callback(self.wake)
        elif self.room is not None and not self.room.done():
            self.room.set_result(None)
        is_due = False

        def beat() -> None:
            nonlocal is_due
            is_due = True
            self.wake()

        timer = loop.call_later(self.heartbeat, beat) if self.heartbeat is not None else None
        try:
            while self.frame is None and not is_due and not self.is_ending and not self.pump.done():
                self.news = loop.create_future()
                await self.news
        finally:
            self.news = None
            if timer is not None:
                timer.cancel()
        if self.frame is not None:
            frame, self.frame = self.frame, None
            return frame
        if self.pump.done():
            self.raise_error(self.pump)
            raise StopAsyncIteration
        if self.is_ending:
            raise StopAsyncIteration
        return _COMMENT

    def wake(self, _: object = None) -> None:
        """Tell the door that there is news."""
        if self.news is not None and not self.news.done():
            self.news.set_result(None)

    def end(self) -> None:
        """Begin to end: what is ready is sent, and no more is asked for."""
        self.is_ending = True
        self.wake()

    async def work(self) -> None:
        """Run the source, event by event; the task of its own."""
        try:
            async for item in self.flow:
                self.frame = self.encode(item)
                self.room = asyncio.get_running_loop().create_future()
                self.wake()
                if self.is_ending:
                    break
                await self.room
        finally:
            await self.flow.aclose()

    def encode(self, item: Any) -> bytes:
        """An item of the source as an event.

        Raises:
            TypeError: it is none of what a source may give.
        """
        if isinstance(item, Event):
            return item.encode(self.dumps)
        if isinstance(item, (str, Mapping, list)):
            return Event(item).encode(self.dumps)
        raise TypeError(f"an EventStream's source gives str, dict, list or Event, not {type(item).__name__}: {item!r}")

    async def aclose(self) -> None:
        """End the stream: the source's `finally` blocks run."""
        self.is_ending = True
        if self.leaving is not None:
            forget(self.leaving, self.end)
        pump = self.pump
        if pump is None:
            await self.flow.aclose()
            return
        if not pump.done():
            pump.cancel()
            await asyncio.wait({pump})
            if pump.cancelled():
                return
        self.raise_error(pump)

    def raise_error(self, pump: asyncio.Task[None]) -> None:
        """Raise what the source raised, once: the door then breaks the answer off, and the client sees it."""
        if not self.is_told:
            self.is_told = True
            if pump.cancelled():
                raise RuntimeError("the source of an EventStream was cancelled from inside")
            pump.result()
