"""The book of topics, without any loop: order, bounds, followers, presence, and taking over another's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carboy.realtime.channels.ledger import Ledger
from carboy.realtime.channels.message import Entry, next_id, position
from carboy.realtime.channels.presence import Stay


class Member:
    """Takes note of what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def deliver(self, topic: str, entry: Entry) -> None:
        self.told.append((topic, entry.body))

    def changed(self, topic: str) -> None:
        self.told.append((topic, "changed"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def put(ledger: Ledger, topic: str, *bodies: bytes) -> list[str]:
    return [ledger.publish(topic, body.hex(), "b", body) for body in bodies]


def test_ids_grow_even_if_the_clock_goes_back() -> None:
    """The order of ids is the order of publication, on all topics together."""
    clock = Clock()
    ledger = Ledger(10, 100, clock)
    ids = []
    for step in (0, 0, 5, -3, -3, 10):
        clock.now += step
        ids += put(ledger, f"t{step}", b"x")

    assert sorted(ids, key=position) == ids
    assert len(set(ids)) == len(ids)


@given(st.lists(st.floats(0, 2_000_000_000), min_size=1))
def test_the_next_id_is_greater_at_any_time(times: list[float]) -> None:
    """Whatever the clock says."""
    last = (0, 0)
    for now in times:
        here, text = next_id(last, now)
        assert position(text) == here > last
        last = here


@pytest.mark.parametrize("text", ["", "x", "1-x", "-", "1-2-3", "yesterday"])
def test_what_is_no_id_is_refused(text: str) -> None:
    """Ids come back from clients."""
    with pytest.raises(ValueError, match="is no id of a message"):
        position(text)


def test_each_entry_names_the_one_before_it() -> None:
    """Per topic; even where history has forgotten that one."""
    ledger = Ledger(2, 100)
    a = put(ledger, "a", b"1", b"2", b"3", b"4")
    b = put(ledger, "b", b"1")

    assert [(entry.id, entry.before) for entry in ledger.read("a", None, 10)] == [(a[2], a[1]), (a[3], a[2])]
    assert [(entry.id, entry.before) for entry in ledger.read("b", None, 10)] == [(b[0], "0-0")]


def test_topics_that_nobody_uses_are_forgotten() -> None:
    """After their age; those that are followed, or where somebody is, stay with their place in the order."""
    clock = Clock()
    ledger = Ledger(10, 100, clock)
    member = Member()
    for number in range(1000):
        put(ledger, f"t{number}", b"x")
    ledger.follow(member, {"followed": None, "t0": None})
    ledger.enter(member, "t1", Stay("k", "ana", 0.0, b"{}"))
    clock.now += 101
    put(ledger, "new", b"x")

    assert set(ledger.logs) == {"followed", "t0", "t1", "new"}
    assert ledger.logs["t0"].tail != "0-0"
    ledger.drop(member)
    assert set(ledger.logs) == {"new"}
    assert ledger.following == ledger.staying == {}


def test_a_member_that_goes_takes_only_its_own_along() -> None:
    """Its follows and its people; somebody else's stay."""
    ledger = Ledger(10, 100)
    one, two = Member(), Member()
    ledger.follow(two, {"t": None})
    ledger.enter(one, "t", Stay("1", "ana", 1.0, b"{}"))
    ledger.enter(two, "t", Stay("2", "ben", 2.0, b"{}"))

    ledger.leave(one, "t", "2")
    ledger.drop(one)

    assert [stay.who for stay in ledger.people("t")] == ["ben"]
    assert two.told == [("t", "changed")] * 3


def test_what_two_remember_becomes_one_log() -> None:
    """A successor has what any of its members has, in order, once; and goes on behind it."""
    first = Ledger(10, 10_000_000_000)
    put(first, "t", b"1", b"2", b"3", b"4")
    entries = first.read("t", None, 10)
    second = Ledger(3, 10_000_000_000, lambda: 1.0)

    second.merge("t", entries[2:])
    second.merge("t", entries[:3])
    (id_,) = put(second, "t", b"5")

    found = second.read("t", None, 10)
    assert [entry.body for entry in found] == [b"3", b"4", b"5"]
    assert found[-1].before == entries[-1].id
    assert position(id_) > position(entries[-1].id)
    assert second.publish("t", b"4".hex(), "b", b"4", again=True) == entries[3].id
