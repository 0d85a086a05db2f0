"""Finding a connection by its addresses, and telling when its first owner has let it go. A thread plays granian."""

import asyncio
import os
import resource
import socket
import struct

import pytest

from carboy.server.options import Options
from carboy.server.takeover import Finder, can_take_over


@pytest.fixture
def pair():
    """A listening socket, and both ends of a connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        with accepted:
            yield listening, accepted, client


def test_connection_is_found_and_copied(pair):
    """The copy is the same socket under a number of its own, above those of HTTP connections, and not inherited."""
    listening, accepted, client = pair

    held = Finder(listening, 16).find(client.getsockname(), ())

    assert held is not None
    assert held.number == accepted.fileno()
    assert held.fd >= 16 + 1024
    assert held.inode == os.fstat(accepted.fileno()).st_ino
    assert not os.get_inheritable(held.fd)
    os.write(held.fd, b"x")
    assert client.recv(1) == b"x"
    held.close()


def test_connection_lives_on_when_its_first_number_is_closed(pair):
    """This is what the hand-over stands on: no FIN, until the last descriptor goes."""
    listening, accepted, client = pair
    held = Finder(listening, 16).find(client.getsockname(), ())
    assert held is not None
    assert not held.is_released()

    accepted.close()

    assert held.is_released()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    held.close()
    client.setblocking(True)
    assert client.recv(1) == b""


def test_number_that_is_somebody_elses_now_is_released(pair):
    """The number alone says nothing; the inode does."""
    listening, accepted, client = pair
    held = Finder(listening, 16).find(client.getsockname(), ())
    assert held is not None
    number = accepted.detach()

    with socket.socket() as other:
        os.dup2(other.fileno(), number)
        assert held.is_released()
    os.close(number)
    held.close()


def test_release_is_waited_for_and_given_up(pair):
    """True soon after the close; False at the limit."""
    listening, accepted, client = pair
    held = Finder(listening, 16).find(client.getsockname(), ())
    assert held is not None

    async def main():
        gave_up = await held.released(0.05)
        asyncio.get_running_loop().call_later(0.02, accepted.close)
        return gave_up, await held.released(2)

    assert asyncio.run(main()) == (False, True)
    held.close()


def test_strangers_are_not_found(pair):
    """Another peer, the client's own end, a connection that is taken, an address that is none."""
    listening, accepted, client = pair
    finder = Finder(listening, 16)
    address, port = client.getsockname()
    inode = os.fstat(accepted.fileno()).st_ino

    assert finder.find((address, port ^ 1), ()) is None
    assert finder.find(("127.0.0.9", port), ()) is None
    assert finder.find(listening.getsockname(), ()) is None
    assert finder.find((address, port), {inode}) is None
    assert finder.find(("", port), ()) is None


def test_outgoing_connection_to_the_same_address_is_no_candidate(pair):
    """A peer may have the very address and port that the application is connected to: the local port tells."""
    listening, _, client = pair
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        assert Finder(elsewhere, 16).find(client.getsockname(), ()) is None


def test_two_candidates_are_none(pair):
    """Where a peer's address and port occur twice, nobody is given the other's connection."""
    listening, accepted, client = pair
    finder = Finder(listening, 16)

    with accepted.dup():
        assert finder.find(client.getsockname(), ()) is None

    assert not [number for number in os.listdir("/proc/self/fd") if int(number) >= finder.floor]


def test_ipv6_is_found():
    """The address stands elsewhere in the kernel's answer."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        for host, seen in (("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")):
            with socket.create_connection((host, listening.getsockname()[1])) as client:
                accepted, _ = listening.accept()
                with accepted:
                    held = Finder(listening, 16).find((seen, client.getsockname()[1]), ())
                    assert held is not None
                    assert held.number == accepted.fileno()
                    held.close()


def test_out_of_descriptors_is_an_error(pair):
    """The caller answers 503; nothing stays open."""
    listening, _, client = pair
    finder = Finder(listening, 16)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finder.floor = 60
    taken = [os.dup(0) for _ in range(70)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (61, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            finder.find(client.getsockname(), ())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)


def test_peer_that_has_reset_is_not_found(pair):
    """A socket without a peer has no address any more."""
    listening, accepted, client = pair
    address = client.getsockname()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with pytest.raises(ConnectionResetError):
        accepted.recv(1)

    assert Finder(listening, 16).find(address, ()) is None


@pytest.mark.parametrize(
    ("options", "family", "can"),
    [
        (Options(), socket.AF_INET, True),
        (Options(http="auto"), socket.AF_INET6, True),
        (Options(), socket.AF_UNIX, False),
        (Options(interface="rsgi"), socket.AF_INET, False),
        (Options(http="2"), socket.AF_INET, False),
        (Options(tls_cert="a", tls_key="b"), socket.AF_INET, False),
    ],
)
def test_where_it_can_be_done(monkeypatch, options, family, can):
    """TCP, HTTP/1.1, no TLS, the ASGI door, Linux."""
    with socket.socket(family) as listening:
        monkeypatch.setattr("sys.platform", "linux")
        assert can_take_over(options, listening) is can
        monkeypatch.setattr("sys.platform", "darwin")
        assert can_take_over(options, listening) is False


def test_number_that_is_no_socket_any_more_is_nobodys(pair, tmp_path):
    """Between the search and the copy a number may be given to a file; no descriptor is left of that."""
    listening, _, client = pair
    finder = Finder(listening, 16)
    with (tmp_path / "file").open("w") as file:
        before = len(os.listdir("/proc/self/fd"))

        assert finder.copy(file.fileno(), client.getsockname()) is None

        assert len(os.listdir("/proc/self/fd")) == before
