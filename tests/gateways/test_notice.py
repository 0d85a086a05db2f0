"""The signals that stop a server are heard beside its own handlers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from carboy.gateways.notice import Notice


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Put a server's handler in the place of SIGTERM's; the signals it gets."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def test_signal_is_heard_and_handled(handled: list[int]) -> None:
    """Both get it; at the end the server's handler stands alone again."""
    server = signal.getsignal(signal.SIGTERM)

    async def serve() -> bool:
        stopping = asyncio.Event()
        notice = Notice(stopping.set)
        notice.begin()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(stopping.wait(), 5)
        notice.end()
        return stopping.is_set()

    assert asyncio.run(serve())
    assert handled == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is server


def test_signal_without_a_servers_handler_is_left_alone() -> None:
    """Nothing stands in the way of a program's default end."""
    before = signal.getsignal(signal.SIGTERM)

    async def serve() -> None:
        notice = Notice(lambda: None)
        notice.begin()
        assert signal.getsignal(signal.SIGTERM) is before
        notice.end()

    asyncio.run(serve())


def test_handler_that_came_later_stays(handled: list[int]) -> None:
    """Who has taken the signal since is not put aside."""
    later = lambda number, frame: None  # noqa: E731

    async def serve() -> None:
        notice = Notice(lambda: None)
        notice.begin()
        signal.signal(signal.SIGTERM, later)
        notice.end()

    asyncio.run(serve())

    assert signal.getsignal(signal.SIGTERM) is later


def test_other_threads_leave_signals_alone(handled: list[int]) -> None:
    """Python allows handlers in the main thread only; a server in another one is a test's."""
    server = signal.getsignal(signal.SIGTERM)

    async def serve() -> None:
        def begin() -> None:
            Notice(lambda: None).begin()

        await asyncio.to_thread(begin)

    asyncio.run(serve())

    assert signal.getsignal(signal.SIGTERM) is server
