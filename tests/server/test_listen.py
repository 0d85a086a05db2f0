"""The listening socket: bound once, adopted, refused with a reason, and closed without losing who waits."""

import contextlib
import os
import socket
import sys

import pytest

from carboy.server.errors import BindError
from carboy.server.listen import open_listener, parse_fastcgi, queue_length
from carboy.server.options import Options


@contextlib.contextmanager
def opened(activated=(), **options):
    listener = open_listener(Options(**{"port": 0, **options}), list(activated))
    try:
        yield listener
    finally:
        listener.close()


def test_tcp_listens_and_says_where():
    """Port 0 takes a free one; the URL names it."""
    with opened() as listener, socket.create_connection(listener.socket.getsockname()):
        assert listener.url == f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


def test_second_server_is_refused():
    """No SO_REUSEPORT: the kernel keeps the port for the first."""
    with opened() as first:
        port = first.socket.getsockname()[1]

        with pytest.raises(BindError, match=f"127.0.0.1:{port} is taken"), opened(port=port):
            pass


def test_port_can_be_taken_again_at_once():
    """Connections of the past in TIME_WAIT are no second server."""
    with opened() as first:
        name = first.socket.getsockname()
        client = socket.create_connection(name)
        first.socket.setblocking(True)
        accepted, _ = first.socket.accept()
        accepted.close()
        client.close()

    with opened(port=name[1]) as second:
        assert second.socket.getsockname() == name


@pytest.mark.parametrize(("host", "words"), [("203.0.113.7", "no address of this machine"), ("no.such.host.invalid", "give an address")])
def test_wrong_host_is_explained(host, words):
    """An address that is not ours, and a name that is none."""
    with pytest.raises(BindError, match=words), opened(host=host):
        pass


def test_inherited_socket_is_adopted():
    """From systemd or by --fd; it is left as it was found."""
    with socket.create_server(("127.0.0.1", 0)) as mine:
        fd = os.dup(mine.fileno())

        with opened(activated=[fd]) as listener:
            listener.refuse_new()
            with socket.create_connection(mine.getsockname(), timeout=2):
                assert listener.borrowed
                assert "(inherited)" in listener.url


@pytest.mark.parametrize("make", [lambda: socket.socket(), lambda: open(os.devnull)])  # noqa: SIM115 - closed by the test
def test_descriptor_that_does_not_listen_is_refused(make):
    """A plain file, or a socket that was never told to listen."""
    with make() as wrong, pytest.raises(BindError, match="listening stream socket"), opened(fd=os.dup(wrong.fileno())):
        pass


def test_unix_socket_has_its_mode_and_goes(tmp_path):
    """Permissions as asked, and the path is removed at the end."""
    path = tmp_path / "s"

    with opened(unix=str(path), unix_mode=0o600) as listener:
        assert path.stat().st_mode & 0o777 == 0o600
        assert listener.url == f"unix:{path}"

    assert not path.exists()


def test_stale_unix_socket_is_replaced_a_living_one_is_not(tmp_path):
    """A socket nobody listens on is rubbish; one that answers is somebody's."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    with opened(unix=str(path)):
        with pytest.raises(BindError, match="another server listens"), opened(unix=str(path)):
            pass
        assert path.exists()


def test_file_in_the_way_is_not_removed(tmp_path):
    """A path that is no socket is left alone."""
    path = tmp_path / "s"
    path.write_text("precious")

    with pytest.raises(BindError, match="is no socket"), opened(unix=str(path)):
        pass

    assert path.read_text() == "precious"


def test_path_that_another_server_took_is_not_removed(tmp_path):
    """Whoever put its own socket there meanwhile keeps it."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        with opened(unix=str(path)):
            path.unlink()
            other.bind(str(path))

        assert path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters and the queue's length are Linux's")
def test_refusing_new_keeps_who_waits():
    """After `refuse_new`, those in the queue are still accepted, and no newcomer gets in."""
    with opened() as listener:
        name = listener.socket.getsockname()
        early = socket.create_connection(name)

        listener.refuse_new()

        with pytest.raises(TimeoutError):
            socket.create_connection(name, timeout=0.3)
        assert queue_length(listener.socket) == 1
        listener.socket.setblocking(True)
        accepted, _ = listener.socket.accept()
        accepted.sendall(b"served")
        assert early.recv(10) == b"served"
        accepted.close()
        early.close()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("unix:/run/a.sock", ("/run/a.sock", "", 0)),
        ("/run/a.sock", ("/run/a.sock", "", 0)),
        ("127.0.0.1:9000", (None, "127.0.0.1", 9000)),
        (":9000", (None, "127.0.0.1", 9000)),
        ("[::1]:9000", (None, "::1", 9000)),
    ],
)
def test_fastcgi_addresses(text, parts):
    """The spellings web servers use."""
    assert parse_fastcgi(text) == parts


def test_nonsense_fastcgi_address_is_refused():
    """The error shows both spellings."""
    with pytest.raises(BindError, match="unix:/path or host:port"):
        parse_fastcgi("somewhere")
