"""The management port: a few pages, nothing else, whatever is sent to it."""

import socket
import threading

import pytest

from carboy.observe.management import Management, open_port

OK = (("content-type", "text/plain"),)


@pytest.fixture
def port():
    """An open port and how to ask it."""
    listening = open_port("127.0.0.1:0")
    management = Management(listening, {"/ok": lambda: (200, OK, b"fine\n"), "/bad": lambda: 1 / 0})
    management.start()
    address = listening.getsockname()

    def ask(data: bytes) -> bytes:
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        return received

    ask.address = address
    yield ask
    management.stop()
    management.join(5)
    listening.close()


def test_page_is_answered(port) -> None:
    """One request a connection, and the length is told."""
    answer = port(b"GET /ok?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 5\r\nconnection: close\r\n\r\nfine\n" in answer
    assert port(b"HEAD /ok HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /nope HTTP/1.1\r\n\r\n", 404),
        (b"POST /ok HTTP/1.1\r\n\r\n", 405),
        (b"GET /bad HTTP/1.1\r\n\r\n", 500),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01" * 50 + b"\r\n\r\n", 400),
        (b"GET /ok HTTP/1.1\r\nX: " + b"y" * 20000, 400),
        (b"GET /ok", 400),
    ],
)
def test_everything_else_is_refused(port, sent, status) -> None:
    """And the port goes on."""
    assert port(sent).startswith(b"HTTP/1.1 %d " % status)
    assert port(b"GET /ok HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_silent_clients_do_not_hold_the_port(port) -> None:
    """Those who say nothing have places of their own, and lose them."""
    silent = [socket.create_connection(port.address) for _ in range(5)]

    assert port(b"GET /ok HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
    for each in silent:
        each.close()


def test_two_listeners_share_one_port() -> None:
    """As workers do: each request is answered once, by either."""
    listening = open_port("127.0.0.1:0")
    twins = [Management(listening.dup(), {"/": lambda: (200, OK, b"x")}) for _ in range(2)]
    for each in twins:
        each.start()

    answers: list[bytes] = []

    def ask() -> None:
        with socket.create_connection(listening.getsockname(), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answers.append(connection.recv(65536))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(10)

    assert len(answers) == 20
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    for each in twins:
        each.stop()
        each.join(5)
        each.listening.close()
    listening.close()


def test_unix_socket_is_taken_over_from_the_dead_only(tmp_path) -> None:
    """A socket that nobody listens on is replaced; a file is not."""
    path = str(tmp_path / "m.sock")
    open_port(f"unix:{path}").close()

    open_port(f"unix:{path}").close()
    (tmp_path / "file").write_text("mine")

    with pytest.raises(OSError):
        open_port(f"unix:{tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("address", ["9000", "localhost", "localhost:port", "localhost:99999"])
def test_wrong_address_says_what_would_fit(address) -> None:
    """The operator reads it."""
    with pytest.raises(ValueError, match="127.0.0.1:9000"):
        open_port(address)
