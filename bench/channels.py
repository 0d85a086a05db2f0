"""How long a message takes to all subscribers of a worker: `python bench/channels.py [--subscribers N] [--messages N] URL …`.

A second process publishes, at a steady pace; the subscribers are in this one, each with a task of its own. Each message
carries the time at which it was published (one clock for both processes). Printed: milliseconds from publishing to the
subscriber's hand, over all subscribers and messages; milliseconds that a publication took; and whether each subscriber
had all of them, in order. `memory://` has one process, and so publishes from this one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import uuid

from carboy import Carboy
from carboy.realtime.channels import Channels


def channels_at(url: str, name: str) -> Channels:
    app = Carboy(name)
    app.config.update(CHANNELS_URL=url, CHANNELS_QUEUE=10_000)
    return Channels(app)


async def publish(channels: Channels, messages: int, pause: float) -> list[float]:
    took = []
    for number in range(messages):
        begun = time.monotonic()
        await channels.publish("t", [number, begun])
        took.append(time.monotonic() - begun)
        await asyncio.sleep(max(0.0, pause - took[-1]))
    return took


async def publisher(url: str, name: str, messages: int, pause: float) -> None:
    channels = channels_at(url, name)
    print(json.dumps(await publish(channels, messages, pause)))
    await channels.close()


async def measure(url: str, subscribers: int, messages: int, pause: float) -> str:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    channels = channels_at(url, name)
    late: list[float] = []
    entered = asyncio.Semaphore(0)

    async def subscribe() -> bool:
        seen = []
        async with channels.subscribe("t") as incoming:
            entered.release()
            async for message in incoming:
                number, begun = message.data
                late.append(time.monotonic() - begun)
                seen.append(number)
                if len(seen) == messages:
                    return seen == list(range(messages))
        return False

    tasks = [asyncio.create_task(subscribe()) for _ in range(subscribers)]
    for _ in tasks:
        await entered.acquire()
    if url.startswith("memory:"):
        took = await publish(channels, messages, pause)
    else:
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--publish", name, "--messages", str(messages), "--pause", str(pause), url, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
        took = json.loads(output)
    complete = await asyncio.wait_for(asyncio.gather(*tasks), 60)
    await channels.close()
    return (
        f"{url.partition(':')[0]:<12} received p50 {at(late, 0.5)} p99 {at(late, 0.99)} ms, published p50 {at(took, 0.5)} p99 {at(took, 0.99)} ms,"
        f" {sum(complete)} of {subscribers} subscribers had all {messages} in order"
    )


def at(values: list[float], share: float) -> str:
    return f"{sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000:7.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds from one publication to the next")
    parser.add_argument("--publish", metavar="NAME", help="publish only; used by the script itself")
    options = parser.parse_args()
    for url in options.urls:
        if options.publish:
            asyncio.run(publisher(url, options.publish, options.messages, options.pause))
        else:
            print(asyncio.run(measure(url, options.subscribers, options.messages, options.pause)), flush=True)


if __name__ == "__main__":
    main()
