"""`ws.join`: a channel's messages go to the peers that have joined it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from socket_peers import Closed


def test_message_reaches_all_who_joined(place: Any, tag: str) -> None:
    """Two peers of one room hear what one of them says; text as text, JSON as JSON, bytes as bytes."""
    with place.open(f"/rooms/{tag}") as one, place.open(f"/rooms/{tag}") as other, place.open(f"/rooms/{tag}x") as elsewhere:
        assert (one.receive(), other.receive(), elsewhere.receive()) == ("joined", "joined", "joined")

        one.send("hello")
        one.send(b"\x00\xff")

        for line in (one, other):
            assert line.receive() == "hello"
            assert line.receive() == b"\x00\xff"
        with pytest.raises(TimeoutError):
            elsewhere.receive(0.1)


def test_leaving_a_room(place: Any, tag: str) -> None:
    """Who has left hears nothing more; joining twice is an error."""
    with place.open(f"/rooms/{tag}") as one, place.open(f"/rooms/{tag}") as other:
        one.receive(), other.receive()
        one.send("again")
        assert "has joined" in one.receive()
        one.send("leave")
        assert one.receive() == "left"

        other.send("hello")

        assert other.receive() == "hello"
        with pytest.raises(TimeoutError):
            one.receive(0.1)


def test_room_of_a_thread(place: Any, tag: str) -> None:
    """A `def` view joins too, and may choose what is sent."""
    with place.open(f"/sync/rooms/{tag}") as one, place.open(f"/rooms/{tag}") as other:
        one.receive(), other.receive()

        one.send("hello")

        assert json.loads(one.receive()) == {"topic": tag, "data": "hello"}
        assert other.receive() == "hello"


def test_history_comes_first(place: Any, tag: str) -> None:
    """Who joins later may hear what was said last."""
    with place.open(f"/rooms/{tag}") as one:
        one.receive()
        for number in range(3):
            one.send(f"{number}")
            one.receive()
    with place.open(f"/rooms/{tag}?history=2") as late:
        heard = sorted(late.receive() for _ in range(3))

    assert heard == ["1", "2", "joined"]


def test_rooms_end_with_the_socket(place: Any, tag: str) -> None:
    """The subscription goes with its peer: nothing is left of a hundred of them."""
    before = json.loads(place.get("/counts")[2])["tasks"]
    for _ in range(100):
        with place.open(f"/rooms/{tag}") as line:
            line.receive()
    with place.open(f"/rooms/{tag}") as line:
        line.receive()
        line.send("last")
        assert line.receive() == "last"
        line.close()
        with pytest.raises(Closed):
            line.receive()

    for _ in range(50):
        after = json.loads(place.get("/counts")[2])["tasks"]
        if after <= before + 6:
            break
    assert after <= before + 6
