"""Socket activation and notifications, without a systemd."""

import os
import socket

import pytest

from carboy.server.systemd import Notifier, activated_sockets


def test_sockets_are_taken_only_if_meant_for_us():
    """LISTEN_PID must be ours; the variables are gone afterwards either way."""
    meant = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0", "LISTEN_FDNAMES": "web"}
    other = {"LISTEN_PID": "1", "LISTEN_FDS": "2"}

    assert activated_sockets(meant) == []
    assert activated_sockets(other) == []
    assert meant == other == {}


@pytest.fixture
def notices(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(2)
        yield heard


def test_state_is_told(notices, tmp_path):
    """READY with our pid and a status; the address is taken out of the environment."""
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}

    Notifier(environ).ready("serving")

    assert notices.recv(1000).decode() == f"READY=1\nMAINPID={os.getpid()}\nSTATUS=serving"
    assert environ == {}


def test_watchdog_is_fed_at_half_its_time(notices, tmp_path):
    """Twice within the time that systemd allows, not at every look."""
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})

    for now in (0.0, 0.5, 1.9, 2.0, 2.1):
        notifier.sign_of_life(now)
    notices.setblocking(False)
    heard = []
    while True:
        try:
            heard.append(notices.recv(100))
        except BlockingIOError:
            break

    assert heard == [b"WATCHDOG=1", b"WATCHDOG=1"]


def test_watchdog_of_another_process_is_not_ours():
    """WATCHDOG_PID says whose it is."""
    assert Notifier({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog is None


def test_nobody_listens_nothing_happens():
    """Without systemd, telling is free and silent."""
    Notifier({}).ready("serving")
    Notifier({"NOTIFY_SOCKET": "/no/such/socket"}).ready("serving")
