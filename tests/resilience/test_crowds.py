"""Many at once: idle connections, and no descriptors left."""

import contextlib
import signal
import socket
import time


@contextlib.contextmanager
def crowd(port, count, first=b""):
    """Hold so many connections open."""
    held = []
    try:
        for _ in range(count):
            connection = socket.socket()
            connection.settimeout(5)
            try:
                connection.connect(("127.0.0.1", port))
                if first:
                    connection.sendall(first)
            except OSError:
                connection.close()
                continue
            held.append(connection)
        yield held
    finally:
        for connection in held:
            connection.close()


def test_idle_connections_hurt_nobody(run, under_load, figure, full):
    """1,500 connections that say nothing: others are served as before, at little memory."""
    served = run(ready=2)
    for _ in range(20):
        served.get()
    time.sleep(0.6)
    before = sum(each["memory"] for each in served.status()["workers"])

    with crowd(served.port, 1500) as held:
        time.sleep(0.6)
        after = sum(each["memory"] for each in served.status()["workers"])
        with under_load(served.port, 4) as losses:
            time.sleep(5 if full else 2)

    figure("idle connections", len(held))
    figure("memory per idle connection, KB", f"{(after - before) / 1024 / len(held):.1f}")
    figure("others", losses)
    assert len(held) == 1500
    assert losses.lost == losses.repeated == losses.refused == 0
    assert (after - before) / len(held) <= 16 * 1024
    # The goal of 100 ms is for a quiet machine; a shared one gets five times that.
    assert losses.quantile(0.99) <= 0.5


def test_kept_idle_connections_hurt_nobody(run, under_load, figure, full):
    """Connections that have been answered and are kept idle: others are served as before."""
    count = 3000 if full else 500
    served = run("--header-timeout", "60s", ready=2)
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

    with crowd(served.port, count, request) as held:
        for connection in held:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        with under_load(served.port, 4) as losses:
            time.sleep(5 if full else 1)

    figure("idle kept connections", len(held))
    figure("others", losses)
    assert len(held) == count
    assert losses.lost == losses.repeated == losses.refused == 0
    assert losses.quantile(0.99) <= 0.5


def test_slow_heads_hurt_nobody(run, under_load, figure, full):
    """Slowloris: heads that come byte by byte are cut off in time, and others are served as before."""
    count = 500 if full else 200
    served = run("--header-timeout", "2s", ready=2)

    with crowd(served.port, count, b"GET / HTTP/1.1\r\nHost: localhost\r\n") as held, under_load(served.port, 4) as losses:
        begun = time.monotonic()
        open_still = list(held)
        while open_still and time.monotonic() - begun < 8:
            time.sleep(0.3)
            open_still = [each for each in open_still if _trickle(each)]
        seconds = time.monotonic() - begun

    figure("slow heads", len(held))
    figure("all cut off after, seconds", f"{seconds:.1f}")
    figure("others", losses)
    assert open_still == []
    assert losses.lost == losses.repeated == losses.refused == 0
    assert losses.quantile(0.99) <= 0.5


def _trickle(connection):
    try:
        connection.sendall(b"x: y\r\n")
    except OSError:
        return False
    return True


def test_kept_connection_is_closed_when_idle_for_long(run, figure):
    """A kept connection without a next request is closed after --header-timeout too."""
    served = run("--header-timeout", "1s", ready=1)

    with crowd(served.port, 1, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") as (connection,):
        connection.recv(4096)
        begun = time.monotonic()
        connection.settimeout(5)
        ending = connection.recv(1)

    figure("closed after, seconds", f"{time.monotonic() - begun:.2f}")
    assert ending == b""


def test_many_waiting_views_at_once(run, figure, full):
    """2,000 async views that wait a second, at once: all answered in three seconds."""
    count = 2000 if full else 500
    served = run(ready=1)
    begun = time.monotonic()

    with crowd(served.port, count, b"GET /sleep/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as held:
        for connection in held:
            connection.settimeout(20)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        seconds = time.monotonic() - begun

    figure(f"{count} waits of a second, seconds", f"{seconds:.2f}")
    assert seconds <= 3


def test_many_blocking_views_at_once(run, figure):
    """200 `def` views that block for half a second, at once: all answered in five seconds."""
    served = run(ready=2, target="both:app")
    begun = time.monotonic()

    with crowd(served.port, 200, b"GET /keep/0.5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as held:
        for connection in held:
            connection.settimeout(20)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        seconds = time.monotonic() - begun

    figure("200 blocking views, seconds", f"{seconds:.2f}")
    assert seconds <= 5


def test_silent_connections_are_closed(run, figure):
    """Who sends no byte, or no whole request head, is sent away after --header-timeout."""
    served = run("--header-timeout", "1s", ready=1)

    with crowd(served.port, 5) as silent, crowd(served.port, 5, b"GET / HTTP/1.1\r\nHost:") as halting:
        begun = time.monotonic()
        for connection in (*silent, *halting):
            connection.settimeout(6)
            while connection.recv(4096):
                pass
        seconds = time.monotonic() - begun

    figure("all closed after, seconds", f"{seconds:.2f}")
    assert seconds <= 3


def test_more_connections_than_descriptors(run, figure, under_load):
    """With 128 descriptors and 300 idle connections the server goes on, and SIGTERM ends it."""
    served = run("--header-timeout", "1s", ready=1, descriptors=128)

    with crowd(served.port, 300) as held:
        begun = time.monotonic()
        served.get(timeout=20)
        seconds = time.monotonic() - begun
        served.signal(signal.SIGTERM)
        gone = served.wait(30)

    figure("connections", len(held))
    figure("answer in the crowd after, seconds", f"{seconds:.2f}")
    figure("gone after, seconds", f"{gone:.2f}")
    assert served.process.returncode == 0


def test_application_that_leaks_descriptors(run, figure, wait_until):
    """The application has taken every descriptor: no spinning, a log line, and SIGTERM ends it."""
    served = run(ready=1, descriptors=128)
    served.get("/leak")
    wait_until(lambda: not served.status()["workers"][0]["accepting"], 5)

    with crowd(served.port, 20):
        ticks = _cpu(served.ready()[0])
        time.sleep(1)
        burnt = _cpu(served.ready()[0]) - ticks
        served.signal(signal.SIGTERM)
        gone = served.wait(30)

    figure("processor while waiting, share", f"{burnt:.2f}")
    figure("gone after, seconds", f"{gone:.2f}")
    assert burnt <= 0.3
    assert "descriptors in use" in served.text()


def _cpu(pid):
    """Seconds of processor time a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
