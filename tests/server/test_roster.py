"""Workers as values: their states, their limits, and the pauses between starts."""

import random

import pytest

from carboy.server.options import Options
from carboy.server.roster import HEALTHY_AFTER, LONGEST_PAUSE, PASSAGES, BackOff, State, Worker, jittered, limits_of


def test_every_state_has_its_passages():
    """The table has a row for each state, and only the end has no way on."""
    assert set(PASSAGES) == set(State)
    assert [state for state, ways in PASSAGES.items() if not ways] == [State.GONE]


def test_forbidden_passage_is_a_mistake():
    """A worker that is gone does not come back."""
    worker = Worker(0, 1, 1, 0.0, state=State.GONE)

    with pytest.raises(RuntimeError, match="no passage from gone to ready"):
        worker.pass_to(State.READY)


def test_healthy_worker_is_replaced_without_pause():
    """Any number of deaths after a second of service: no pause, ever."""
    backoff = BackOff()

    pauses = [backoff.died(float(now), HEALTHY_AFTER) for now in range(100)]

    assert set(pauses) == {0.0}


def test_pauses_double_to_a_limit_and_are_forgotten():
    """Deaths before or right after ready: slower and slower; one healthy life resets it."""
    backoff = BackOff()

    pauses = [backoff.died(0.0, None) for _ in range(2000)]

    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == LONGEST_PAUSE
    assert backoff.not_before == LONGEST_PAUSE
    assert backoff.died(50.0, 3.0) == 0.0
    assert backoff.died(50.0, 0.1) == 0.1


def test_jitter_spreads_both_ways_and_zero_stays_off():
    """Limits lie within the share; a limit of 0 stays off."""
    chance = random.Random(1)

    spread = [jittered(1000, 0.1, chance) for _ in range(500)]

    assert 900 <= min(spread) < 940
    assert 1060 < max(spread) <= 1100
    assert jittered(0, 0.5, chance) == 0
    assert limits_of(Options(), chance) == (0, 0.0, 0)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({}, None),
        ({"max_requests": 10, "requests": 9}, None),
        ({"max_requests": 10, "requests": 10}, "10 requests"),
        ({"max_age": 5.0}, "6 s of age"),
        ({"max_age": 7.0}, None),
        ({"max_memory": 1 << 20, "memory": 3 << 20}, "3 MiB of memory"),
    ],
)
def test_reasons_for_recycling(limits, why):
    """A worker says why it has had its time."""
    worker = Worker(0, 1, 1, 0.0, state=State.READY, ready_at=4.0, **limits)

    assert worker.must_be_recycled(10.0) == why
