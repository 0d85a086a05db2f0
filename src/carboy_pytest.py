"""The pytest plugin: `client`, `async_client`, `runner`, `live_server` and `upstream` for a project that has an `app` fixture.

It is loaded by every pytest run on a machine that has this package installed; so it stands beside the package, imports
pytest and nothing else (`import carboy` answers `import flask`, which a project that has nothing to do with Carboy must
not get), and the fixtures import what they need when a test asks for them. Where another plugin has a fixture of
the same name (pytest-flask and pytest-django have), that one is left alone; a project's own conftest wins in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from carboy.batteries.client import Fake
    from carboy.testing.asyncclient import AsyncClient
    from carboy.testing.runner import CliRunner
    from carboy.testing.server import LiveServer

DOOR_OPTION = "--carboy-door"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of a door for all clients of a run."""
    parser.getgroup("carboy").addoption(
        DOOR_OPTION,
        default=None,
        metavar="DOOR",
        help="the protocol that carries the requests of the `client` fixture: wsgi, asgi, rsgi, cgi or fastcgi",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Offer each fixture that no other plugin has."""
    taken = {
        name
        for plugin in config.pluginmanager.get_plugins()
        if not str(getattr(plugin, "__file__", "")).endswith("conftest.py")
        for name in FIXTURES
        if hasattr(plugin, name)
    }
    free = {name: fixture for name, fixture in FIXTURES.items() if name not in taken}
    # A module: pytest keeps what it has seen in a set, so a plugin must be hashable.
    fixtures = ModuleType("carboy-fixtures")
    vars(fixtures).update(free)
    config.pluginmanager.register(fixtures, "carboy-fixtures")


def _client(app: Any, pytestconfig: pytest.Config) -> Any:
    """A test client of the `app` fixture; through the door that --carboy-door names."""
    door = pytestconfig.getoption(DOOR_OPTION)
    return app.test_client() if door is None else app.test_client(door=door)


def _async_client(app: Any) -> AsyncClient:
    """An async client of the `app` fixture; `async with async_client:` runs the app's lifespan."""
    from carboy.testing.asyncclient import AsyncClient

    return AsyncClient(app)


def _runner(app: Any) -> CliRunner:
    """A runner of the `app` fixture's commands."""
    return app.test_cli_runner()  # type: ignore[no-any-return]  # the user's app


def _live_server(app: Any) -> Iterator[LiveServer]:
    """A real server of the `app` fixture, on a free port; `live_server.url` says where."""
    from carboy.testing.server import LiveServer

    with LiveServer(app) as server:
        yield server


def _upstream(app: Any) -> Iterator[Fake]:
    """A double of all servers that the `app` fixture calls by `app.http`."""
    with app.http.fake() as upstream:
        yield upstream


FIXTURES: dict[str, Any] = {
    "client": pytest.fixture(name="client")(_client),
    "async_client": pytest.fixture(name="async_client")(_async_client),
    "runner": pytest.fixture(name="runner")(_runner),
    "live_server": pytest.fixture(name="live_server")(_live_server),
    "upstream": pytest.fixture(name="upstream")(_upstream),
}
