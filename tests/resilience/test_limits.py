"""Bodies, answers and requests that take too long or are too much, seen from outside."""

import contextlib
import importlib.util
import re
import socket
import threading
import time
from pathlib import Path

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

GIB = 1 << 30


def serve(run, *options, ready=1):
    return run(*options, ready=ready, target="limits:app")


def memory(served):
    return sum(each["memory"] for each in served.status()["workers"])


def test_too_long_body_is_refused_before_it_is_sent(run, figure):
    """A declared length over the limit: 413, no `100 Continue`, and hardly a byte of it received."""
    served = serve(run)

    waiting, seconds = wire.exchange(served.port, wire.post("/take", f"Content-Length: {GIB}", "Expect: 100-continue"))
    sent = _pour(served.port, wire.post("/take", f"Content-Length: {GIB}"), GIB)

    figure("413 after, ms", f"{seconds * 1000:.1f}")
    figure("bytes of 1 GiB that left the client, KB", sent >> 10)
    assert wire.status_of(waiting) == 413
    assert b"100 Continue" not in waiting
    assert not waiting.endswith(b"<open>")
    # Most of it is the two kernels' buffers.
    assert sent < 8 << 20


def test_chunked_body_is_cut_off_at_the_limit(run, figure):
    """Without a length: 413 when the limit is passed, memory stays, and the route that allows more takes more."""
    served = serve(run)
    size = 20 << 20
    chunked = wire.post("/take", "Transfer-Encoding: chunked")
    before = memory(served)

    refused, _ = wire.exchange(served.port, chunked + _chunks(size))
    time.sleep(0.6)
    growth = memory(served) - before
    allowed, _ = wire.exchange(served.port, wire.post("/take-much", f"Content-Length: {size}", "Connection: close", body=b"x" * size))

    figure("growth, MB", f"{growth / (1 << 20):.1f}")
    assert wire.status_of(refused) == 413
    assert allowed.endswith(str(size).encode())
    assert growth <= 32 << 20


def test_stalled_and_slow_bodies_are_ended(run, figure):
    """A body that pauses, or drips below the least rate, is a 408 that closes; the view is not called."""
    served = serve(run, "--body-timeout", "1s")

    stalled, after = wire.exchange(served.port, wire.post("/take", "Content-Length: 10", body=b"abc"))
    never, _ = wire.exchange(served.port, wire.post("/take", "Content-Length: 10"))
    dripping, dripped = _drip(served.port, 0.2)
    steady, _ = wire.exchange(
        served.port, wire.post("/take", "Content-Length: 8000", "Connection: close"), *[b"x" * 1000] * 8, pause=0.2
    )

    figure("stalled body (limit 1 s) ended after, seconds", f"{after:.2f}")
    figure("dripping body (5 B/s) ended after, seconds", f"{dripped:.2f}")
    for answer in (stalled, never, dripping):
        assert wire.status_of(answer) == 408
        assert b"connection: close" in answer
    assert after < 2
    assert dripped < 3
    assert steady.endswith(b"8000")
    assert served.get("/seen") == "take 8000"


def test_bodies_read_piece_by_piece(run, figure):
    """A view that reads its body as it comes meets the same ends: 408, 400 and 413, and no thread is left waiting."""
    served = serve(run, "--body-timeout", "1s", "--threads", "2")
    chunked = wire.post("/stream", "Transfer-Encoding: chunked")

    stalled = [wire.exchange(served.port, wire.post("/stream", "Content-Length: 5000", body=b"x" * 2000)) for _ in range(3)]
    broken, _ = wire.exchange(served.port, chunked + b"3\r\nabc\r\nZZ\r\n")
    too_long, _ = wire.exchange(served.port, wire.post("/stream", f"Content-Length: {GIB}", "Expect: 100-continue"))
    too_much, _ = wire.exchange(served.port, chunked + _chunks(20 << 20))
    whole, _ = wire.exchange(served.port, wire.post("/stream", "Content-Length: 5000", "Connection: close", body=b"x" * 5000))

    figure("stalled (limit 1 s) ended after, seconds", f"{max(seconds for _, seconds in stalled):.2f}")
    assert [wire.status_of(answer) for answer, _ in stalled] == [408] * 3
    assert wire.status_of(broken) == 400
    assert wire.status_of(too_long) == wire.status_of(too_much) == 413
    assert b"100 Continue" not in too_long
    assert whole.endswith(b"5000")
    assert served.get("/seen") == "stream 5000"


def test_flood_of_stalled_bodies_hurts_nobody(run, under_load, figure, full):
    """300 bodies that never come: others are served as before, and each of the 300 gets its 408."""
    served = serve(run, "--body-timeout", "2s", ready=2)
    held = []
    try:
        for _ in range(300):
            connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            connection.sendall(wire.post("/take", "Content-Length: 100000", body=b"x" * 10))
            held.append(connection)
        with under_load(served.port, 4) as losses:
            time.sleep(5 if full else 1.5)
        answers = [connection.recv(4096) for connection in held]
    finally:
        for connection in held:
            connection.close()

    figure("others", losses)
    assert losses.lost == losses.repeated == losses.refused == 0
    assert losses.quantile(0.99) <= 0.5
    assert [wire.status_of(each) for each in answers] == [408] * 300


def test_broken_bodies_never_reach_the_view(run, figure):
    """Malformed chunks and bodies that end early are 400s that close, never partial data."""
    served = serve(run)
    chunked = wire.post("/take", "Transfer-Encoding: chunked")
    cases = {
        "no chunk size": (chunked + b"3\r\nabc\r\nZZ\r\n", False),
        "chunk longer than it says": (chunked + b"3\r\nabcdef\r\n0\r\n\r\n", False),
        "chunk size beyond 64 bits": (chunked + b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n", False),
        "chunks end early": (chunked + b"3\r\nabc\r\n", True),
        "length ends early": (wire.post("/take", "Content-Length: 10", body=b"abc"), True),
    }

    answers = {name: wire.exchange(served.port, sent, half_close=half)[0] for name, (sent, half) in cases.items()}

    assert {name: wire.status_of(each) for name, each in answers.items()} == dict.fromkeys(cases, 400)
    assert not [name for name, each in answers.items() if each.endswith(b"<open>")]
    assert served.get("/seen") == ""
    assert "Traceback" not in served.text()
    figure("broken bodies, all 400", len(cases))


def test_broken_bodies_of_a_plain_asgi_application(run):
    """An application of another make, that takes what it gets for whole, cannot answer 200 for half a body."""
    served = run(ready=1, target="limits:raw")

    broken, _ = wire.exchange(served.port, wire.post("/take", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\nZZ\r\n"))
    too_long, _ = wire.exchange(served.port, wire.post("/take", f"Content-Length: {GIB}", "Expect: 100-continue"))
    whole, _ = wire.exchange(served.port, wire.post("/take", "Content-Length: 3", "Connection: close", body=b"abc"))

    assert wire.status_of(broken) == 400
    assert wire.status_of(too_long) == 413
    assert b"100 Continue" not in too_long
    assert whole.endswith(b"3")


def test_reader_that_stops_reading_is_given_up(run, figure):
    """The stream's generator is closed, and the kernel resets the connection, also of an answer that was sent whole."""
    served = serve(run, "--write-timeout", "1s")
    with _unread(served.port, "/flow") as stream, _unread(served.port, "/big") as whole:
        begun = time.monotonic()
        while "flow closed" not in served.get("/seen"):
            assert time.monotonic() - begun < 6
            time.sleep(0.1)
        closed = time.monotonic() - begun
        time.sleep(max(0.0, 3 - closed))
        ends = [_drain(stream), _drain(whole)]

    figure("generator closed after (limit 1 s), seconds", f"{closed:.2f}")
    figure("received of 100 MB and of 50 MB", " and ".join(f"{size >> 20} MB" for size, _ in ends))
    assert all(was_cut for _, was_cut in ends)
    assert "Traceback" not in served.text()


def test_slow_readers_take_little_memory(run, under_load, figure):
    """200 clients that do not read their 10 MB: others are served, and the worker grows by 300 MB at most."""
    served = serve(run)
    served.get()
    time.sleep(0.6)
    before = memory(served)

    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(_unread(served.port, "/ten"))
        with under_load(served.port, 2) as losses:
            time.sleep(2)
        growth = memory(served) - before
    whole, _ = wire.exchange(served.port, wire.get("/ten"))

    figure("growth, MB", f"{growth / (1 << 20):.0f}")
    figure("others", losses)
    assert growth <= 300 << 20
    assert losses.lost == 0
    assert len(whole.partition(b"\r\n\r\n")[2]) == 10_000_000


def test_slow_but_steady_streams_go_on(run):
    """A stream whose pieces come slowly is limited neither by the write time-out nor by the deadline."""
    served = serve(run, "--write-timeout", "600ms", "--request-timeout", "1s")

    answer, seconds = wire.exchange(served.port, wire.get("/drip"), wait=6)

    assert wire.status_of(answer) == 200
    assert answer.endswith(b"0\r\n\r\n")
    assert seconds > 1.5


def test_deadline(run, figure):
    """No answer in time is a 504: async views are cancelled, def views left alone with one line; a route may say else."""
    served = serve(run, "--request-timeout", "1s")

    waiting, after = wire.exchange(served.port, wire.get("/wait/10.0"))
    blocking, _ = wire.exchange(served.port, wire.get("/block/2.0"))
    hasty, sooner = wire.exchange(served.port, wire.get("/hasty"))
    patient, _ = wire.exchange(served.port, wire.get("/patient/1.8"))

    figure("504 (limit 1 s) after, seconds", f"{after:.2f}")
    figure("504 (route's limit 0.3 s) after, seconds", f"{sooner:.2f}")
    assert [wire.status_of(each) for each in (waiting, blocking, hasty)] == [504] * 3
    assert after < 2
    assert sooner < 1
    assert patient.endswith(b"waited")
    assert served.get("/seen") == "wait cancelled"
    lines = served.text()
    assert lines.count("GET /block/2.0: no answer within 1 s") == 1
    assert "Traceback" not in lines


def test_client_that_leaves_cancels_the_view_quietly(run, figure, wait_until):
    """Fifty clients close while their views wait: all views are cancelled, and nothing is logged."""
    served = serve(run)
    lines = served.text()

    for _ in range(50):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(wire.get("/wait/30.0"))
            time.sleep(0.01)
    seconds = wait_until(lambda: served.get("/seen").count("wait cancelled") == 50, 5)

    figure("50 views cancelled after, seconds", f"{seconds:.2f}")
    assert served.text() == lines


def test_goodput_under_tenfold_load(run, under_load, figure, full):
    """A view that computes: with ten times the clients as many answers are given, none later than some seconds."""
    served = serve(run)
    seconds = 10 if full else 2

    with under_load(served.port, 20, path="/compute", pause=0) as peak:
        time.sleep(seconds)
    before = memory(served)
    with under_load(served.port, 200, path="/compute", pause=0) as tenfold:
        time.sleep(seconds + 1)
    growth = memory(served) - before

    # Each load's time ends with its last answer; counted is what came per second of the answering itself.
    ratio = (tenfold.answered / (seconds + 1 + tenfold.quantile(1))) / (peak.answered / (seconds + peak.quantile(1)))
    figure("peak", peak)
    figure("tenfold", tenfold)
    figure("goodput under tenfold load, of the peak", f"{ratio:.0%}")
    figure("growth, MB", f"{growth / (1 << 20):.1f}")
    assert tenfold.quantile(0.99) < 6
    assert growth < 64 << 20
    # The goal is 90 %; the clients are on the same two processors here, ten times as many of them.
    assert ratio >= 0.8


def test_overload_is_shed(run, figure):
    """More def views than threads: who would wait too long is told 503 with Retry-After, the others are served."""
    served = serve(run, "--threads", "4", "--queue-timeout", "1s")
    answers = []

    def ask():
        answers.append(wire.exchange(served.port, wire.get("/block/0.2"), wait=15))

    clients = [threading.Thread(target=ask) for _ in range(100)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    statuses = [wire.status_of(answer) for answer, _ in answers]
    slowest = max(seconds for _, seconds in answers)
    figure("100 views of 0.2 s on 4 threads", f"{statuses.count(200)} served, {statuses.count(503)} shed, slowest {slowest:.1f} s")
    assert set(statuses) == {200, 503}
    assert 15 <= statuses.count(200) <= 40
    assert slowest < 5
    assert all(b"retry-after: " in answer for answer, _ in answers if wire.status_of(answer) == 503)
    assert "never awaited" not in served.text()


def test_most_in_flight(run):
    """Beyond --max-in-flight a request is told 503; below it, the same one is served."""
    served = serve(run, "--max-in-flight", "3")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            connection.sendall(wire.get("/wait/2.0"))
        time.sleep(0.3)
        shed, _ = wire.exchange(served.port, wire.get("/"))
    time.sleep(0.5)

    assert wire.status_of(shed) == 503
    assert re.fullmatch(r"one \d+", served.get("/"))


def _chunks(size):
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    return piece * (size >> 16) + b"0\r\n\r\n"


def _pour(port, head, size):
    """Send a body without waiting for anything; return how much left before the server ended it."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head)
        piece = b"x" * 65536
        with contextlib.suppress(OSError):
            while sent < size:
                sent += connection.send(piece)
    return sent


def _drip(port, pause):
    """Send a byte at a time until the server answers."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=pause) as connection:
        connection.sendall(wire.post("/take", "Content-Length: 1000"))
        while time.monotonic() - begun < 10:
            # The answer may come, and the end with it, between the last look and this byte; then it is there to be read.
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                return connection.recv(4096), time.monotonic() - begun
    return b"", time.monotonic() - begun


@contextlib.contextmanager
def _unread(port, path):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", port))
        connection.sendall(wire.get(path))
        yield connection


def _drain(connection):
    """What is left to read, and whether the answer was cut off."""
    connection.settimeout(2)
    size = 0
    tail = b""
    try:
        while chunk := connection.recv(1 << 20):
            size += len(chunk)
            tail = (tail + chunk)[-5:]
    except OSError:
        return size, True
    return size, size < 50_000_000 and tail != b"0\r\n\r\n"
