"""A crowd of clients in a process of its own: `python crowd.py PORT PATH COUNT` opens COUNT connections, then sends one request on each.

Prints one line: seconds from the first request sent to the last answer read, then how many answers were 200.
"""

from __future__ import annotations

import asyncio
import sys
import time


async def main(port: int, path: str, count: int) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    room = asyncio.Semaphore(100)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with room:
            return await asyncio.open_connection("127.0.0.1", port)

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer.startswith(b"HTTP/1.1 200")

    connections = await asyncio.gather(*(connect() for _ in range(count)))
    begun = time.perf_counter()
    good = await asyncio.gather(*(ask(*connection) for connection in connections))
    print(f"{time.perf_counter() - begun:.3f} {sum(good)}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
