"""An app that lives while a coroutine uses it, and the wait for what it does meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from carboy import Carboy


def live(app: Carboy, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run a coroutine function while the app's lifespan goes on; it is given a client."""

    async def main() -> Any:
        async with app.async_test_client() as client:
            return await use(client)

    return asyncio.run(main())


async def until(question: Callable[[], Any], within: float = 5.0) -> None:
    """Wait until the answer is true."""
    end = time.monotonic() + within
    while not question():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)
