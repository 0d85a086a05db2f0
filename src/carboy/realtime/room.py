"""The channels that a WebSocket has joined: their messages are sent to its peer, by a task for each join.

Lives on the loop of the socket. A peer that reads slowly holds up its own task alone: what is published meanwhile waits
in the subscription, and is given up there when it is too much.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

from ..gateways.socket import Socket, WebSocketDisconnect
from ..wire.close_codes import INTERNAL
from .channels import Message, Subscription

log = logging.getLogger("carboy.websocket")

#: A task that is ending has nobody who holds it.
_running: set[asyncio.Task[None]] = set()


class Rooms:
    """What one socket has joined.

    Args:
        app: whose channels.
        socket: where their messages go.
        outgoing: makes text or bytes of what is to be sent.
    """

    def __init__(self, app: Any, socket: Socket, outgoing: Callable[[Any, Any], str | bytes]) -> None:
        self.app = app
        self.wire = socket.wire.base
        self.outgoing = outgoing
        self.tasks: dict[str, asyncio.Task[None]] = {}
        socket.at_end.append(self.end)

    async def join(self, topics: tuple[str, ...], history: int, after: str | None, convert: Callable[[Message], Any] | None) -> None:
        """Subscribe, and send what comes; returns once nothing can be missed any more."""
        for topic in topics:
            # Asked at each: another task of the view, or this very list, may have named it meanwhile.
            if topic in self.tasks:
                raise ValueError(f"this socket has joined {topic} already")
            if self.wire.gone is not None:
                raise self.wire.farewell()
            subscription = self.app.channels.subscribe(topic, history=history, after=after)
            begun: asyncio.Future[None] = self.wire.loop.create_future()
            task = self.tasks[topic] = self.wire.loop.create_task(self.send_on(subscription, begun, convert))
            _running.add(task)
            task.add_done_callback(_running.discard)
            task.add_done_callback(functools.partial(self.settle, begun))
            try:
                await begun
            except BaseException:
                if self.tasks.get(topic) is task:
                    del self.tasks[topic]
                task.cancel()
                raise

    async def leave(self, topics: tuple[str, ...]) -> None:
        """End the tasks of these topics, of all unless told; returns when nothing of theirs will be sent."""
        strange = [topic for topic in topics if topic not in self.tasks]
        if strange:
            raise ValueError(f"this socket has not joined {', '.join(strange)}")
        ending = [self.tasks.pop(topic) for topic in topics or tuple(self.tasks)]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)

    def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()

    async def send_on(self, subscription: Subscription, begun: asyncio.Future[None], convert: Callable[[Message], Any] | None) -> None:
        try:
            async with subscription:
                if not begun.done():  # else who joins was cancelled this moment, and cancels us next
                    begun.set_result(None)
                async for message in subscription:
                    sent = self.plain(message) if convert is None else self.outgoing(self.app, convert(message))
                    await self.wire.put({"type": "websocket.send", "text" if isinstance(sent, str) else "bytes": sent})
        except WebSocketDisconnect:
            pass  # the view is told by its own next word
        except Exception as error:
            if not begun.done():
                begun.set_exception(error)
                return
            log.exception("the messages of %s cannot be sent on; the WebSocket is closed", ", ".join(subscription.topics))
            await self.wire.hang_up(INTERNAL, "")

    def settle(self, begun: asyncio.Future[None], _: asyncio.Task[None]) -> None:
        """Left, or over, before it had begun: who joins must not wait for ever."""
        if not begun.done():
            begun.set_exception(self.wire.farewell())

    @staticmethod
    def plain(message: Message) -> str | bytes:
        """What was published, as it was encoded then: text and JSON as text."""
        return message.body if isinstance(message.data, bytes) else message.text
