"""How `carboy run` observes: what its main process opens, and what each worker puts around the application.

The server room stands beside this one and knows nothing of it; the command line hands it the names of these functions.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from ..wire.asgi import ASGIApp
from .doors import RSGIApp, WSGIApp, watch_asgi, watch_rsgi, watch_sockets, watch_wsgi
from .extension import Observe
from .management import Management, open_port
from .memory import Memory, make_memory
from .observer import Observer, Surroundings
from .settings import Settings
from .trace import find_tracer

MEMORY, PORT = "metrics memory", "management port"

#: The server's options, by the names of our settings; one that says nothing changes nothing.
_OPTIONS: dict[str, tuple[str, object]] = {
    "log": ("access_log", "off"),
    "log_file": ("access_log_file", None),
    "log_sample": ("access_log_sample", 1.0),
    "metrics_path": ("metrics_path", None),
    "health_prefix": ("health_prefix", None),
    "ping_timeout": ("ping_timeout", 2.0),
    "blocking": ("report_blocking", None),
}

#: What the main process keeps open for its workers.
_kept: list[socket.socket | Memory] = []


def open_shared(options: Mapping[str, Any]) -> dict[str, int]:
    """In the main process: the memory of the counters, and the management port if there is to be one.

    Raises:
        OSError, ValueError: the port cannot be had; the text is for the operator.
    """
    memory = Memory(make_memory())
    _kept.append(memory)
    shared = {MEMORY: memory.fd}
    address = options["management"]
    if address:
        try:
            port = open_port(address)
        except OSError as error:
            raise OSError(f"--management {address}: {error.strerror or error}") from error
        _kept.append(port)
        if address.startswith("unix:"):
            atexit.register(_remove, address.removeprefix("unix:"))
        shared[PORT] = port.fileno()
    return shared


def count_restart(reason: str) -> None:
    """In the main process: a worker was replaced, or could not start; told by the supervisor."""
    for memory in _kept:
        if isinstance(memory, Memory):
            table = memory.table(None)
            table.words[table.place("carboy_worker_restarts_total", reason=reason)] += 1


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def dress(app: Any, options: Mapping[str, Any], surroundings: Surroundings, shared: Mapping[str, int]) -> Dressed | None:
    """In a worker: an observer around the application; None where nothing is to be observed."""
    said = {ours: options[theirs] for ours, (theirs, default) in _OPTIONS.items() if options[theirs] != default}
    fitted = getattr(app, "fitted", None)
    extension: Observe | None = fitted.get(Observe.name) if isinstance(fitted, dict) else None
    wanted = bool(said.keys() - {"ping_timeout", "blocking"}) or PORT in shared
    if extension is None:
        if not wanted and find_tracer() is None and not Observer(Settings(**said), app).blocking:
            _close(shared)
            return None
        extension = Observe()
        if isinstance(fitted, dict):
            app.fit(extension)
    observer = extension.overlaid(said)
    settings = observer.settings
    wanted = wanted or settings.log != "off" or settings.metrics_path is not None or settings.health_prefix is not None or observer.blocking > 0
    if not wanted and not (settings.traces and find_tracer() is not None):
        _close(shared)
        return None
    observer.shared = shared.get(MEMORY)
    observer.surroundings = surroundings
    port = socket.socket(fileno=shared[PORT]) if PORT in shared else None
    return Dressed(observer, Management(port, observer.management_pages(), surroundings.is_leaving, observer.is_early) if port is not None else None)


def _close(shared: Mapping[str, int]) -> None:
    for fd in shared.values():
        os.close(fd)


class Dressed:
    """One worker's observer, as the server speaks to it."""

    def __init__(self, observer: Observer, management: Management | None) -> None:
        self.observer = observer
        self.management = management

    def asgi(self, app: ASGIApp) -> ASGIApp:
        return watch_asgi(app, self.observer)

    def wsgi(self, app: WSGIApp) -> WSGIApp:
        return watch_wsgi(app, self.observer)

    def rsgi(self, app: RSGIApp) -> Callable[[Any, Any], Any]:
        return watch_rsgi(app, self.observer)

    def sockets(self, app: ASGIApp) -> ASGIApp:
        return watch_sockets(app, self.observer)

    def begin(self) -> None:
        self.observer.start()
        if self.management is not None:
            self.management.start()

    def ready(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.observer.ready(loop)

    def end(self) -> None:
        if self.management is not None:
            self.management.stop()
        self.observer.stop()
