"""The control socket: private, found by itself, one order and one answer."""

import os
import selectors
import socket
import threading

import pytest

from carboy.server import control
from carboy.server.control import ControlServer, ask, directory, find
from carboy.server.errors import BindError, ControlError


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """A runtime directory of the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def answering():
    """A server that answers every order, in a thread."""
    server = ControlServer(None)
    selector = selectors.DefaultSelector()
    server.attach(selector, lambda order, answer: answer({"ok": True, "heard": order}))
    over = threading.Event()

    def loop():
        while not over.is_set():
            for key, _ in selector.select(0.02):
                key.data()

    thread = threading.Thread(target=loop)
    thread.start()
    yield server
    over.set()
    thread.join()
    server.close()
    selector.close()


def test_order_is_answered(answering):
    """The only server of this user is found without a name."""
    assert ask({"do": "status"}, timeout=5) == {"ok": True, "heard": {"do": "status"}}
    assert find() == answering.path


def test_socket_and_directory_are_private(answering):
    """Nobody else can order a server about."""
    assert directory().stat().st_mode & 0o777 == 0o700
    assert os.stat(answering.path).st_mode & 0o077 == 0


def test_directory_of_somebody_else_is_not_used():
    """In a shared /tmp another user may have been there first."""
    directory().mkdir(mode=0o755)
    directory().chmod(0o755)

    with pytest.raises(BindError, match="not a directory of this user alone"):
        ControlServer(None)


def test_nonsense_ends_the_conversation_only(answering):
    """A client that speaks no JSON is dropped; the server goes on."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(answering.path)
        client.sendall(b"hello\n")
        assert client.recv(10) == b""

    assert ask({"do": "x"}, timeout=5)["ok"]


def test_no_server_is_said():
    """Nothing runs; and a dead socket is removed on the way."""
    directory().mkdir(mode=0o700)
    dead = directory() / "1.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))

    with pytest.raises(ControlError, match="no server of this user"):
        find()

    assert not dead.exists()


def test_several_servers_must_be_named(answering, tmp_path):
    """With two servers an order without a name is refused."""
    second = ControlServer(str(directory() / "1.sock"))

    with pytest.raises(ControlError, match="several servers"):
        find()

    second.close()


def test_what_else_lives_in_the_directory_is_no_server(answering):
    """The bus of the channels has its socket there too: it is not counted, and not removed."""
    alive, dead = directory() / "bus-1.sock", directory() / "bus-2.sock"
    with socket.socket(socket.AF_UNIX) as bus, socket.socket(socket.AF_UNIX) as left:
        bus.bind(str(alive))
        bus.listen()
        left.bind(str(dead))

        assert find() == answering.path

    assert alive.exists()
    assert dead.exists()


def test_silent_server_times_out(tmp_path):
    """A server that hangs does not hang its operator."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()

        with pytest.raises(ControlError, match="did not answer within"):
            ask({"do": "status"}, str(tmp_path / "s"), timeout=0.1)


def test_too_many_clients_are_turned_away(answering, monkeypatch):
    """The main process's descriptors are not for idle operators."""
    monkeypatch.setattr(control, "MOST_CLIENTS", 2)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for client in clients:
        client.settimeout(5)
        client.connect(answering.path)

    assert clients[2].recv(1) == b""

    for client in clients:
        client.close()
