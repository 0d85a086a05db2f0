"""Keeping up a connection: attended to until it breaks, then made again, with pauses that grow; and ended for certain."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

log = logging.getLogger("carboy.channels")

#: Seconds between two attempts: the first, and the longest.
SOON, LATE = 0.05, 1.0
#: A connection that lived so long, in seconds, was a good one: the next attempt comes soon again.
GOOD = 10.0


def words_of(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


class Upkeep:
    """One connection, kept up.

    Args:
        attend: makes the connection and returns, or raises, when it is broken.
        broken: what it may raise for that; anything else is a defect, and is logged.
        close: called at the end.

    Attributes:
        trouble: why the last connection broke, for the text of an error.
    """

    def __init__(self, attend: Callable[[], Awaitable[None]], broken: tuple[type[Exception], ...], close: Callable[[], Awaitable[None]]) -> None:
        self.attend = attend
        self.broken = broken
        self.close = close
        self.trouble = "it is being connected to"
        self.task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        try:
            await self.keep()
        finally:
            await self.close()

    async def keep(self) -> None:
        pause = SOON
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                await self.attend()
            except self.broken as error:
                # Who wants something from the broker now is told; this one tries again.
                self.trouble = words_of(error)
            except Exception as error:
                log.exception("the connection of the channels to their broker failed in a way that was not foreseen; it is made again")
                self.trouble = repr(error)
            if loop.time() - begun > GOOD:
                pause = SOON
            # Not all workers at the same moment, when a server comes back.
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause)
            pause = min(pause * 2, LATE)

    async def end(self) -> None:
        """End the connection, and wait until it has ended."""
        await end_tasks([self.task])


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run works at the same time until all are done, or one fails; then end the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        await end_tasks(tasks)


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they are done.

    Once is not enough: client libraries that shield, or time out, a call of theirs lose a cancellation now and then
    (redis 8.1 while it connects), and the task would go on.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=0.1)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # read, so that nobody reports it as forgotten: who failed was told on its way
