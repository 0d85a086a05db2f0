"""The place around the application: filled by name, in the worker."""

import socket
import sys
from types import ModuleType

import pytest

from carboy.server.around import Surroundings, dress
from carboy.server.gate import Gate
from carboy.server.options import Options
from carboy.server.tally import Tally


@pytest.fixture
def gate():
    """A gate before a socket that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Gate(listening)
        yield made
        made.dispose()


def test_without_a_name_there_is_nothing(gate) -> None:
    """The server stands alone."""
    assert dress(None, object(), Options(), gate, Tally(), {}) is None


def test_the_named_function_gets_all_it_needs(gate, monkeypatch) -> None:
    """The application, every option by name, the worker's surroundings, and what is shared."""
    module = ModuleType("stranger")
    module.fill = lambda *given: given
    monkeypatch.setitem(sys.modules, "stranger", module)
    app, tally = object(), Tally()

    given_app, options, surroundings, shared = dress("stranger:fill", app, Options(workers=3), gate, tally, {"memory": 7})

    assert given_app is app
    assert options["workers"] == 3
    assert set(options) == {each.name for each in Options.fields()}
    assert shared == {"memory": 7}
    assert isinstance(surroundings, Surroundings)
    assert surroundings.queue() == 0
    assert not surroundings.is_leaving()
    tally.drain()
    assert surroundings.is_leaving()
