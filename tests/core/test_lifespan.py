"""Spans that do not come to their `yield`."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from carboy.core.lifespan import Lifespan


def plain(app: Any) -> Any:
    if app.needs:
        yield


async def awaited(app: Any) -> Any:
    if app.needs:
        yield


@pytest.mark.parametrize("span", [plain, awaited])
def test_span_without_a_yield_is_named(span: Any) -> None:
    """A generator that returns before its `yield` is an error with its name; what was entered before is left."""
    left = []

    def first() -> Any:
        yield
        left.append("first")

    app: Any = SimpleNamespace(lifespan_functions=[first, span], needs=False)

    with pytest.raises(RuntimeError, match=rf"lifespan function {span.__name__} .*does not yield"):
        asyncio.run(asyncio.wait_for(Lifespan().start(app), 5))

    assert left == ["first"]


def test_error_of_the_start_is_not_lost_behind_that_of_the_end() -> None:
    """Where leaving fails too, the reason of the failed start is what is raised."""

    def first() -> Any:
        yield
        raise OSError("the end failed")

    def second(app: Any) -> None:
        raise KeyError("the start failed")

    app: Any = SimpleNamespace(lifespan_functions=[first, second])

    with pytest.raises(KeyError, match="the start failed") as caught:
        asyncio.run(Lifespan().start(app))

    assert any("the end failed" in note for note in caught.value.__notes__)
