"""Every behaviour is tested through every door and in both colours: a test is written once, and run for each.

A test takes `door` (by way of `make_client` or `client`) and, where it has a view of its own, `coloured`, which turns
a plain function into the kind of view that the run is about.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

import carboy

DOORS = ("wsgi", "asgi", "rsgi", "cgi", "fastcgi")
COLOURS = ("sync", "async")

View = Callable[..., Any]


class MakeClient(Protocol):
    """Give a client for an app, through the door of this run."""

    def __call__(self, app: Any, **kwargs: Any) -> Any: ...


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """The protocol that carries the requests of this run."""
    return str(request.param)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """What kind the views of this run are."""
    return str(request.param)


@pytest.fixture
def coloured(colour: str) -> Callable[[View], View]:
    """Turn a plain function into one of this run's colour.

    The async twin gives way to the loop before it does its work, so that it is suspended in earnest.
    """
    if colour == "sync":
        return lambda function: function

    def twin_of(function: View) -> View:
        @functools.wraps(function)
        async def twin(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        return twin

    return twin_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root path of the test's app, with empty folders for its templates and static files."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "static").mkdir()
    return tmp_path


@pytest.fixture
def app(root: Path) -> carboy.Carboy:
    """An app that answers as in production, but says what went wrong: errors become responses."""
    app = carboy.Carboy("board", root_path=str(root))
    app.config.update(SECRET_KEY="a key for tests", PROPAGATE_EXCEPTIONS=False)
    return app


@pytest.fixture
def make_client(door: str) -> Iterator[MakeClient]:
    """Give clients through the door of this run."""

    def make(app: Any, **kwargs: Any) -> Any:
        return app.test_client(door=door, **kwargs)

    yield make


@pytest.fixture
def client(make_client: MakeClient, app: carboy.Carboy) -> Any:
    """A client of `app` through the door of this run."""
    return make_client(app)
