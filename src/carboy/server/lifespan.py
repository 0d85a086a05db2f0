"""The application's start and end, as ASGI tells them; an application without them is served all the same.

Source: the ASGI lifespan specification, version 2.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..wire.asgi import ASGIApp, Event
from .errors import WorkerFailed

log = logging.getLogger("carboy.server")


class Lifespan:
    """One application's lifespan: `start` before the first request, `stop` after the last, on the same loop."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        #: What the application puts here, every request's scope gets a copy of.
        self.state: dict[str, Any] = {}
        self.orders: asyncio.Queue[Event] | None = None
        self.started: asyncio.Future[str | None] | None = None
        self.stopped: asyncio.Future[str | None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.refused: Exception | None = None

    async def start(self) -> None:
        """Tell the application to start and wait until it has.

        Raises:
            WorkerFailed: it answered `lifespan.startup.failed`.
        """
        loop = asyncio.get_running_loop()
        self.orders, self.started, self.stopped = asyncio.Queue(), loop.create_future(), loop.create_future()
        self.task = loop.create_task(self.live())
        self.orders.put_nowait({"type": "lifespan.startup"})
        failure = await self.started
        if failure is not None:
            raise WorkerFailed(f"the application's start-up failed: {failure or 'it gave no reason; its log may'}")

    async def stop(self) -> None:
        """Tell the application to stop and wait until it has; a failure is logged, nobody can act on it any more."""
        if self.orders is None or self.stopped is None:
            return
        self.state.clear()
        if not self.stopped.done():
            self.orders.put_nowait({"type": "lifespan.shutdown"})
        failure = await self.stopped
        if failure is not None:
            log.error("the application's shutdown failed: %s", failure or "it gave no reason")

    async def live(self) -> None:
        """Run the application's lifespan from end to end."""
        if self.orders is None or self.started is None or self.stopped is None:
            return
        failure: str | None = None
        try:
            scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
            await self.app(scope, self.orders.get, self.send)
        except Exception as error:  # noqa: BLE001 - the specification: raising means "I know no lifespan"
            if self.started.done():
                failure = f"{type(error).__name__}: {error}"
            else:
                log.debug("no lifespan: %r", error)
        finally:
            self._answer(self.started, None)
            self._answer(self.stopped, failure)

    async def send(self, event: Event) -> None:
        if self.started is None or self.stopped is None:
            return
        match event["type"]:
            case "lifespan.startup.complete":
                self._answer(self.started, None)
            case "lifespan.startup.failed":
                self._answer(self.started, event.get("message", ""))
            case "lifespan.shutdown.complete":
                self._answer(self.stopped, None)
            case "lifespan.shutdown.failed":
                self._answer(self.stopped, event.get("message", ""))
            case other:
                raise ValueError(f"{other!r} is no answer to a lifespan event")

    @staticmethod
    def _answer(question: asyncio.Future[str | None], answer: str | None) -> None:
        if not question.done():
            question.set_result(answer)
