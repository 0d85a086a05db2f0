"""Facts about the FastCGI server, told by a client of our own that can do what real web servers do not."""

import gc
import hashlib
import io
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from carboy import Carboy, request
from carboy.gateways.fastcgi import FastCGIServer, environ_of
from carboy.wire.fastcgi import HEADER, RecordType, RequestStatus, Role, decode_pairs, encode_pairs, record

SRC = str(Path(sys.modules[FastCGIServer.__module__].__file__).absolute().parents[2])
WAIT = 10.0  # seconds after which a test has failed; nothing here takes one


class Peer:
    """A web server's side of one connection."""

    def __init__(self, address, family=socket.AF_UNIX):
        self.socket = socket.socket(family)
        self.socket.settimeout(WAIT)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def send(self, *data):
        self.socket.sendall(b"".join(data))

    def begin(self, request_id=1, *, role=Role.RESPONDER, keep=True, **variables):
        variables = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/"} | variables
        pairs = encode_pairs([(name.encode(), str(value).encode()) for name, value in variables.items()])
        self.send(
            record(RecordType.BEGIN_REQUEST, request_id, struct.pack("!HB5x", role, keep)),
            record(RecordType.PARAMS, request_id, pairs),
            record(RecordType.PARAMS, request_id),
        )

    def body(self, data=b"", request_id=1):
        """Send a part of the body; none is its end."""
        for at in range(0, len(data), 60_000):
            self.send(record(RecordType.STDIN, request_id, data[at : at + 60_000]))
        if not data:
            self.send(record(RecordType.STDIN, request_id))

    def ask(self, request_id=1, data=b"", **variables):
        """Send a whole request and read its answer."""
        self.begin(request_id, **variables)
        if data:
            self.body(data, request_id)
        self.body(request_id=request_id)
        return self.answer()

    def abort(self, request_id=1):
        self.send(record(RecordType.ABORT_REQUEST, request_id))

    def read(self):
        """One record: type, id, content. None at the end of the connection."""
        head = self.file.read(8)
        if not head:
            return None
        _, kind, request_id, size, padding = HEADER.unpack(head)
        return kind, request_id, self.file.read(size + padding)[:size]

    def answers(self, count=1):
        """Read until so many requests have ended: id → (stdout, stderr, app status, protocol status)."""
        streams, ended = {}, {}
        while len(ended) < count:
            found = self.read()
            if found is None:
                raise EOFError(dict(streams))
            kind, request_id, content = found
            if kind == RecordType.END_REQUEST:
                ended[request_id] = (
                    streams.get((RecordType.STDOUT, request_id), b""),
                    streams.get((RecordType.STDERR, request_id), b""),
                    *struct.unpack("!IB3x", content),
                )
            else:
                streams[kind, request_id] = streams.get((kind, request_id), b"") + content
        return ended

    def answer(self):
        """Read one answer: the status code and the body."""
        ((out, _, app_status, status),) = self.answers().values()
        assert (app_status, status) == (0, 0)
        head, _, body = out.partition(b"\r\n\r\n")
        return int(head[8:11]), body

    def is_closed(self):
        return self.read() is None

    def close(self):
        self.file.close()
        self.socket.close()


@contextmanager
def serving(app, **options):
    """A server in a thread, on a unix socket; gives it, a function that connects, and the result of serving."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{folder}/s")
        sock.listen(64)
        server = FastCGIServer(app, sock, **options)
        result, peers = [], []
        thread = threading.Thread(target=lambda: result.append(server.serve_forever()))
        thread.start()

        def connect():
            peers.append(Peer(f"{folder}/s"))
            return peers[-1]

        try:
            yield server, connect, result, thread
        finally:
            server.shutdown(0)
            thread.join(WAIT)
            for peer in peers:
                peer.close()
            assert not thread.is_alive()


@pytest.fixture
def serve():
    """Start servers that end with the test: serve(app, **options) gives (server, connect)."""
    stack = []

    def start(app, **options):
        context = serving(app, **options)
        server, connect, *_ = context.__enter__()
        stack.append(context)
        return server, connect

    yield start
    for context in reversed(stack):
        context.__exit__(None, None, None)


def until(fact, text="it never came true"):
    """Wait until fact() is true."""
    end = time.monotonic() + WAIT
    while not fact():
        assert time.monotonic() < end, text
        time.sleep(0.005)


def echo(environ, start_response):
    """Answer with method, path, and a hash of the body."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    text = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {len(body)} {hashlib.md5(body).hexdigest()}"
    return [text.encode("latin-1")]


def echoed(path="/", data=b"", method="GET"):
    return 200, f"{method} {path} {len(data)} {hashlib.md5(data).hexdigest()}".encode()


class Endless:
    """An app that streams until it is closed; counts what it gave."""

    def __init__(self, size=10_000, pause=0.0):
        self.size, self.pause = size, pause
        self.given = 0
        self.closed = threading.Event()

    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return self

    def __iter__(self):
        while True:
            self.given += self.size
            time.sleep(self.pause)
            yield bytes(self.size)

    def close(self):
        self.closed.set()


# ── requests and answers ──────────────────────────────────────────────────────────


def test_requests_follow_each_other_on_a_kept_connection(serve):
    """An id is free again as soon as its request has ended."""
    _, connect = serve(echo)
    peer = connect()

    assert peer.ask(PATH_INFO="/one") == echoed("/one")
    assert peer.ask(PATH_INFO="/two", data=b"x", CONTENT_LENGTH=1) == echoed("/two", b"x")


def test_a_connection_not_to_be_kept_is_closed(serve):
    """Without FCGI_KEEP_CONN the connection ends after the answer."""
    _, connect = serve(echo)
    peer = connect()

    assert peer.ask(keep=False) == echoed()
    assert peer.is_closed()


def test_requests_are_multiplexed(serve):
    """Bodies interleaved on one connection reach their own requests, which run at the same time."""
    together = threading.Barrier(3, timeout=WAIT)

    def app(environ, start_response):
        together.wait()
        return echo(environ, start_response)

    _, connect = serve(app, threads=3)
    peer = connect()
    bodies = {1: b"a" * 200_000, 2: b"b" * 100_000, 700: b""}
    for request_id in bodies:
        peer.begin(request_id, REQUEST_METHOD="POST", PATH_INFO=f"/{request_id}")
    for at in range(0, 200_000, 10_000):
        for request_id, data in bodies.items():
            if data[at : at + 10_000]:
                peer.body(data[at : at + 10_000], request_id)
    for request_id in reversed(bodies):
        peer.body(request_id=request_id)

    answers = peer.answers(3)

    assert {key: value[0].partition(b"\r\n\r\n")[2] for key, value in answers.items()} == {
        key: echoed(f"/{key}", data, "POST")[1] for key, data in bodies.items()
    }


def test_a_slow_request_does_not_hold_up_its_neighbour(serve):
    """On one connection, a later request is answered while an earlier one still runs."""
    release = threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            release.wait(WAIT)
        return echo(environ, start_response)

    _, connect = serve(app)
    peer = connect()
    peer.begin(1, PATH_INFO="/slow")
    peer.body(request_id=1)

    assert peer.ask(2, PATH_INFO="/fast") == echoed("/fast")
    release.set()
    assert peer.answer() == echoed("/slow")


def test_a_body_beyond_memory_comes_whole(serve):
    """A body is the same below and above the limit at which it goes to a file."""
    _, connect = serve(echo)
    peer = connect()

    for size in (524_287, 524_288, 524_289, 3_000_000):
        data = os.urandom(size)
        assert peer.ask(data=data, CONTENT_LENGTH=size, REQUEST_METHOD="PUT") == echoed("/", data, "PUT")


@pytest.mark.parametrize(
    ("length", "data", "status"),
    [(4, b"abc", 400), (4, b"abcde", 400), ("x", b"", 400), (-1, b"", 400), (101, b"", 413), ("", b"x" * 101, 413)],
)
def test_a_body_that_is_not_as_declared_never_reaches_the_app(serve, length, data, status):
    """Too short, too long, no number, above the limit: answered here, and the connection goes on."""
    called = []
    _, connect = serve(lambda *args: called.append(args), max_body=100)
    peer = connect()

    assert peer.ask(data=data, CONTENT_LENGTH=length)[0] == status

    # What was still to come of the refused body is dropped; the connection goes on.
    assert peer.ask(2, data=data, CONTENT_LENGTH=length)[0] == status
    assert called == []


@pytest.mark.parametrize("way", ["never ends its head", "never sends its body", "pauses", "drips"])
def test_a_request_that_does_not_come_in_time_is_a_408(serve, way):
    """The app is not called for it; a neighbour on the same connection, that is only answered slowly, stays."""
    called = []

    def app(environ, start_response):
        called.append(environ["PATH_INFO"])
        time.sleep(0.8)
        return echo(environ, start_response)

    _, connect = serve(app, body_timeout=0.3, body_rate=1000)
    peer = connect()
    begun = time.monotonic()

    peer.begin(7, PATH_INFO="/good")
    peer.body(request_id=7)
    if way == "never ends its head":
        peer.send(record(RecordType.BEGIN_REQUEST, 1, struct.pack("!HB5x", Role.RESPONDER, True)))
    else:
        peer.begin(REQUEST_METHOD="POST", CONTENT_LENGTH=5000)
        if way == "pauses":
            peer.body(b"x" * 4000)
        while way == "drips" and time.monotonic() - begun < 0.6:
            peer.body(b"x" * 10)
            time.sleep(0.05)
    ended = peer.answers(2)

    assert ended[1][0].startswith(b"Status: 408 ")
    assert time.monotonic() - begun < 2
    assert ended[7][0].endswith(echoed("/good")[1])
    assert called == ["/good"]


def test_a_slow_body_of_a_decent_rate_is_taken(serve):
    """Longer than body_timeout in all, but never pausing for so long."""
    _, connect = serve(echo, body_timeout=0.3, body_rate=1000)
    peer = connect()

    peer.begin(REQUEST_METHOD="POST", CONTENT_LENGTH=5000)
    for _ in range(5):
        peer.body(b"x" * 1000)
        time.sleep(0.15)
    peer.body()

    assert peer.answer() == echoed(data=b"x" * 5000, method="POST")


@pytest.mark.parametrize("setting", ["MAX_BODY_SIZE", "MAX_CONTENT_LENGTH"])
def test_the_app_is_asked_for_its_limit(serve, setting):
    """Without max_body: the largest that the app takes at any URL; the route's own is kept by the app."""
    app = Carboy("limited")
    app.config[setting] = 10

    @app.post("/films", max_body=100)
    @app.post("/")
    def length():
        return str(len(request.get_data()))

    _, connect = serve(app)
    sent = [("/", 10), ("/", 11), ("/films", 100), ("/films", 101)]
    answers = [
        connect().ask(REQUEST_METHOD="POST", PATH_INFO=path, CONTENT_LENGTH=size, data=b"x" * size)[0] for path, size in sent
    ]

    assert answers == [200, 413, 200, 413]


def test_a_refusal_reaches_a_peer_that_is_still_sending():
    """On TCP, closing on unread input would take the answer with it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        server = FastCGIServer(echo, sock, max_body=10)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        peer = Peer(sock.getsockname(), socket.AF_INET)
        peer.begin(keep=False, CONTENT_LENGTH=5_000_000)
        peer.body(bytes(5_000_000))

        assert peer.answer()[0] == 413

        assert peer.is_closed()
        peer.close()
        server.shutdown(1)
        thread.join(WAIT)


def test_the_app_sees_pep_3333(serve):
    """The flags tell of threads; the input is terminated; HTTPS makes the scheme."""
    found = {}

    def app(environ, start_response):
        found.update(environ)
        return echo(environ, start_response)

    _, connect = serve(app, threads=2, multiprocess=False)
    connect().ask(HTTPS="on", SERVER_NAME="shop", CONTENT_LENGTH="", HTTP_HOST="shop.example")

    assert found["wsgi.url_scheme"] == "https"
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("shop", "443")
    assert [found[f"wsgi.{name}"] for name in ("multithread", "multiprocess", "run_once")] == [True, False, False]
    assert found["wsgi.input_terminated"] is True
    assert "CONTENT_LENGTH" not in found


def test_errors_of_the_app_go_to_the_web_servers_log(serve, capsys):
    """wsgi.errors is FCGI_STDERR; after the end of the request, it is our stderr."""
    kept = []

    def app(environ, start_response):
        errors = environ["wsgi.errors"]
        kept.append(errors)
        print("caf\u00e9", "\udcff", file=errors)
        errors.writelines(["a", "b"])
        errors.flush()
        return echo(environ, start_response)

    _, connect = serve(app)
    peer = connect()
    peer.begin()
    peer.body()

    ((_, err, app_status, status),) = peer.answers().values()

    assert err == "caf\u00e9 \\udcff\nab".encode()
    assert (app_status, status) == (0, RequestStatus.COMPLETE)
    print("late", file=kept[0])
    assert capsys.readouterr().err == "late\n"


# ── protocol ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", [Role.AUTHORIZER, Role.FILTER, 0, 99])
def test_other_roles_are_refused(serve, role):
    """Only responders live here; the connection goes on."""
    _, connect = serve(echo)
    peer = connect()
    peer.begin(role=role)

    assert peer.answers() == {1: (b"", b"", 0, RequestStatus.UNKNOWN_ROLE)}
    assert peer.ask(2) == echoed()


def test_the_server_tells_its_values(serve):
    """GET_VALUES gets those variables that are known; an unknown management type is named back."""
    _, connect = serve(echo, max_requests=7)
    peer = connect()
    names = [b"FCGI_MAX_CONNS", b"FCGI_MAX_REQS", b"FCGI_MPXS_CONNS", b"FCGI_TEA"]
    peer.send(record(RecordType.GET_VALUES, 0, encode_pairs([(name, b"") for name in names])), record(42, 0))

    kind, request_id, content = peer.read()

    assert (kind, request_id) == (RecordType.GET_VALUES_RESULT, 0)
    assert decode_pairs(content) == (
        (b"FCGI_MAX_CONNS", b"7"),
        (b"FCGI_MAX_REQS", b"7"),
        (b"FCGI_MPXS_CONNS", b"1"),
    )
    assert peer.read() == (RecordType.UNKNOWN_TYPE, 0, b"\x2a" + bytes(7))


def test_nonsense_ends_only_its_own_connection(serve, caplog):
    """What is not FastCGI is dropped with one line in the log; others are served."""
    _, connect = serve(echo)
    bad = connect()
    bad.send(b"GET / HTTP/1.1\r\n\r\n")

    assert bad.is_closed()
    assert [entry.message for entry in caplog.records] == [
        "dropping a connection: FastCGI version 71; this responder speaks version 1"
    ]
    assert connect().ask() == echoed()


def test_more_requests_than_allowed_are_told_to_come_again(serve):
    """Beyond max_requests the answer is 503, at once; when there is room again, it is served."""
    release = threading.Event()

    def app(environ, start_response):
        release.wait(WAIT)
        return echo(environ, start_response)

    _, connect = serve(app, threads=1, max_requests=2)
    peer, other = connect(), connect()
    peer.begin(1)
    peer.body(request_id=1)
    peer.begin(2)
    peer.body(request_id=2)
    time.sleep(0.05)

    assert other.ask()[0] == 503

    release.set()
    assert len(peer.answers(2)) == 2
    assert other.ask()[0] == 200


# ── answers that end early ────────────────────────────────────────────────────────


def test_an_abort_closes_the_iterable_and_ends_the_request(serve):
    """After FCGI_ABORT_REQUEST the app stops, the id is ended, the connection lives."""
    app = Endless(pause=0.001)
    _, connect = serve(lambda *args: app(*args) if args[0]["PATH_INFO"] == "/" else echo(*args), threads=1)
    peer = connect()
    peer.begin()
    peer.body()
    assert peer.read()[0] == RecordType.STDOUT

    peer.abort()

    ((_, _, app_status, _),) = peer.answers().values()
    assert app_status == 1
    assert app.closed.wait(WAIT)
    assert peer.ask(PATH_INFO="/next") == echoed("/next")


def test_an_abort_before_the_body_is_here_ends_the_request(serve):
    """A request that no thread has seen yet is ended at once, and never run."""
    called = []
    _, connect = serve(lambda *args: called.append(args))
    peer = connect()
    peer.begin(CONTENT_LENGTH=10)

    peer.abort()

    assert peer.answers() == {1: (b"", b"", 1, 0)}
    assert called == []


def test_a_web_server_that_leaves_closes_the_iterable(serve):
    """The connection's end frees the thread, whether the app is writing or waits to write."""
    _, connect = serve(lambda *args: apps.pop()(*args), threads=1)
    for app, reads in ((Endless(pause=0.001), True), (Endless(size=1_000_000), False)):
        apps = [app]
        peer = connect()
        peer.begin()
        peer.body()
        until(lambda: app.given > 0)  # noqa: B023  # used in this round only
        if not reads:
            time.sleep(0.1)

        peer.close()

        assert app.closed.wait(WAIT)


def test_a_request_whose_web_server_left_is_not_run(serve):
    """What waits for a thread when its connection ends is dropped."""
    release, called = threading.Event(), []

    def app(environ, start_response):
        called.append(environ["PATH_INFO"])
        release.wait(WAIT)
        return echo(environ, start_response)

    server, connect = serve(app, threads=1)
    first, second = connect(), connect()
    for peer, path in ((first, "/first"), (second, "/second")):
        peer.begin(PATH_INFO=path)
        peer.body()
    until(lambda: called)
    second.close()
    until(lambda: len(server.links) == 1)
    release.set()

    assert first.answer() == echoed("/first")
    assert first.ask(PATH_INFO="/third") == echoed("/third")
    assert called == ["/first", "/third"]


def test_a_slow_reader_costs_a_bounded_buffer(serve):
    """The app waits while the web server does not read, and goes on when it does."""
    app = Endless(size=20_000)
    _, connect = serve(app, write_buffer=65_536)
    peer = connect()
    peer.begin()
    peer.body()

    def stands_still():
        before = app.given
        time.sleep(0.15)
        return app.given == before

    until(stands_still)
    before = app.given
    # Its own buffer, one more chunk, and what the kernel keeps on both sides of the socket.
    assert before < 2 * 65_536 + 65_536 + 1_000_000

    peer.file.read(2_000_000)

    until(lambda: app.given > before)


def test_a_reader_that_stops_for_good_is_dropped(serve, caplog):
    """After write_timeout the connection is closed and the thread is free."""
    app = Endless()
    _, connect = serve(app, write_buffer=4_096, write_timeout=0.2)
    peer = connect()
    peer.begin()
    peer.body()

    assert app.closed.wait(WAIT)

    assert "has not read for 0.2 s" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_an_error_after_the_first_byte_ends_the_connection_without_an_end(serve, error):
    """The web server sees that the answer was cut, kept connection or not; the thread lives on."""

    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"part"
        raise error

    _, connect = serve(app, threads=1)
    for keep in (True, False):
        peer = connect()
        peer.begin(keep=keep)
        peer.body()

        with pytest.raises(EOFError, match="part"):
            peer.answers()


def test_an_error_before_the_first_byte_is_a_500(serve, caplog):
    """The answer is complete, the connection goes on, the log has the traceback."""

    def app(environ, start_response):
        raise RuntimeError("secret")

    _, connect = serve(app)
    peer = connect()

    assert peer.ask() == (500, b"500 Internal Server Error\n")
    assert peer.ask()[0] == 500
    assert "secret" in caplog.text


def test_a_cut_answer_beside_another_is_told_by_its_status(serve):
    """Where the connection carries another request, it must live; the status is not zero."""
    release = threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/good":
            release.wait(WAIT)
            yield from echo(environ, start_response)
        else:
            start_response("200 OK", [])
            yield b"part"
            raise RuntimeError

    _, connect = serve(app)
    peer = connect()
    peer.begin(1, PATH_INFO="/good")
    peer.body(request_id=1)
    peer.begin(2)
    peer.body(request_id=2)

    assert peer.answers()[2][2] == 1

    release.set()
    assert peer.answer() == echoed("/good")


# ── the end ───────────────────────────────────────────────────────────────────────


def test_shutdown_finishes_what_runs():
    """The running request is answered, the connection closed, new ones not accepted; the result is True."""
    entered, release = threading.Event(), threading.Event()

    def app(environ, start_response):
        entered.set()
        release.wait(WAIT)
        return echo(environ, start_response)

    with serving(app) as (server, connect, result, thread):
        peer, idle = connect(), connect()
        peer.begin()
        peer.body()
        entered.wait(WAIT)

        server.shutdown(WAIT)

        assert idle.is_closed()
        assert not result
        release.set()
        assert peer.answer() == echoed()
        assert peer.is_closed()
        thread.join(WAIT)
        assert result == [True]


def test_shutdown_serves_what_the_kernel_has_accepted():
    """A request that came in just before the shutdown is answered, not reset."""
    with serving(echo) as (server, connect, result, thread):
        connect().ask()
        late = [connect() for _ in range(10)]
        server.shutdown(WAIT)
        for peer in late:
            peer.begin()
            peer.body()

        assert [peer.answer() for peer in late] == [echoed()] * 10
        thread.join(WAIT)
        assert result == [True]


def test_shutdown_ends_when_its_time_is_up(caplog):
    """A view that hangs is cut, and does not hold the server."""
    entered, release = threading.Event(), threading.Event()

    def app(environ, start_response):
        entered.set()
        release.wait(WAIT)
        return echo(environ, start_response)

    with serving(app) as (server, connect, result, thread):
        peer = connect()
        peer.begin()
        peer.body()
        entered.wait(WAIT)
        started = time.monotonic()

        server.shutdown(0.2)
        thread.join(WAIT)

        assert time.monotonic() - started < 2
        assert result == [False]
        assert peer.is_closed()
        release.set()
    assert "cutting 1 requests" in caplog.text


def test_shutdown_before_serving_is_not_lost():
    """A signal that comes early is heeded."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        server = FastCGIServer(echo, sock)
        server.shutdown()

        assert server.serve_forever() is True
        assert sock.fileno() >= 0


WORKER = """
import signal, socket, sys
from carboy.gateways.fastcgi import FastCGIServer

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hi"]

server = FastCGIServer(app, socket.socket(fileno=int(sys.argv[1])))
signal.signal(signal.SIGTERM, lambda *_: server.shutdown(5))
sys.exit(0 if server.serve_forever() else 1)
"""


def test_a_worker_process_stops_on_its_signal(tmp_path):
    """A process that inherited the socket serves, and ends by itself when its handler calls shutdown."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        command = [sys.executable, "-c", WORKER, str(sock.fileno())]
        with subprocess.Popen(command, pass_fds=[sock.fileno()], env={"PYTHONPATH": SRC}) as worker:
            peer = Peer(str(tmp_path / "s"))
            answer = peer.ask()

            worker.terminate()

            assert worker.wait(WAIT) == 0
            assert answer == (200, b"hi")
            assert peer.is_closed()
            peer.close()


def test_nothing_is_left_behind(serve, monkeypatch):
    """After some hundred requests no connection, request, thread or file stays."""
    files = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda *args, **kwargs: files.append(real(*args, **kwargs)) or files[-1]
    )
    server, connect = serve(echo, threads=2)
    connect().ask()
    threads = threading.active_count()
    for turn in range(300):
        peer = connect()
        data = bytes(600_000 if turn % 100 == 0 else 10)
        assert peer.ask(data=data)[0] == 200
        peer.close()

    until(lambda: len(server.links) == 1)

    gc.collect()
    assert server._in_hand == 0
    assert threading.active_count() <= threads  # those of the test before may end meanwhile
    assert len(files) == 3
    assert all(file.closed for file in files)


def test_a_full_disk_is_a_503(serve, monkeypatch, caplog):
    """A body that cannot be kept is refused; the server lives."""

    class Full(io.BytesIO):
        def writelines(self, lines):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *args, **kwargs: Full())
    _, connect = serve(echo)
    peer = connect()

    assert peer.ask(data=bytes(600_000))[0] == 503
    assert peer.ask(2) == echoed()
    assert "No space left" in caplog.text


# ── environ ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("variables", "prefix", "script", "path"),
    [
        # nginx, as its packaged fastcgi_params has it
        ({"SCRIPT_NAME": "/a/b", "DOCUMENT_URI": "/a/b", "REQUEST_URI": "/a/b?c"}, "", "", "/a/b"),
        # nginx with fastcgi_split_path_info that did not match
        ({"SCRIPT_NAME": "/a/b", "PATH_INFO": ""}, "", "", "/a/b"),
        # nginx or Apache that split
        ({"SCRIPT_NAME": "/a", "PATH_INFO": "/b"}, "", "/a", "/b"),
        ({"SCRIPT_NAME": "", "PATH_INFO": "/a/b"}, "", "", "/a/b"),
        # a mount named to us
        ({"SCRIPT_NAME": "/a/b"}, "/a", "/a", "/b"),
        ({"SCRIPT_NAME": "/a"}, "/a", "/a", ""),
        ({"SCRIPT_NAME": "/a", "PATH_INFO": ""}, "/a", "/a", ""),
        ({"SCRIPT_NAME": "", "PATH_INFO": "/a/b"}, "/a", "/a", "/b"),
        ({"SCRIPT_NAME": "/ab"}, "/a", "", "/ab"),
        # less than that
        ({"DOCUMENT_URI": "/a b"}, "", "", "/a b"),
        ({"REQUEST_URI": "/a%20b%3F?c=%20"}, "", "", "/a b?"),
        ({"REQUEST_URI": "/%C3%A9%FF"}, "", "", "/\xc3\xa9\xff"),
        ({}, "", "", ""),
    ],
)
def test_the_path_is_found_wherever_the_web_server_puts_it(variables, prefix, script, path):
    """SCRIPT_NAME is the mount and PATH_INFO the rest, percent-decoded, whichever way it was sent."""
    environ = environ_of([(name.encode(), value.encode()) for name, value in variables.items()], prefix=prefix)

    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, path)


def test_a_prefix_beyond_ascii_matches(serve):
    """The prefix is text; the path on the wire is UTF-8."""
    found = {}

    def app(environ, start_response):
        found.update(environ)
        return echo(environ, start_response)

    _, connect = serve(app, prefix="/caf\u00e9/")
    connect().ask(SCRIPT_NAME="/caf\u00e9/x", PATH_INFO="")

    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/caf\xc3\xa9", "/x")


def test_repeated_names_are_joined_or_overruled():
    """Headers sent twice are lists; of other parameters the last one counts."""
    environ = environ_of(
        [
            (b"HTTP_X_A", b"1"),
            (b"HTTP_X_A", b"2"),
            (b"HTTP_COOKIE", b"a=1"),
            (b"HTTP_COOKIE", b"b=2"),
            (b"SCRIPT_NAME", b"/x"),
            (b"SCRIPT_NAME", b""),
            (b"PATH_INFO", b"/x"),
        ]
    )

    assert environ == {"HTTP_X_A": "1, 2", "HTTP_COOKIE": "a=1; b=2", "SCRIPT_NAME": "", "PATH_INFO": "/x"}
