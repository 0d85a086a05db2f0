"""The place for rooms that the server does not know: who calls `serve` names what is put around the application.

The main process opens what all workers share; each worker finds its half by name, so that nothing but names,
descriptors and options go from one to the other. `carboy run` fills this place with the observers.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ..wire.asgi import ASGIApp
from .counting import WSGIApp
from .gate import Gate
from .listen import queue_length
from .options import Options
from .tally import Tally


class Dressing(Protocol):
    """A worker's half: wrappers for the doors, told when serving begins and when it is over."""

    def asgi(self, app: ASGIApp) -> ASGIApp: ...
    def wsgi(self, app: WSGIApp) -> WSGIApp: ...
    def rsgi(self, app: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]: ...

    def sockets(self, app: ASGIApp) -> ASGIApp:
        """The wrapper of one WebSocket whose handshake has come through `asgi`."""
        ...

    def begin(self) -> None:
        """The worker sets out: the application is loaded, and not yet started."""

    def ready(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """The application has started."""

    def end(self) -> None:
        """The last request is answered."""


@dataclass(frozen=True, slots=True)
class Around:
    """What is put around applications.

    Attributes:
        worker: `package.module:function`, called in each worker with the application, the options by name, the
            worker's `Surroundings` and the shared descriptors; returns a `Dressing`, or None for nothing.
        open: called in the main process with the options by name; returns descriptors to share, which it keeps open.
        restarted: called in the main process with the reason, whenever a worker is replaced or could not start.
    """

    worker: str
    open: Callable[[Mapping[str, Any]], Mapping[str, int]]
    restarted: Callable[[str], None] = lambda reason: None


class Surroundings:
    """What a worker tells of itself to what is put around its application."""

    def __init__(self, gate: Gate, tally: Tally) -> None:
        self.gate = gate
        self.tally = tally

    def is_leaving(self) -> bool:
        return self.tally.draining

    def queue(self) -> int:
        return queue_length(self.gate.listening)


def options_by_name(options: Options) -> dict[str, Any]:
    return {each.name: getattr(options, each.name) for each in Options.fields()}


def dress(name: str | None, app: Any, options: Options, gate: Gate, tally: Tally, shared: Mapping[str, int]) -> Dressing | None:
    """Find a worker's half by its name and ask it for its wrappers."""
    if name is None:
        return None
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function)
    return cast("Dressing | None", found(app, options_by_name(options), Surroundings(gate, tally), shared))
