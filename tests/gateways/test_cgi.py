"""Facts about the CGI door, and about the answers of every CGI-like door."""

import http.client
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from carboy import Carboy, request
from carboy.gateways.cgi import ClientGone, Reply, answer, complete_environ, run


def respond(status="200 OK", headers=(), body=(b"hi",)):
    """An app with one fixed answer."""

    def app(environ, start_response):
        start_response(status, list(headers))
        return body

    return app


def call(app, environ=None, stdin=b"", **options):
    """Run an app as CGI; return exit status, head lines and body."""
    out = io.BytesIO()
    status = run(
        app, stdin=io.BytesIO(stdin), stdout=out, environ={"REQUEST_METHOD": "GET"} | (environ or {}), **options
    )
    head, _, body = out.getvalue().partition(b"\r\n\r\n")
    return status, head.decode("latin-1").split("\r\n"), body


class Stream:
    """An iterable that remembers whether it was closed."""

    def __init__(self, chunks, error=None):
        self.chunks, self.error, self.closed, self.given = chunks, error, 0, 0

    def __iter__(self):
        for chunk in self.chunks:
            self.given += 1
            yield chunk
        if self.error:
            raise self.error

    def close(self):
        self.closed += 1


def test_the_app_is_asked_for_its_limit_of_a_body():
    """Without max_body: the largest that a Carboy app takes at any URL, and 16 MiB for an app that does not tell."""
    app = Carboy("limited")
    app.config["MAX_BODY_SIZE"] = 10

    @app.post("/films", max_body=17 << 20)
    @app.post("/")
    def length():
        return str(len(request.get_data()))

    def post(size, path="/", app=app):
        return call(app, {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(size)}, b"x" * size)

    assert post(10)[2] == b"10"
    assert post(11)[1][0].startswith("Status: 413 ")
    assert post(17 << 20, "/films")[2] == str(17 << 20).encode()
    assert post((17 << 20) + 1, "/films")[1][0].startswith("Status: 413 ")
    assert post(16 << 20, app=respond())[2] == b"hi"
    assert post((16 << 20) + 1, app=respond())[1][0].startswith("Status: 413 ")


# ── answers ───────────────────────────────────────────────────────────────────────


def test_an_answer_is_a_status_line_headers_and_body():
    """CGI output begins with Status; equal names stay two lines."""
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]

    assert call(respond("201 Created", headers, [b"a", b"", b"b"])) == (
        0,
        ["Status: 201 Created", "Content-Type: text/plain", "Set-Cookie: a=1", "Set-Cookie: b=2"],
        b"ab",
    )


@pytest.mark.parametrize(
    "name",
    ["Connection", "keep-alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Proxy-Authenticate", "Status"],
)
def test_headers_of_the_connection_are_dropped(name):
    """Hop-by-hop headers, and a second status line, do not leave."""
    assert call(respond(headers=[(name, "x"), ("X-A", "b")]))[1] == ["Status: 200 OK", "X-A: b"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK\r\nX: y", []),
        ("OK", []),
        ("20", []),
        ("200 OK", [("X-A", "b\r\nSet-Cookie: c=d")]),
        ("200 OK", [("X-A", "b\nc")]),
        ("200 OK", [("X-A", "b\0")]),
        ("200 OK", [("X A", "b")]),
        ("200 OK", [("X-A: b\r\nX", "b")]),
        ("200 OK", [("", "b")]),
        ("200 OK", [("X-A", "\u20ac")]),
        ("200 OK", [("Content-Length", "many")]),
    ],
)
def test_what_http_cannot_carry_is_a_500(status, headers, caplog):
    """A header that would begin another one is refused before anything is sent."""
    code, head, _ = call(respond(status, headers))

    assert code == 0
    assert head[0] == "Status: 500 Internal Server Error"
    assert not any("X" in line for line in head)
    assert "error in the app" in caplog.text


@pytest.mark.parametrize(
    ("method", "status", "kept"),
    [("HEAD", "200 OK", True), ("GET", "304 Not Modified", True), ("GET", "204 No Content", False)],
)
def test_answers_without_a_body(method, status, kept):
    """HEAD and 304 keep the length of the body that is not sent; 204 has none; the iterable is closed unread."""
    body = Stream([b"body"])

    code, head, sent = call(respond(status, [("Content-Length", "4")], body), {"REQUEST_METHOD": method})

    assert (code, sent, body.given, body.closed) == (0, b"", 0, 1)
    assert ("Content-Length: 4" in head) is kept


def test_a_generator_may_start_late():
    """start_response may be called when the first chunk is asked for; HEAD asks for no second one."""
    asked = []

    def app(environ, start_response):
        start_response("200 OK", [])
        for chunk in (b"a", b"b"):
            asked.append(chunk)
            yield chunk

    assert call(app)[2] == b"ab"
    asked.clear()
    assert call(app, {"REQUEST_METHOD": "HEAD"})[2] == b""
    assert asked == [b"a"]


def test_the_write_callable_still_works():
    """PEP 3333 keeps the write of old applications."""

    def app(environ, start_response):
        start_response("200 OK", [])(b"old ")
        return [b"new"]

    assert call(app)[2] == b"old new"


def test_an_error_before_the_first_byte_is_a_500():
    """Prepared headers are replaced, the text has no internals, the iterable is closed."""
    body = Stream([b""], RuntimeError("secret"))

    code, head, text = call(respond("200 OK", [("X-A", "b")], body))

    assert (code, head[0]) == (0, "Status: 500 Internal Server Error")
    assert "X-A: b" not in head
    assert b"secret" not in text
    assert body.closed == 1


def test_an_error_after_the_first_byte_cuts_the_answer():
    """What has been sent cannot be taken back; the exit status tells."""
    body = Stream([b"part"], RuntimeError("late"))

    code, head, text = call(respond(body=body))

    assert (code, head[0], text, body.closed) == (1, "Status: 200 OK", b"part", 1)


def test_exc_info_replaces_an_answer_not_yet_sent():
    """start_response with exc_info changes the answer before its first byte, and raises after it."""

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise ValueError("x")
        except ValueError:
            start_response("502 Bad Gateway", [], sys.exc_info())
        yield b"bad"
        try:
            raise KeyError("late")
        except KeyError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"never"

    code, head, text = call(app)

    assert (code, head[0], text) == (1, "Status: 502 Bad Gateway", b"bad")


@pytest.mark.parametrize(
    "app",
    [
        lambda environ, start_response: [],
        lambda environ, start_response: [b"x"],
        lambda environ, start_response: start_response("200 OK", []) and start_response("200 OK", []),
        lambda environ, start_response: start_response("200 OK", []) and None,
        lambda environ, start_response: start_response("200 OK", [("Content-Length", "5")]) and [],
    ],
)
def test_an_app_that_breaks_wsgi_gives_a_500(app):
    """No start_response, two of them, no iterable, fewer bytes than declared: an error, not half an answer."""
    assert call(app)[1][0] == "Status: 500 Internal Server Error"


def test_the_declared_length_is_kept():
    """More than the Content-Length is dropped; less is a cut answer."""
    assert call(respond(headers=[("Content-Length", "3")], body=[b"ab", b"cd", b"e"]))[::2] == (0, b"abc")
    assert call(respond(headers=[("Content-Length", "3")], body=[b"ab"]))[::2] == (1, b"ab")


def test_a_failing_close_does_not_cut_a_complete_answer(caplog):
    """All bytes are out when the iterable is closed; its error is logged."""

    class Bad(list):
        def close(self):
            raise RuntimeError("close failed")

    assert call(respond(body=Bad([b"ok"])))[::2] == (0, b"ok")
    assert "close failed" in caplog.text


def test_a_client_that_leaves_closes_the_iterable(caplog):
    """The door's ClientGone ends the iteration; it is no error of the app."""
    body = Stream([b"a", b"b", b"c"])
    written = []

    def write(data):
        if written:
            raise ClientGone
        written.append(data)

    is_complete = answer(respond(body=body), {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, write)

    assert (is_complete, body.given, body.closed) == (False, 2, 1)
    assert not [entry for entry in caplog.records if entry.levelname == "ERROR"]


def test_large_chunks_are_not_joined_to_the_head():
    """A chunk of any size leaves as the object the app gave."""
    written = []
    chunk = bytes(1_000_000)
    reply = Reply("GET", written.append)

    reply.start_response("200 OK", [])
    reply.send(chunk)

    assert written[0] == b"Status: 200 OK\r\n\r\n"
    assert written[1] is chunk


# ── requests ──────────────────────────────────────────────────────────────────────


def seen(environ=None, stdin=b"", **options):
    """The environ that an app is called with, and the body that it reads."""
    found = {}

    def app(environ, start_response):
        found.update(environ, body=environ["wsgi.input"].read())
        start_response("200 OK", [])
        return []

    status, head, _ = call(app, environ, stdin, **options)
    assert (status, head) == (0, ["Status: 200 OK"])
    return found


def test_the_environ_is_that_of_pep_3333():
    """What a web server may leave out is there; flags tell of one request a process."""
    environ = seen({"SERVER_NAME": "", "CONTENT_LENGTH": "", "CONTENT_TYPE": "", "HTTP_CONTENT_TYPE": "x"})

    assert environ["SCRIPT_NAME"] == environ["PATH_INFO"] == environ["QUERY_STRING"] == ""
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")
    assert not environ.keys() & {"CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_CONTENT_TYPE"}
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.input_terminated"] is True
    assert [environ[f"wsgi.{name}"] for name in ("multithread", "multiprocess", "run_once")] == [False, True, True]


@pytest.mark.parametrize(
    ("variables", "scheme"),
    [
        ({}, "http"),
        ({"HTTPS": "on"}, "https"),
        ({"HTTPS": "off"}, "http"),
        ({"HTTPS": ""}, "http"),
        ({"REQUEST_SCHEME": "https"}, "https"),
        ({"HTTP_X_FORWARDED_PROTO": "https"}, "http"),
    ],
)
def test_the_scheme_is_what_the_web_server_says(variables, scheme):
    """HTTPS or REQUEST_SCHEME decide; what the client can send does not."""
    assert seen(variables)["wsgi.url_scheme"] == scheme


def test_bytes_of_the_environment_are_latin_1():
    """UTF-8, and bytes that are not UTF-8, come as latin-1 strings of the same bytes."""
    raw = os.fsdecode(b"/caf\xc3\xa9/\xff")

    assert seen({"PATH_INFO": raw})["PATH_INFO"].encode("latin-1") == b"/caf\xc3\xa9/\xff"


def test_the_body_has_the_declared_length():
    """No more than CONTENT_LENGTH is read; without it nothing is."""
    assert seen({"CONTENT_LENGTH": "4"}, b"bodymore")["body"] == b"body"
    assert seen({}, b"body")["body"] == b""
    assert seen({"CONTENT_LENGTH": "1000000"}, b"x" * 1_000_000)["body"] == b"x" * 1_000_000


@pytest.mark.parametrize(
    ("length", "options", "status"),
    [("5", {}, "400"), ("-1", {}, "400"), ("4x", {}, "400"), ("٤", {}, "400"), ("4", {"max_body": 3}, "413")],
)
def test_a_body_that_is_not_as_declared_never_reaches_the_app(length, options, status):
    """Too short, no number, too long: the app is not called."""
    called = []

    code, head, _ = call(called.append, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length}, b"body", **options)

    assert (code, head[0][:11], called) == (0, f"Status: {status}", [])


def test_the_length_of_a_chunked_body_becomes_known():
    """A body that came without CONTENT_LENGTH gets the one it turned out to have."""
    environ = {}

    complete_environ(
        environ, body=io.BytesIO(b"abc"), errors=None, size=3, multithread=True, multiprocess=True, run_once=False
    )

    assert environ["CONTENT_LENGTH"] == "3"


# ── through a real CGI runner ─────────────────────────────────────────────────────

SRC = str(Path(run.__code__.co_filename).parents[2])
SCRIPT = """#!{python}
import sys
sys.path.insert(0, {src!r})
from carboy.gateways.cgi import run

def app(environ, start_response):
    print("this goes to the log")
    body = environ["wsgi.input"].read()
    start_response("203 Fine", [("Content-Type", "text/plain"), ("X-Length", str(len(body)))])
    yield f"{{environ['SCRIPT_NAME']}}|{{environ['PATH_INFO']}}|{{environ['QUERY_STRING']}}|".encode("latin-1")
    yield body

sys.exit(run(app))
"""

LEFT = """
import sys
sys.path.insert(0, {src!r})
from carboy.gateways.cgi import run

def app(environ, start_response):
    start_response("200 OK", [])
    try:
        while True:
            yield b"x" * 1000
    finally:
        print("closed", flush=True)

sys.exit(run(app))
"""


# Its own process: the runner puts its variables into the environment of the process that it runs in. It must not
# fork: run by root, the fork becomes "nobody", who may not read the test's directory or this interpreter.
RUNNER = """
from http.server import CGIHTTPRequestHandler, ThreadingHTTPServer
CGIHTTPRequestHandler.have_fork = False
server = ThreadingHTTPServer(("127.0.0.1", 0), CGIHTTPRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def cgi_site(tmp_path):
    """Python's own CGI server with one script; gives a connection to it."""
    script = tmp_path / "cgi-bin" / "app.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(python=sys.executable, src=SRC))
    script.chmod(0o755)
    with (tmp_path / "log").open("wb") as log:
        runner = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RUNNER], cwd=tmp_path, stdout=subprocess.PIPE, stderr=log
        )
    with runner:
        connection = http.client.HTTPConnection("127.0.0.1", int(runner.stdout.readline()), timeout=20)
        yield connection
        connection.close()
        runner.terminate()


def test_a_script_answers_through_a_cgi_server(cgi_site):
    """A real CGI process: path, query and body arrive, and what the app prints is not in the answer."""
    # No more than one packet: this runner reads a body with a single recv, and passes on what that gives.
    cgi_site.request("POST", "/cgi-bin/app.py/caf%C3%A9?q=1", body=b"b" * 1_000)

    response = cgi_site.getresponse()

    assert response.read() == "/cgi-bin/app.py|/café|q=1|".encode() + b"b" * 1_000


def test_a_script_answers_as_a_process(tmp_path):
    """The same script by hand: bytes of the environment, status line, and a clean exit."""
    script = tmp_path / "app.py"
    script.write_text(SCRIPT.format(python=sys.executable, src=SRC))

    done = subprocess.run(
        [sys.executable, str(script)],
        input=b"bodyrest",
        env={b"REQUEST_METHOD": b"POST", b"CONTENT_LENGTH": b"4", b"PATH_INFO": b"/\xff\xc3\xa9"},
        capture_output=True,
        timeout=20,
        check=True,
    )

    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [b"Status: 203 Fine", b"Content-Type: text/plain", b"X-Length: 4"]
    assert body == b"|/\xff\xc3\xa9||body"
    assert done.stderr == b"this goes to the log\n"


def test_a_reader_that_closes_the_pipe_ends_the_process(tmp_path):
    """A web server that left is no error of the app: its iterable is closed, and nothing is said but status 1."""
    script = tmp_path / "app.py"
    script.write_text(LEFT.format(src=SRC))
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run([sys.executable, str(script)], stdout=writer, env={}, stderr=subprocess.PIPE, check=False)
    os.close(writer)

    assert (done.returncode, done.stderr) == (1, b"closed\n")
