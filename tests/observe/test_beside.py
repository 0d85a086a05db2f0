"""What an application counts of itself becomes metrics, without being made for it."""

import asyncio
from types import SimpleNamespace

import pytest

from carboy import Carboy
from carboy.observe.beside import Beside, apps_of
from carboy.observe.memory import Memory, make_memory
from carboy.observe.metrics import exposition


@pytest.fixture
def memory():
    """Memory of its own."""
    made = Memory(make_memory())
    yield made
    made.close()


def shown(memory: Memory, start: str) -> dict[str, float]:
    lines = [line for line in exposition(memory).splitlines() if line.startswith(start)]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_nothing_is_made_that_is_not_there(memory) -> None:
    """An application without services, channels and tasks still has none after a look."""
    app = Carboy("bare", static_folder=None)
    before = set(vars(app)), set(app.extensions)

    Beside(app).look(memory.claim().named)

    assert (set(vars(app)), set(app.extensions)) == before
    assert not any(shown(memory, start) for start in ("carboy_service", "carboy_channels", "carboy_tasks"))


def test_what_is_no_application_has_nothing(memory) -> None:
    """Another framework's, and none at all."""
    for app in (None, object(), SimpleNamespace(mounts=())):
        Beside(app).look(memory.claim().named)

    assert not shown(memory, "carboy_service")


def test_each_count_is_added_once(memory) -> None:
    """Two looks at the same number are one; two observers' tables are summed."""
    app = Carboy("served", static_folder=None)
    service = app.listen_tcp("127.0.0.1:0", asyncio.Protocol, name="echo")
    beside, table = Beside(app), memory.claim().named

    service.accepted, service.received = 3, 100
    service.open.add(object())
    beside.look(table)
    beside.look(table)
    service.accepted = 5
    beside.look(table)

    assert shown(memory, "carboy_service") == {
        'carboy_service_connections_total{service="echo"}': 5,
        'carboy_service_connections_open{service="echo"}': 1,
        'carboy_service_connections_refused_total{service="echo"}': 0,
        'carboy_service_failures_total{service="echo"}': 0,
        'carboy_service_received_bytes_total{service="echo"}': 100,
    }


def test_mounted_applications_are_looked_at_too(memory) -> None:
    """One sum for what has one name."""
    inner, outer = Carboy("inner", static_folder=None), Carboy("outer", static_folder=None)
    outer.mount("/inner", inner)
    for app in (inner, outer):
        app.channels.counts.published = 2
        app.channels.counts.subscribers = 1

    Beside(outer).look(memory.claim().named)

    assert list(apps_of(outer)) == [outer, inner]
    assert shown(memory, "carboy_channels_published_total") == {"carboy_channels_published_total": 4}
    assert shown(memory, "carboy_channels_subscribers") == {"carboy_channels_subscribers": 2}


def test_a_forked_child_does_not_count_its_parents_numbers(memory) -> None:
    """They are in the parent's slot already."""
    app = Carboy("forked", static_folder=None)
    app.channels.counts.published = 7
    beside = Beside(app)

    beside.forget()
    app.channels.counts.published = 8
    beside.look(memory.claim().named)

    assert shown(memory, "carboy_channels_published_total") == {"carboy_channels_published_total": 1}
