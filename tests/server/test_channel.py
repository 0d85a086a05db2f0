"""Messages over a stream socket: cut anywhere, never half, never blocking."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carboy.server.channel import LONGEST, Lines, Sender, pack, receive_one

messages = st.lists(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans(), st.none())), max_size=5)


@given(messages, st.integers(1, 40))
def test_messages_survive_any_cutting(sent, size):
    """However the bytes arrive, the same messages come out in the same order."""
    stream = b"".join(map(pack, sent))
    lines = Lines()

    received = [each for n in range(0, len(stream), size) for each in lines.feed(stream[n : n + size])]

    assert received == sent


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\n"])
def test_nonsense_is_a_value_error(line):
    """What is no JSON object ends the conversation."""
    with pytest.raises(ValueError):
        list(Lines().feed(line))


def test_endless_line_is_refused():
    """Memory is bounded whatever the peer sends."""
    with pytest.raises(ValueError, match="too long"):
        list(Lines().feed(b"x" * (LONGEST + 1)))


def test_sender_never_blocks_nor_breaks_a_line():
    """A peer that does not read: droppable messages are dropped, the others wait, and none is cut in two."""
    ours, theirs = socket.socketpair()
    sender = Sender(ours)

    while sender.send({"n": "x" * 5000}, droppable=True):
        pass
    assert sender.send({"important": True})
    assert not sender.send({"dropped": True}, droppable=True)
    lines = Lines()
    received = []
    theirs.settimeout(0.2)
    while not received or "last" not in received[-1]:
        try:
            received += lines.feed(theirs.recv(65536))
        except TimeoutError:
            sender.send({"last": True})

    assert {"important": True} in received
    assert {"dropped": True} not in received
    ours.close()
    theirs.close()


def test_receive_one_takes_no_byte_too_many():
    """The first message is read; what follows is left to the next reader."""
    ours, theirs = socket.socketpair()
    ours.sendall(pack({"first": "x" * 100_000}) + pack({"second": 2}))

    first = receive_one(theirs)

    assert first == {"first": "x" * 100_000}
    assert theirs.recv(100) == pack({"second": 2})
    ours.close()
    assert receive_one(theirs) is None
    theirs.close()
