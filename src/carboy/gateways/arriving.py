"""A body that arrives while it is read (`stream=True`): a file for a sync view in its thread, filled by the server's loop.

Nothing is read ahead: the view's pace is the client's. An `async def` view is given its body whole, since reading a
file would block the loop.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

from werkzeug.exceptions import ClientDisconnected

from ..wire.body import BodyMeter


class Arriving(io.RawIOBase):
    """Reads ASGI's `http.request` messages from a thread.

    Args:
        receive: of the request.
        loop: where it must be awaited.
        meter: counts; it raises where the body is longer than allowed, or not as long as declared.
    """

    def __init__(self, receive: Callable[[], Awaitable[dict[str, Any]]], loop: asyncio.AbstractEventLoop, meter: BodyMeter) -> None:
        self.receive = receive
        self.loop = loop
        self.meter = meter
        self.rest = b""
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what has come; wait for it if nothing has.

        Raises:
            ClientDisconnected: the client has gone in the middle of its body.
            HTTPException: too long, or too short.
        """
        while not self.rest and not self.is_over:
            message = asyncio.run_coroutine_threadsafe(self.next(), self.loop).result()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self.rest = message.get("body", b"")
            self.meter.count(len(self.rest))
            if not message.get("more_body", False):
                self.is_over = True
                self.meter.end()
        size = min(len(buffer), len(self.rest))
        buffer[:size] = self.rest[:size]
        self.rest = self.rest[size:]
        return size

    async def next(self) -> dict[str, Any]:
        # A server's `receive` may give any awaitable; a thread can only ask for a coroutine.
        return await self.receive()
