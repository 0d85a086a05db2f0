"""Facts about the FastCGI door behind a real nginx, over a unix socket and over TCP."""

import hashlib
import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the harness is found whatever pytest's import mode

from nginx_server import Nginx

from carboy.gateways.fastcgi import FastCGIServer

WAIT = 10.0
MEGABYTE = 1 << 20


class Site:
    """The app that is served, with the switches that tests turn."""

    def __init__(self):
        self.go = threading.Event()
        self.closed = threading.Event()
        self.together = threading.Barrier(20, timeout=WAIT)
        self.paths = Counter()

    def __call__(self, environ, start_response):
        path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        self.paths[path] += 1
        name = path.rpartition("/")[2]
        page = getattr(self, f"page_{name}", self.page_environ)
        return page(environ, start_response)

    def page_environ(self, environ, start_response):
        found = {key: value for key, value in environ.items() if isinstance(value, str)}
        body = environ["wsgi.input"].read()
        found["hash"] = hashlib.sha256(body).hexdigest()
        found["size"] = len(body)
        start_response("200 OK", [("Content-Type", "application/json"), ("X-Colour", "blue")])
        return [json.dumps(found).encode()]

    def page_together(self, environ, start_response):
        self.together.wait()
        return self.page_environ(environ, start_response)

    def page_cookies(self, environ, start_response):
        start_response("200 OK", [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("Connection", "close")])
        return [b"ok"]

    def page_unchanged(self, environ, start_response):
        start_response("304 Not Modified", [("ETag", '"x"')])
        return [b"never sent"]

    def page_empty(self, environ, start_response):
        start_response("204 No Content", [])
        return []

    def page_sized(self, environ, start_response):
        start_response("200 OK", [("Content-Length", "5"), ("Content-Type", "text/plain")])
        return [b"12345"]

    def page_steps(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        assert self.go.wait(WAIT)
        yield b"last"

    def page_endless(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                yield b"x" * 1000
                time.sleep(0.001)
        finally:
            self.closed.set()

    def page_big(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (bytes([number]) * MEGABYTE for number in range(30))

    def page_bad(self, environ, start_response):
        environ["wsgi.errors"].write("noted before the error\n")
        raise RuntimeError("secret")

    def page_cut(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"part"
        raise RuntimeError("late")

    def page_short(self, environ, start_response):
        start_response("200 OK", [("Content-Length", "10")])
        yield b"part"


@pytest.fixture(scope="module", params=["unix", "tcp"])
def house(request):
    """nginx, our server behind it, and the app; one of each for the file, per kind of socket."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if request.param == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(f"{folder}/app.sock")
            address = f"unix:{folder}/app.sock"
        else:
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{sock.getsockname()[1]}"
        sock.listen(128)
        server = FastCGIServer(Site(), sock, threads=20, max_body=64 * MEGABYTE)
        thread = threading.Thread(target=server.serve_forever)
        with sock, Nginx(folder, address) as nginx:
            thread.start()
            yield nginx, server
            server.shutdown(5)
            thread.join(WAIT)
            assert not thread.is_alive()


@pytest.fixture
def nginx(house):
    return house[0]


@pytest.fixture
def server(house):
    return house[1]


@pytest.fixture
def site(server):
    server.app = Site()
    return server.app


def fetch(nginx, path, method="GET", **options):
    connection = nginx.connect()
    connection.request(method, path, **options)
    response = connection.getresponse()
    response.body = response.read()
    connection.close()
    return response


def test_a_request_arrives_as_sent(nginx, site):
    """Method, query, headers and addresses are there; the scheme and the host are nginx's."""
    response = fetch(nginx, "/a/b?q=1&r=%20", headers={"X-Tea": "green", "Host": "shop.example"})

    found = json.loads(response.body)
    assert response.status == 200
    assert response.headers["X-Colour"] == "blue"
    assert (found["REQUEST_METHOD"], found["QUERY_STRING"], found["HTTP_X_TEA"]) == ("GET", "q=1&r=%20", "green")
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("shop.example", str(nginx.port))
    assert (found["wsgi.url_scheme"], found["REMOTE_ADDR"]) == ("http", "127.0.0.1")


@pytest.mark.parametrize(
    ("sent", "script", "path"),
    [
        ("/a/b", "", "/a/b"),
        ("/", "", "/"),
        ("/caf%C3%A9/%20x%2Fy", "", "/caf\u00e9/ x/y"),
        ("/mount/in", "/mount", "/in"),
        ("/mount/", "/mount", "/"),
        ("/mount/%C3%A9", "/mount", "/\u00e9"),
    ],
)
def test_the_path_is_split_and_decoded(nginx, site, sent, script, path):
    """With and without fastcgi_split_path_info the app sees mount and path, UTF-8 in latin-1 strings."""
    found = json.loads(fetch(nginx, sent).body)

    assert found["SCRIPT_NAME"].encode("latin-1").decode() == script
    assert found["PATH_INFO"].encode("latin-1").decode() == path


def test_repeated_headers_are_joined(nginx, site):
    """A header sent on two lines is one list."""
    connection = nginx.connect()
    connection.putrequest("GET", "/")
    for name, value in (("X-Forwarded-For", "a"), ("X-Forwarded-For", "b"), ("X-Tea", "c"), ("X-Tea", "d")):
        connection.putheader(name, value)
    connection.endheaders()

    found = json.loads(connection.getresponse().read())

    assert (found["HTTP_X_FORWARDED_FOR"], found["HTTP_X_TEA"]) == ("a, b", "c, d")
    connection.close()


@pytest.mark.parametrize("path", ["/", "/once/", "/upload/"])
def test_fifty_megabytes_arrive_whole(nginx, site, path):
    """A large body has the hash it was sent with, buffered by nginx or passed on as it comes."""
    data = os.urandom(MEGABYTE) * 50

    found = json.loads(fetch(nginx, path, "POST", body=data).body)

    assert (found["size"], found["hash"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert found["CONTENT_LENGTH"] == str(len(data))


@pytest.mark.parametrize("path", ["/", "/upload/"])
def test_a_chunked_body_gets_its_length(nginx, site, path):
    """A body without Content-Length comes whole, and its length is told to the app."""
    found = json.loads(fetch(nginx, path, "POST", body=iter([b"a" * 70_000, b"b"]), encode_chunked=True).body)

    assert (found["size"], found["CONTENT_LENGTH"]) == (70_001, "70001")


def test_a_body_above_the_limit_is_a_413(nginx, site):
    """nginx lets it pass; the server does not, without waiting for all of it; the app is not called."""
    for path in ("/", "/upload/"):
        assert fetch(nginx, path, "POST", body=bytes(65 * MEGABYTE)).status == 413
    assert not site.paths
    assert fetch(nginx, "/after").status == 200


def test_a_truncated_upload_never_reaches_the_app(nginx, site, server):
    """A client that leaves in the middle of its body leaves no trace."""
    raw = socket.create_connection(("127.0.0.1", nginx.port))
    raw.sendall(b"POST /upload/cut HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
    wait_for(lambda: server._in_hand == 1)

    raw.close()

    wait_for(lambda: server._in_hand == 0)
    assert not site.paths


def wait_for(fact):
    end = time.monotonic() + WAIT
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("path", "length"), [("/sized", "5"), ("/environ", None)])
def test_head_has_headers_only(nginx, site, path, length):
    """HEAD is answered with the same headers and no body; the connection goes on."""
    connection = nginx.connect()
    connection.request("HEAD", path)
    response = connection.getresponse()

    assert (response.status, response.read(), response.headers["Content-Length"]) == (200, b"", length)

    connection.request("GET", "/sized")
    assert connection.getresponse().read() == b"12345"
    connection.close()


@pytest.mark.parametrize(("path", "status"), [("/unchanged", 304), ("/empty", 204)])
def test_answers_without_a_body_keep_the_connection_in_step(nginx, site, path, status):
    """After 304 and 204 the next answer on the connection is the right one."""
    connection = nginx.connect()
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.read()) == (status, b"")

    connection.request("GET", "/sized")

    assert connection.getresponse().read() == b"12345"
    connection.close()


def test_two_cookies_stay_two_headers(nginx, site):
    """Set-Cookie is never joined; the app's Connection header is not passed on."""
    response = fetch(nginx, "/cookies")

    assert response.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
    assert response.headers["Connection"] != "close"


def test_a_stream_arrives_as_it_is_made(nginx, site):
    """The first byte is here before the last one exists."""
    connection = nginx.connect()
    connection.request("GET", "/stream/steps")
    response = connection.getresponse()

    assert response.read1(5) == b"first"

    assert not site.go.is_set()
    site.go.set()
    assert response.read() == b"last"
    connection.close()


@pytest.mark.parametrize("path", ["/endless", "/stream/endless"])
def test_a_client_that_leaves_closes_the_generator(nginx, site, path):
    """nginx closes its connection when the client does; the app's generator is closed."""
    connection = nginx.connect()
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.read(100) == b"x" * 100

    response.close()
    connection.close()

    assert site.closed.wait(WAIT)


def test_twenty_requests_run_at_one_time(nginx, site):
    """Twenty requests meet inside the app."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: fetch(nginx, f"/{number}/together"), range(20)))

    assert [json.loads(answer.body)["PATH_INFO"] for answer in answers] == [f"/{n}/together" for n in range(20)]


@pytest.mark.parametrize("path", ["/big", "/stream/big", "/once/big"])
def test_a_large_answer_arrives_whole(nginx, site, path):
    """Thirty megabytes come in order, through nginx's buffers or without them."""
    body = fetch(nginx, path).body

    assert len(body) == 30 * MEGABYTE
    assert all(body[number * MEGABYTE + 77] == number for number in range(30))


def test_connections_are_kept(nginx, site, server):
    """Requests one after another use the same connection to us."""
    for _ in range(30):
        assert fetch(nginx, "/sized").status == 200

    assert len(server.links) <= 8


def test_an_error_is_a_500_without_internals(nginx, site):
    """The client learns nothing of the error; nginx's log has what the app wrote to wsgi.errors."""
    response = fetch(nginx, "/bad")

    assert (response.status, response.body) == (500, b"500 Internal Server Error\n")
    wait_for(lambda: "noted before the error" in nginx.log())


@pytest.mark.parametrize("path", ["/cut", "/stream/cut", "/once/cut", "/short", "/stream/short", "/once/short"])
def test_a_cut_answer_is_seen_by_the_client(nginx, site, path):
    """An error after the first byte, or too few bytes, breaks the client's connection off, with a length or without."""
    connection = nginx.connect()
    connection.request("GET", path)

    # nginx may have sent the head, or not yet.
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        connection.getresponse().read()

    connection.close()


def test_a_stopping_worker_loses_no_request(tmp_path):
    """While workers on one TCP socket replace each other, every request on kept connections is answered."""
    codes, is_over = Counter(), threading.Event()

    def ask(method):
        connection = nginx.connect()
        while not is_over.is_set():
            connection.request(method, "/sized", body=b"x" if method == "POST" else None)
            response = connection.getresponse()
            response.read()
            codes[response.status] += 1
        connection.close()

    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as sock,
        ThreadPoolExecutor(8) as pool,
        Nginx(tmp_path, f"127.0.0.1:{sock.getsockname()[1]}") as nginx,
    ):
        worker = FastCGIServer(Site(), sock, threads=4)
        results = [pool.submit(worker.serve_forever)]
        clients = [pool.submit(ask, method) for method in ("GET", "POST", "GET", "POST")]
        for _ in range(3):
            time.sleep(0.2)
            old, worker = worker, FastCGIServer(Site(), sock, threads=4)
            results.append(pool.submit(worker.serve_forever))
            old.shutdown(WAIT)
            assert results[-2].result(WAIT) is True
        is_over.set()
        for client in clients:
            client.result(WAIT)
        worker.shutdown(WAIT)
        assert results[-1].result(WAIT) is True

    assert set(codes) == {200}
