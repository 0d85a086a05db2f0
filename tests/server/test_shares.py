"""Who has more than its share: by requests under way, and by what the processors say."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from carboy.server.machine import open_files, processor_seconds
from carboy.server.shares import LOOKS, Load, connections_above, requests_above


@dataclass(eq=False)
class Worker:
    in_flight: int = 0
    open: int = 0
    load: Load = field(default_factory=Load)


def crew(*in_flight: int) -> list[Worker]:
    return [Worker(count) for count in in_flight]


def test_worker_with_all_the_requests_gives_half_of_them_to_an_idle_one() -> None:
    """Not at once: a burst may be over with the next beat."""
    workers = crew(60, 0)

    assert [requests_above(workers[0], workers, now) for now in (1.0, 1.5)] == [0, 30]
    assert requests_above(workers[1], workers, 1.5) == 0


@pytest.mark.parametrize("in_flight", [(60,), (10, 6, 8), (5, 0), (100, 80, 90), (0, 0)])
def test_worker_keeps_what_is_about_its_share(in_flight: tuple[int, ...]) -> None:
    """A worker alone has no others; small differences are chance."""
    workers = crew(*in_flight)

    assert {requests_above(worker, workers, now) for now in (1.0, 1.5, 2.0) for worker in workers} == {0}


def test_worker_whose_requests_stay_is_asked_less_and_less_often() -> None:
    """Streams are not moved by closing a connection after an answer."""
    workers = crew(60, 0)
    asked = [tick / 2 for tick in range(2, 240) if requests_above(workers[0], workers, tick / 2)]

    assert asked == [1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5]
    workers[0].in_flight = 0
    requests_above(workers[0], workers, 121)
    workers[0].in_flight = 60
    assert [bool(requests_above(workers[0], workers, now)) for now in (130.0, 130.5, 131.5)] == [False, True, True]


def working(*shares_and_open: tuple[float, int]) -> list[Worker]:
    return [Worker(open=10 + count, load=Load(share=share, own=10)) for share, count in shares_and_open]


def told(workers: list[Worker], now: float = 1.0) -> tuple[int, int] | None:
    """What some looks in a row give."""
    found = [connections_above(workers, now, lambda each: each.open) for _ in range(LOOKS)]
    orders = [(workers.index(each[0]), each[1]) for each in found if each is not None]
    assert len(orders) <= 1
    return orders[0] if orders else None


@pytest.mark.parametrize(
    ("shares_and_open", "wanted"),
    [
        pytest.param([(1.0, 16), (0.0, 0)], (0, 8), id="all of them: half"),
        pytest.param([(0.1, 2), (1.0, 14)], (1, 6), id="most of them"),
        pytest.param([(1.0, 2), (0.0, 0)], (0, 1), id="one of two"),
        pytest.param([(1.0, 1), (0.0, 0)], None, id="a single one stays"),
        pytest.param([(1.0, 12), (0.9, 4)], None, id="both compute"),
        pytest.param([(0.3, 16), (0.0, 0)], None, id="little to do"),
        pytest.param([(1.0, 5), (0.0, 11)], None, id="the others have the connections"),
        pytest.param([(1.0, 9), (1.0, 9), (0.2, 0)], (0, 3), id="the busiest to the idle one of three"),
    ],
)
def test_worker_that_computes_for_others_gives_them_connections(shares_and_open, wanted) -> None:
    assert told(working(*shares_and_open)) == wanted


def test_worker_that_computes_for_a_moment_keeps_its_connections() -> None:
    """A browser that comes for a page and what belongs to it opens six of them."""
    workers = working((1.0, 6), (0.0, 0))
    for _ in range(LOOKS):
        for _ in range(LOOKS - 1):
            assert connections_above(workers, 1.0, lambda each: each.open) is None
        workers[0].load.share = 0.1
        assert connections_above(workers, 1.0, lambda each: each.open) is None
        workers[0].load.share = 1.0


def test_worker_that_computes_on_is_asked_less_and_less_often() -> None:
    """One whose connections do not close after an answer, as HTTP/2's."""
    workers = working((1.0, 16), (0.0, 0))
    asked = [tick / 10 for tick in range(10, 400) if told(workers, tick / 10)]

    assert asked == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    workers[1].load.share = 0.9
    assert told(workers, 40) is None
    workers[1].load.share = 0.0
    assert told(workers, 70) == (0, 8)
    assert told(workers, 71.1) == (0, 8)


def test_what_came_of_an_order_is_seen_before_the_next_one() -> None:
    """The requests under way were counted before it."""
    workers = working((1.0, 16), (0.0, 0))
    workers[0].in_flight = 16

    assert told(workers, 1.0) == (0, 8)
    assert [requests_above(workers[0], workers, now) for now in (1.2, 1.4, 1.6)] == [0, 0, 0]
    assert requests_above(workers[0], workers, 2.0) == 8
    workers[0].load.of_work.until = 0.0
    assert told(workers, 2.5) is None


def test_nothing_is_known_of_a_process_that_is_gone() -> None:
    assert (processor_seconds(2**22 + 1), open_files(2**22 + 1)) == (0.0, 0)
