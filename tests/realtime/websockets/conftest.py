"""Each test of `place` runs in process, under uvicorn and under `carboy run`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the harness is found whatever pytest's import mode

from socket_app import app
from socket_peers import InProcess, Served

_tags = itertools.count(1)


@pytest.fixture(scope="session", params=["in process", "uvicorn", "carboy run"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Where the application is served; `open` and `get` speak with it."""
    if request.param == "in process":
        yield InProcess(app)
        return
    server = Served(request.param, tmp_path_factory.mktemp("server"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def tag() -> str:
    """The name under which a test finds its own events."""
    return f"t{next(_tags)}"


@pytest.fixture
def told(place: Any, tag: str) -> Callable[..., list[Any]]:
    """Read this test's events, once an event of the name given is among them."""

    def read(until: str, timeout: float = 5.0) -> list[Any]:
        end = time.monotonic() + timeout
        while True:
            found = json.loads(place.get(f"/events/{tag}")[2])
            if any(event[0] == until for event in found):
                return found  # type: ignore[no-any-return]
            assert time.monotonic() < end, f"{until!r} is not among {found}"
            time.sleep(0.01)

    return read
