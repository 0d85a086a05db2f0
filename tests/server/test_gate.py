"""The gate over granian's descriptor: closed means untouched, and nothing that came meanwhile is lost."""

import os
import select
import socket
import sys

import pytest

from carboy.server.gate import Gate
from carboy.server.listen import queue_length

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the gate stays open where the kernel drops its registration")


@pytest.fixture
def gate(listening):
    gate = Gate(listening)
    yield gate
    gate.dispose()
    os.close(gate.fd)


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_closed_gate_accepts_nothing(listening, gate):
    """While closed, `accept` on the given descriptor finds nobody, and the caller waits in the real queue."""
    given = socket.socket(fileno=gate.fd)

    gate.close("a reason")
    with socket.create_connection(listening.getsockname()):
        with pytest.raises(BlockingIOError):
            given.accept()
        waiting = queue_length(listening)

    assert waiting == 1
    given.detach()


def test_gate_opens_when_the_last_reason_is_withdrawn(listening, gate):
    """Several may have reasons; the last one opens."""
    given = socket.socket(fileno=gate.fd)
    gate.close("a")
    gate.close("b")

    with socket.create_connection(listening.getsockname()):
        gate.open("a")
        with pytest.raises(BlockingIOError):
            given.accept()
        gate.open("b")
        connection, _ = given.accept()

    connection.close()
    given.detach()
    assert gate.is_open


def test_edge_triggered_poller_hears_of_those_who_came_meanwhile(listening, gate):
    """Opening knocks: a poller that has seen the edge already would wait for the next client otherwise."""
    given = socket.socket(fileno=gate.fd)
    poller = select.epoll()
    poller.register(gate.fd, select.EPOLLIN | select.EPOLLET)
    gate.close("a")
    with socket.create_connection(listening.getsockname()):
        poller.poll(1)
        with pytest.raises(BlockingIOError):
            given.accept()
        assert poller.poll(0) == []

        gate.open("a")

        assert poller.poll(1)
        connection, _ = given.accept()
    connection.close()
    given.detach()
    poller.close()


def test_unknown_reason_opens_nothing(gate):
    """Withdrawing what was never given changes nothing."""
    gate.close("a")

    gate.open("b")

    assert not gate.is_open
