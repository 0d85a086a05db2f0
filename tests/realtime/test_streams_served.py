"""Streams both ways under real servers: what leaves, breaks, stalls and floods, seen from the client's socket."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "src"
SUBJECT = Path(__file__).parent / "streaming"
PATIENCE = 20.0
#: The full length of what takes long.
FULL = os.environ.get("CARBOY_RESILIENCE") == "full"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Served:
    """A server with the subject, in a process of its own."""

    def __init__(self, kind: str, folder: Path, *options: str, target: str = "subject:app") -> None:
        self.kind = kind
        self.port = free_port()
        self.output = folder / "output.txt"
        if kind == "uvicorn":
            command = ["-m", "uvicorn", "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning", target, *options]
        else:
            command = [
                "-m", "carboy", "run", target, "--workers", "1", "--port", str(self.port), "--control", "off",
                "--interface", kind.rpartition(" ")[2], *options,
            ]  # fmt: skip
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_"))}
        environ["PYTHONPATH"] = str(SOURCE)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=SUBJECT, env=environ, stdout=output, stderr=output, start_new_session=True
            )

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if self.ask("GET", "/quick")[0] == 200:
                    return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"the server did not start: {self.output.read_text()}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def open(self, method: str, target: str, *headers: str) -> socket.socket:
        """Send a request's head."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        connection.sendall("\r\n".join((f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *headers, "", "")).encode())
        return connection

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> tuple[int, bytes]:
        """A request with a short answer: its status and what it wrote."""
        with self.open(method, target, "Connection: close", f"Content-Length: {len(body)}", *headers) as connection:
            connection.sendall(body)
            answer = read_all(connection)
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest

    def json(self, method: str, target: str, *headers: str, body: bytes = b"") -> Any:
        status, answer = self.ask(method, target, *headers, body=body)
        assert status == 200, answer
        return json.loads(answer)

    def seen(self) -> list[str]:
        found: list[str] = self.json("GET", "/seen")["seen"]
        return found

    def wait_seen(self, what: str, within: float) -> float:
        """Seconds until something was noted."""
        began = time.monotonic()
        while what not in self.seen():
            assert time.monotonic() - began < within, f"{what!r} was not seen within {within} s; {self.output.read_text()[-2000:]}"
            time.sleep(0.01)
        return time.monotonic() - began


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes; a reset is an end, too."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        piece = connection.recv(65536)
        assert piece, f"the answer ended before {mark!r}: {data[-300:]!r}"
        data += piece
    return data


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start servers; they are ended after the test."""
    started: list[Served] = []

    def start(kind: str, *options: str, **where: str) -> Served:
        served = Served(kind, tmp_path, *options, **where)
        started.append(served)
        served.wait()
        return served

    yield start
    for served in started:
        served.stop()


ASYNC_SERVERS = ("carboy run asgi", "uvicorn")
KINDS = ("async", "plain")


# -- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi", "carboy run wsgi"))
def test_events_arrive_as_they_are_made_and_go_on_after_a_break(serve, server, kind):
    """Each event when it is yielded; who comes back with the last id gets the next one."""
    served = serve(server)

    with served.open("GET", f"/events/{kind}?pause=30") as connection:
        first = read_until(connection, b'"number": 3')  # and the source sleeps
    with served.open("GET", f"/events/{kind}?pause=30", "Last-Event-ID: 3") as connection:
        second = read_until(connection, b'"number": 6')

    assert re.findall(rb'id: (\d+)\ndata: {"number": (\d+)}\n\n', first) == [(b"1", b"1"), (b"2", b"2"), (b"3", b"3")]
    assert b"retry: 100\n\n" in first
    assert re.findall(rb"\nid: (\d+)", second) == [b"4", b"5", b"6"]


@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi"))
def test_waiting_source_is_closed_when_its_client_goes(serve, server, record_property):
    """An async generator that sleeps for half a minute is closed at once."""
    served = serve(server)
    connection = served.open("GET", "/events/async?pause=30")
    read_until(connection, b'"number": 3')

    connection.close()
    took = served.wait_seen("async closed", 2.0)

    record_property("seconds", took)
    assert took < 1.0, "the aim is 0.1 s; a busy machine may be late"


@pytest.mark.parametrize("server", ASYNC_SERVERS)
def test_plain_source_is_closed_when_its_step_ends(serve, server):
    """A thread that sleeps cannot be woken; when it wakes, the generator is closed, and no error is logged."""
    served = serve(server)
    connection = served.open("GET", "/events/plain?pause=1")
    read_until(connection, b'"number": 3')

    connection.close()
    took = served.wait_seen("plain closed", 5.0)

    assert took < 3.0
    assert "Traceback" not in served.output.read_text()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi", "carboy run wsgi"))
def test_leaving_worker_ends_its_streams_with_a_whole_event(serve, server, kind):
    """At SIGTERM a stream gets its proper end at once, so that the browser comes back, to another worker.

    Uvicorn gives no notice, and waits for its answers: there the signal itself is heard.
    """
    served = serve(server)
    connection = served.open("GET", f"/events/{kind}")
    answer = read_until(connection, b'"number": 3')

    began = time.monotonic()
    served.process.terminate()
    answer += read_all(connection)
    took = time.monotonic() - began
    connection.close()

    assert answer.endswith(b"\n\n\r\n0\r\n\r\n"), "the end of an event, and that of a body in chunks"
    assert took < 3.0
    # Uvicorn ends by the signal it got.
    assert served.process.wait(10) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi"))
def test_client_that_does_not_read_events_keeps_the_source_waiting(serve, server):
    """No more is made than sockets and pipes hold; through RSGI no more than the stream may have."""
    served = serve(server)
    before = served.json("GET", "/seen")["resident"]

    with served.open("GET", "/events/large") as connection:
        connection.recv(100)
        time.sleep(1.0)
        found = served.json("GET", "/seen")

    assert 0 < found["seen"].count("event made") < 300, "of 2,000: 200 MB"
    assert found["resident"] - before < 60_000_000


def test_two_hundred_plain_sources_leave_def_views_alone(serve, record_property):
    """200 generators that sleep in their threads, on one worker, and a `def` view answers."""
    served = serve("carboy run asgi")
    before = served.json("GET", "/seen")["resident"]
    clients = [served.open("GET", "/events/plain?pause=60") for _ in range(200)]
    try:
        for client in clients:
            read_until(client, b'"number": 3')
        began = time.monotonic()
        answers = [served.ask("GET", "/quick")[0] for _ in range(20)]
        took = time.monotonic() - began
        grown = served.json("GET", "/seen")["resident"] - before
    finally:
        for client in clients:
            client.close()

    record_property("bytes a stream", grown // 200)
    record_property("seconds for 20 def views", took)
    assert answers == [200] * 20
    assert took < 5.0
    assert grown // 200 < 200_000


@pytest.mark.parametrize("server", ASYNC_SERVERS)
def test_wsgi_middleware_takes_nothing_from_event_streams(serve, server):
    """Behind it too a client that goes is noticed, and more streams than there are threads leave `def` views alone."""
    served = serve(server, target="wrapped:app")
    for kind in KINDS:
        connection = served.open("GET", f"/events/{kind}")
        read_until(connection, b'"number": 3')
        connection.close()
        served.wait_seen(f"{kind} closed", 5.0)

    clients = [served.open("GET", "/events/async?pause=60") for _ in range(80)]
    try:
        for client in clients:
            read_until(client, b'"number": 3')
        assert served.ask("GET", "/quick")[0] == 200
    finally:
        for client in clients:
            client.close()


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", ASYNC_SERVERS)
def test_stream_that_breaks_looks_broken(serve, server, kind):
    """The client has the first piece and no end of the body."""
    served = serve(server)

    with served.open("GET", f"/broken/{kind}") as connection:
        answer = read_all(connection)

    assert b"first" in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_stream_that_breaks_is_seen_in_the_log_alone_through_granians_wsgi(serve, kind):
    """Its WSGI ends an answer properly when the iterator raises, and gives no peer whose connection could be cut.

    When this fails, granian has learned it: then `docs/realtime.md` and `docs/doors.md` may say so.
    """
    served = serve("carboy run wsgi")

    with served.open("GET", f"/broken/{kind}", "Connection: close") as connection:
        answer = read_all(connection)

    assert answer.endswith(b"0\r\n\r\n")
    assert "broken on purpose" in served.output.read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_stream_that_breaks_is_an_error_through_rsgi(serve, kind):
    """There a stream is collected first: what breaks is a 500, and never looks whole."""
    served = serve("carboy run rsgi")

    assert served.ask("GET", f"/broken/{kind}")[0] == 500


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run wsgi"))
def test_stream_goes_at_its_readers_pace(serve, server, kind):
    """A client that does not read stops the generator; when it goes, the generator is closed."""
    served = serve(server)

    with served.open("GET", f"/pieces/{kind}") as connection:
        connection.recv(100)
        time.sleep(0.5)
        made = served.seen().count("piece made")
    served.wait_seen("pieces closed", 10.0)

    assert 0 < made < 200, "of 1,000: 200 MB"


# -- uploads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi", "carboy run wsgi"))
def test_uploads_of_both_framings_are_counted(serve, server, kind):
    """With a length, and in chunks; over the limit it is 413."""
    served = serve(server)
    body = os.urandom(1_000_000)
    chunked = b"".join(b"%x\r\n%s\r\n" % (50_000, body[start : start + 50_000]) for start in range(0, len(body), 50_000)) + b"0\r\n\r\n"

    def in_chunks(target: str) -> bytes:
        with served.open("POST", target, "Transfer-Encoding: chunked", "Connection: close") as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(chunked)
            return read_all(connection)

    assert served.json("POST", f"/count/{kind}", body=body) == {"size": 1_000_000}
    assert in_chunks(f"/count/{kind}").endswith(b'{"size":1000000}\n') or b'"size": 1000000' in in_chunks(f"/count/{kind}")
    assert b" 413 " in in_chunks(f"/small/{kind}").partition(b"\r\n")[0]


@pytest.mark.parametrize("server", ASYNC_SERVERS)
def test_broken_chunks_are_an_error_in_the_view(serve, server):
    """A body that breaks in the middle ends in an exception, never in a whole."""
    served = serve(server)

    with served.open("POST", "/wait/async", "Transfer-Encoding: chunked") as connection:
        connection.sendall(b"5\r\nhello\r\nzz\r\n")
        with contextlib.suppress(ConnectionResetError):
            connection.recv(1000)
    end = time.monotonic() + 5
    while len(served.seen()) < 2 and time.monotonic() < end:
        time.sleep(0.05)

    assert served.seen()[0] == "began"
    assert served.seen()[1] in ("BodyBroken", "ClientDisconnected", "BodyTruncated", "cancelled")


@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi"))
def test_client_that_goes_ends_the_view_that_waits_for_its_body(serve, server):
    """The reader gets an exception that is an HTTP error, so that it needs no special care."""
    served = serve(server)
    connection = served.open("POST", "/wait/async", "Content-Length: 1000000")
    connection.sendall(b"x" * 1000)
    served.wait_seen("began", 5.0)

    connection.close()
    end = time.monotonic() + 5
    while len(served.seen()) < 2 and time.monotonic() < end:
        time.sleep(0.02)

    assert served.seen()[1] in ("BodyBroken", "ClientDisconnected", "BodyTruncated")
    assert "Traceback" not in served.output.read_text()


@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi"))
def test_client_that_goes_cancels_the_view_that_does_something_else(serve, server, record_property):
    """In the middle of an upload, while the view sleeps: it is cancelled."""
    served = serve(server)
    connection = served.open("POST", "/leave-it/async", "Content-Length: 1000000")
    connection.sendall(b"x" * 1000)
    served.wait_seen("began", 5.0)
    time.sleep(0.1)

    connection.close()
    took = served.wait_seen("cancelled", 3.0)

    record_property("seconds", took)
    assert took < 1.0


@pytest.mark.parametrize("server", (*ASYNC_SERVERS, "carboy run rsgi"))
def test_upload_that_is_not_read_fills_no_memory(serve, server):
    """The client is made to wait; what it sends stays with it."""
    served = serve(server)
    before = served.json("GET", "/seen")["resident"]

    with served.open("POST", "/leave-it/async?pause=5", "Content-Length: 200000000") as connection:
        connection.settimeout(1.0)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200_000_000:
                sent += connection.send(b"x" * 100_000)
        grown = served.json("GET", "/seen")["resident"] - before

    assert sent < 50_000_000
    assert grown < 30_000_000


@pytest.mark.parametrize("server", ASYNC_SERVERS)
def test_answer_may_begin_before_the_question_ends(serve, server):
    """An echo, piece by piece: each comes back before the next is sent."""
    served = serve(server)

    with served.open("POST", "/echo", "Transfer-Encoding: chunked") as connection:
        for word in (b"one", b"two", b"three"):
            connection.sendall(b"%x\r\n%s\r\n" % (len(word), word))
            read_until(connection, word)
        connection.sendall(b"0\r\n\r\n")
        read_until(connection, b"0\r\n\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_large_form_goes_straight_to_its_file(serve, kind, tmp_path, record_property):
    """20 MB, 200 MB in the long form, and the memory of the server stays what it is."""
    served = serve("carboy run asgi")
    size = 200_000_000 if FULL else 20_000_000
    head = b'--b0\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n\r\n'
    tail = b"\r\n--b0--\r\n"
    piece = os.urandom(1_000_000)
    target = tmp_path / "target"

    def send() -> Any:
        headers = ("Content-Type: multipart/form-data; boundary=b0", f"Content-Length: {len(head) + size + len(tail)}", "Connection: close")
        with served.open("POST", f"/save/{kind}?target={target}", *headers) as connection:
            connection.sendall(head)
            for _ in range(size // len(piece)):
                connection.sendall(piece)
            connection.sendall(tail)
            return json.loads(read_all(connection).partition(b"\r\n\r\n")[2])

    began = time.monotonic()
    found = send()

    record_property("bytes a second", int(size / (time.monotonic() - began)))
    record_property("grown", found["grown"])
    assert found["file"] == size == target.stat().st_size
    assert found["grown"] < 20_000_000


def test_body_that_stalls_is_408_where_it_is_read(serve):
    """The server's own time limit reaches the view that waits for the next piece, as it does any other view."""
    served = serve("carboy run asgi", "--body-timeout", "1")

    with served.open("POST", "/wait/async", "Content-Length: 1000000") as connection:
        connection.sendall(b"x" * 1000)
        answer = connection.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert served.seen() == ["began", "BodyStalled"]


def test_body_that_stalls_disturbs_no_view_that_does_not_read(serve):
    """Whoever has stopped sending may wait for the answer: the view goes on, and hears of it when it reads again."""
    served = serve("carboy run asgi", "--body-timeout", "1")

    with served.open("POST", "/leave-it/async?pause=3", "Content-Length: 1000000") as connection:
        connection.sendall(b"x" * 1000)
        answer = connection.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert "cancelled" not in served.seen()


@pytest.mark.service
def test_browser_reconnects_and_resumes(serve):
    """Chromium's own `EventSource`: three events a stream, and the next three when it has come back."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    served = serve("carboy run asgi")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={profile}",
            f"http://127.0.0.1:{served.port}/browser",
        ]  # fmt: skip
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            served.wait_seen("1:one line 2:two\nlines 3:three 4:one line 5:two\nlines 6:three", 60.0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait(10)
            time.sleep(0.2)  # its helpers let go of the profile
