"""One text, two colours: what the generator says is what both functions do."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from carboy.pipeline.both import Call, both

seen: list[str] = []


def read(name: str) -> int:
    seen.append(f"read {name}")
    if name == "missing":
        raise LookupError(name)
    return len(name)


async def aread(name: str) -> int:
    await asyncio.sleep(0)
    return read(name)


def _total(*names: str) -> Generator[Call, Any, int]:
    total = 0
    try:
        for name in names:
            try:
                total += yield Call(read, aread, (name,))
            except LookupError:
                total += 100
    finally:
        seen.append("closed")
    return total


total, atotal = both(_total)


@pytest.fixture(params=["sync", "async"])
def either(request):
    seen.clear()
    return total if request.param == "sync" else lambda *names: asyncio.run(atotal(*names))


def test_results_are_sent_to_the_logic(either):
    """Each command's result comes back to where it was asked for."""
    assert either("a", "bc") == 3
    assert seen == ["read a", "read bc", "closed"]


def test_error_is_thrown_where_the_command_was(either):
    """The logic decides what an error of its I/O means."""
    assert either("missing", "a") == 101


def test_error_that_the_logic_leaves_comes_out():
    """And the logic's own `finally` has run."""

    def _fails() -> Generator[Call, Any, None]:
        try:
            yield Call(read, aread, ("missing",))
        finally:
            seen.append("left")

    fails, afails = both(_fails)
    for call in (fails, lambda: asyncio.run(afails())):
        seen.clear()
        with pytest.raises(LookupError):
            call()
        assert seen == ["read missing", "left"]
