"""A server that says nothing before it stops: the signals that stop it are heard beside it.

Uvicorn and its like wait for every answer before they tell the lifespan that it is over, so a stream of events would
hold the stop for ever. Their own handlers are called as before. `carboy run` gives notice itself, and needs none of this.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

#: Handlers that no server has put there.
_NOBODYS = (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None)


class Notice:
    """Hears SIGTERM and SIGINT beside a server's handlers, from `begin` to `end`.

    Args:
        stopping: called on the loop when one of them comes.
    """

    def __init__(self, stopping: Callable[[], object]) -> None:
        self.stopping = stopping
        self.before: dict[signal.Signals, Any] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Stand beside the handlers that are there; nothing where there are none, or this is not the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if handler not in _NOBODYS:
                self.before[number] = handler
                signal.signal(number, self.hear)

    def hear(self, number: int, frame: Any) -> None:
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stopping)
        self.before[signal.Signals(number)](number, frame)

    def end(self) -> None:
        """Put the server's handlers back, unless somebody has put others there."""
        for number, handler in self.before.items():
            if signal.getsignal(number) == self.hear:
                signal.signal(number, handler)
        self.before.clear()
