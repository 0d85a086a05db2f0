"""What can be had above granian's own WebSockets, which serve where a connection cannot be taken over (`takeover.py`).

That is the limit of a message, though granian has read it by then, and the goodbye when the worker leaves. Pings,
compression and the protocol's own error codes are not: granian tells nothing of frames.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from ..wire.asgi import ASGIApp, Event, Receive, Scope, Send
from ..wire.close_codes import NORMAL, TOO_LARGE
from .options import Options

#: Seconds that peers have to answer the goodbye.
GRACE = 2.0


class Relays:
    """The WebSockets of granian, in one worker."""

    def __init__(self, options: Options) -> None:
        self.most = options.ws_max_message or float("inf")
        self.open: set[Relay] = set()

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        relay = Relay(receive, send, self.most)
        self.open.add(relay)
        try:
            await app(scope, relay.receive, relay.send)
        finally:
            self.open.discard(relay)
            if relay.receiving is not None:
                relay.receiving.cancel()

    async def leave(self, code: int) -> None:
        """Close what is open; granian waits for each peer's answer."""
        closing = [asyncio.ensure_future(relay.close(code)) for relay in self.open]
        if closing:
            await asyncio.wait(closing, timeout=GRACE)


class Relay:
    """The way of the events of one WebSocket."""

    def __init__(self, receive: Receive, send: Send, most: float) -> None:
        self.inner_receive = receive
        self.inner_send = send
        self.most = most
        self.is_open = False
        #: The code, once we have closed it.
        self.closed: int | None = None
        # Brings nothing; Any, so that it may be waited for beside `receiving`.
        self.ending: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.receiving: asyncio.Future[Event] | None = None

    async def receive(self) -> Event:
        if self.closed is None:
            # Kept where it is cancelled: what it brings is the next one's.
            if self.receiving is None:
                self.receiving = asyncio.ensure_future(self.inner_receive())
            await asyncio.wait([self.receiving, self.ending], return_when=asyncio.FIRST_COMPLETED)
        if self.closed is None and self.receiving is not None:
            event, self.receiving = self.receiving.result(), None
            text, data = event.get("text"), event.get("bytes")
            # A character has a byte at least, and four at most.
            if (data is not None and len(data) > self.most) or (
                text is not None and (len(text) > self.most or (len(text) * 4 > self.most and len(text.encode()) > self.most))
            ):
                await self.close(TOO_LARGE)
            else:
                return event
        return {"type": "websocket.disconnect", "code": self.closed, "reason": ""}

    async def send(self, event: Event) -> None:
        if self.closed is not None:
            raise ConnectionError(f"the WebSocket is closed ({self.closed})")
        if event["type"] == "websocket.accept":
            self.is_open = True
        elif event["type"] == "websocket.close":
            self.closed = event.get("code", NORMAL)
        await self.inner_send(event)

    async def close(self, code: int) -> None:
        if self.closed is None and self.is_open:
            self.closed = code
            with contextlib.suppress(Exception):  # it may have been closed by the peer this moment
                await self.inner_send({"type": "websocket.close", "code": code})
            # Only now: when the application returns, granian closes too, and without a code.
            self.ending.set_result(None)
