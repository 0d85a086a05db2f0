"""A real server for a test: granian in a thread with its own loop, on a free port of 127.0.0.1.

No second process, so nothing has to be pickled, and the test sees the very app that answers. The server is granian's
embedded one, through the ASGI door, as in `carboy run`; the lifespan runs.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any, Self

from ..wire.asgi import Event

# Seconds that the app has to start, and to finish what runs when it is stopped.
PATIENCE = 30.0


class LiveServer:
    """Serve an app over HTTP while a test runs.

    Args:
        app: an ASGI application; a Carboy app is one, with sync or async views.
        host: the address to bind.
        port: 0 for a free one.

    Example::

        with LiveServer(app) as server:
            urllib.request.urlopen(server.url + "/")
    """

    def __init__(self, app: Any, host: str = "127.0.0.1", port: int = 0) -> None:
        self.app = app
        self.host = host
        self.port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Any = None  # granian's; it has no types of its own
        self._error: BaseException | None = None
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """The root URL, without a slash at its end.

        Raises:
            RuntimeError: the server does not run.
        """
        if self._thread is None:
            raise RuntimeError("the live server does not run; call start(), or use it in a with block")
        return f"http://{self.host}:{self.port}"

    def start(self) -> Self:
        """Start serving; returns when the app has started.

        Raises:
            RuntimeError: it runs already, or the app or the server did not start.
        """
        if self._thread is not None:
            raise RuntimeError(f"the live server runs already, at {self.url}")
        if not self.port:
            self.port = _free_port(self.host)
        self._error = None
        self._ready.clear()
        self._thread = threading.Thread(target=self._serve, name="carboy-live-server", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + PATIENCE
        while not self._ready.wait(0.05) and self._thread.is_alive() and time.monotonic() < deadline:
            pass
        # The server listens only a moment after the app has started.
        while not self._listens() and self._thread.is_alive() and self._error is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if self._error is not None or not self._listens():
            error = self._error
            self.stop()
            raise RuntimeError(f"the app was not served: {error or 'it did not start in time'}") from error
        return self

    def stop(self) -> None:
        """Finish what runs, stop the app and free the port; does nothing if it does not run."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.stop)
        thread.join(PATIENCE)
        if thread.is_alive():
            raise RuntimeError("the live server did not stop in time; a request or the lifespan's end hangs")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"at {self.url}" if self._thread is not None else "not running"
        return f"<{type(self).__name__} of {self.app!r}, {state}>"

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _serve(self) -> None:
        """Run the server; this is its thread."""
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  # raised by start()
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        from granian.constants import HTTPModes, Interfaces
        from granian.server.embed import Server

        self._loop = asyncio.get_running_loop()
        self._server = Server(
            self._announcing,
            address=self.host,
            port=self.port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            # An incremental configuration leaves the loggers of the test run as they are.
            log_dictconfig={"incremental": True, "handlers": {}, "formatters": {}, "loggers": {}},
            log_enabled=False,
        )
        await self._server.serve()

    async def _announcing(self, scope: Any, receive: Any, send: Any) -> None:
        """The app, watched for the end of its startup: from then on requests are answered."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def announce(message: Event) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.failed":
                self._error = RuntimeError(message.get("message") or "its startup failed")
            if message["type"].startswith("lifespan.startup"):
                self._ready.set()

        try:
            await self.app(scope, receive, announce)
        except Exception as error:
            if self._error is not None:
                self._error.__cause__ = error
            raise
        finally:
            # An app without a lifespan is ready at once.
            self._ready.set()


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])
