"""The ASGI door without a server: HTTP scope and messages as granian 2.8 and uvicorn give them, and the lifespan.

Source: the ASGI HTTP and lifespan specifications; the values of the scope were observed on granian 2.8.7.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..wire.asgi import Event
from .crossing import DoorViolation, Environ
from .exchange import Exchange


class ASGIExchange(Exchange):
    """One HTTP request over ASGI.

    Args:
        app: an ASGI application.
        environ: the request.
        state: what the lifespan has put into its state; each request gets a copy.
    """

    def __init__(self, app: Any, environ: Environ, state: dict[str, Any] | None = None) -> None:
        super().__init__(app, environ)
        self.state = dict(state or {})
        self._asked = False

    def scope(self) -> dict[str, Any]:
        """Give the scope of the request."""
        request = self.request
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version,
            "method": request.method,
            "scheme": request.scheme,
            "path": request.path,
            "raw_path": request.target,
            "query_string": request.query,
            "root_path": request.root_path,
            "headers": request.headers,
            "server": request.server,
            "client": request.client,
            "state": self.state,
            "extensions": {"http.response.pathsend": {}},
        }

    async def speak(self) -> None:
        await self.app(self.scope(), self.receive, self.send)

    async def receive(self) -> Event:
        """Give the next piece of the request; after the last one, wait for the end."""
        upload = self.upload
        if upload.done and self._asked:
            await self.closed.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        piece = upload.read()
        if upload.broken:
            # The client left in the middle of its request.
            self.left = True
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": not upload.done}

    async def send(self, message: Event) -> None:
        """Take a message of the answer."""
        kind = message["type"]
        if kind == "http.response.start":
            self.start(message["status"], [_text(*header) for header in message.get("headers", ())])
        elif kind == "http.response.body":
            await self.put(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.pathsend":
            await self.put_file(message["path"])
        else:
            raise DoorViolation(f"no such message in an HTTP answer: {kind!r}")


class Lifespan:
    """Start and stop of an ASGI application, on the loop it serves from.

    Attributes:
        state: what the application has put aside for its requests.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self._to_app: asyncio.Queue[Event] = asyncio.Queue()
        self._from_app: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the application; one that knows no lifespan is none the worse for it.

        Raises:
            RuntimeError: the application said that its startup failed.
        """
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self.app(scope, self._to_app.get, self._from_app.put))
        await self._ask("startup")

    async def stop(self) -> None:
        """Stop the application.

        Raises:
            RuntimeError: the application said that its shutdown failed.
        """
        if self._task is not None and not self._task.done():
            await self._ask("shutdown")
            await self._task

    async def _ask(self, phase: str) -> None:
        assert self._task is not None
        await self._to_app.put({"type": f"lifespan.{phase}"})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            # ASGI: an application that raises on the scope has no lifespan; in the middle of it, it has failed.
            if phase == "shutdown":
                await self._task
            elif self._task.exception() is None:
                raise DoorViolation("the application left its lifespan without an answer to startup")
            return
        message = answer.result()
        if message["type"] == f"lifespan.{phase}.failed":
            cause = await self._last_words()
            raise RuntimeError(f"lifespan {phase} failed: {message.get('message') or 'no reason given'}") from cause
        if message["type"] != f"lifespan.{phase}.complete":
            raise DoorViolation(f"lifespan.{phase} is answered by {message['type']!r}")

    async def _last_words(self) -> BaseException | None:
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=1)
        if not self._task.done():
            self._task.cancel()
            return None
        return None if self._task.cancelled() else self._task.exception()


def _text(name: bytes, value: bytes) -> tuple[str, str]:
    for part in (name, value):
        if not isinstance(part, bytes):
            raise DoorViolation(f"ASGI headers are pairs of bytes; this one is {type(part).__name__}: {part!r}")
    return name.decode("latin-1"), value.decode("latin-1")
