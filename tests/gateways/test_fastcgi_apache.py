"""Facts about the FastCGI door behind a real Apache with mod_proxy_fcgi: what it sends is not what nginx sends."""

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from carboy.gateways.fastcgi import FastCGIServer

CONFIG = """
ServerRoot "{folder}"
ServerName shop.example
Listen 127.0.0.1:{port}
PidFile "{folder}/pid"
ErrorLog "{folder}/error.log"
DefaultRuntimeDir "{folder}"
Mutex pthread
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_fcgi_module {modules}/mod_proxy_fcgi.so
StartServers 1
KeepAliveTimeout 1
{user}
AllowEncodedSlashes NoDecode
ProxyPass "/shop/" "unix:{sock}|fcgi://shop/shop/"
ProxyPass "/" "unix:{sock}|fcgi://app/" enablereuse=on flushpackets=on
"""


class Apache:
    """Apache in the foreground; a context. Skips without Apache; fails without it in CI."""

    def __init__(self, folder, sock):
        self.binary = shutil.which("apache2", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
        modules = Path("/usr/lib/apache2/modules")
        if self.binary is None or not (modules / "mod_proxy_fcgi.so").exists():
            text = "Apache with mod_proxy_fcgi is not installed (Debian: apt-get install apache2)"
            if os.environ.get("CI"):
                pytest.fail(f"{text}; CI must have it")
            pytest.skip(text)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "error.log"
        self.config = folder / "apache.conf"
        # Started by root, Apache wants another user for its workers; started by another user, none.
        user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
        self.config.write_text(CONFIG.format(folder=folder, port=self.port, modules=modules, sock=sock, user=user))

    def __enter__(self):
        self.process = subprocess.Popen([self.binary, "-D", "FOREGROUND", "-f", str(self.config)])
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < end
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def fetch(self, path, method="GET", **options):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, **options)
            response = connection.getresponse()
            response.body = response.read()
        finally:
            connection.close()
        return response


closed = threading.Event()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/cookies":
        start_response("200 OK", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return [b"ok"]
    if path == "/unchanged":
        start_response("304 Not Modified", [("ETag", '"x"')])
        return [b"never"]
    if path == "/endless":
        return endless(start_response)
    if path in ("/cut", "/short"):
        return cut(start_response, path)
    body = environ["wsgi.input"].read()
    found = {name: value for name, value in environ.items() if isinstance(value, str)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found | {"hash": hashlib.sha256(body).hexdigest(), "size": len(body)}).encode()]


def endless(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            yield b"x" * 1000
            time.sleep(0.001)
    finally:
        closed.set()


def cut(start_response, path):
    start_response("200 OK", [("Content-Type", "text/plain")] + [("Content-Length", "10")] * (path == "/short"))
    yield b"part"
    raise RuntimeError("late")


@pytest.fixture(scope="module")
def apache():
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as sock:
        folder = Path(name)
        folder.chmod(0o755)
        sock.bind(f"{folder}/app.sock")
        os.chmod(f"{folder}/app.sock", 0o666)  # Apache's workers are another user
        sock.listen(64)
        with Apache(folder, f"{folder}/app.sock") as apache:
            server = FastCGIServer(app, sock, max_body=64 << 20, prefix="/shop")
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield apache
            server.shutdown(5)
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("sent", "script", "path"),
    [
        ("/a/b?q=%20", "", "/a/b"),
        ("/", "", "/"),
        ("/caf%C3%A9/%20x", "", "/caf\u00e9/ x"),
        ("/shop/tea", "/shop", "/tea"),
        ("/shop/", "/shop", "/"),
    ],
)
def test_the_path_is_split_and_decoded(apache, sent, script, path):
    """Apache puts the whole path into SCRIPT_NAME; the app sees mount and path."""
    found = json.loads(apache.fetch(sent).body)

    assert found["SCRIPT_NAME"].encode("latin-1").decode() == script
    assert found["PATH_INFO"].encode("latin-1").decode() == path
    assert found["QUERY_STRING"] == sent.partition("?")[2]


def test_fifty_megabytes_arrive_whole(apache):
    """A large body has the hash it was sent with."""
    data = os.urandom(1 << 20) * 50

    found = json.loads(apache.fetch("/", "POST", body=data).body)

    assert (found["size"], found["hash"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_chunked_body_gets_its_length(apache):
    """A body without Content-Length comes whole."""
    found = json.loads(apache.fetch("/", "POST", body=iter([b"a" * 70_000, b"b"]), encode_chunked=True).body)

    assert (found["size"], found["CONTENT_LENGTH"]) == (70_001, "70001")


def test_a_body_above_the_limit_is_a_413(apache):
    """The refusal comes through, whatever is still being sent."""
    assert apache.fetch("/", "POST", body=bytes(65 << 20)).status == 413


def test_answers_keep_their_form(apache):
    """Two cookies are two headers; HEAD and 304 have no body."""
    assert apache.fetch("/cookies").headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert apache.fetch("/", "HEAD").body == b""
    response = apache.fetch("/unchanged")
    assert (response.status, response.body) == (304, b"")


def test_a_client_that_leaves_closes_the_generator(apache):
    """Apache ends the request when its client has gone; the app's generator is closed."""
    closed.clear()
    connection = http.client.HTTPConnection("127.0.0.1", apache.port, timeout=20)
    connection.request("GET", "/endless")
    response = connection.getresponse()
    assert response.read(100) == b"x" * 100

    response.close()
    connection.close()

    assert closed.wait(10)


@pytest.mark.parametrize("path", ["/cut", "/short"])
def test_a_cut_answer_is_seen_by_the_client(apache, path):
    """An error after the first byte breaks the client's connection off, with a length or without."""
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        apache.fetch(path)
