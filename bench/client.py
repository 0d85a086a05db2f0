"""What `app.http` costs beside httpx2's own client: CPU time of a call without a network, the least of five turns.

    python bench/client.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from carboy import Carboy
from carboy.batteries.client.delivery import AsyncTransport

TURNS, CALLS, URL = 5, 2000, "https://upstream.example/"


class Near(httpx2.AsyncBaseTransport):
    """Answers at once."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=b"ok")


async def microseconds(get: Callable[[str], Awaitable[Any]]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        await get(URL)
    return (time.process_time() - began) / CALLS * 1e6


async def main() -> None:
    near, client = Near(), Carboy(__name__).http
    client._transport = lambda: AsyncTransport(client, near.handle_async_request, near.aclose, is_public=False)  # type: ignore[method-assign]
    async with httpx2.AsyncClient(transport=near) as plain:
        turns = [(await microseconds(plain.get), await microseconds(client.get)) for _ in range(TURNS)]
    theirs, ours = (min(column) for column in zip(*turns, strict=True))
    print(f"httpx2 {theirs:.0f} µs a call, app.http {ours:.0f} µs: {ours - theirs:.0f} µs more")


if __name__ == "__main__":
    asyncio.run(main())
