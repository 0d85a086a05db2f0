"""The board with large uploads and downloads: alone, behind nginx over HTTP, and behind nginx over FastCGI.

The same pages, the right client and scheme, and a gigabyte (64 MB in the short form) either way at little memory. The
files are made here, sparse or a piece at a time; the limits are raised by the routes that take them.
"""

import contextlib
import faulthandler
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__)
FULL = os.environ.get("CARBOY_RESILIENCE") == "full"
SIZE = 1 << 30 if FULL else 64 << 20
PIECE = 1 << 20
#: Another address of this machine than the proxy's, so that it shows whose address the application is told.
CLIENT = "127.0.0.5"

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx (Debian: nginx-light)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with the openssl command"),
]

APP = '''
"""The board, and routes that take and give much."""
import sys
sys.path.insert(0, {board!r})

from board import create_app
from carboy import Response, request, send_file

app = create_app({{"DATA": {data!r}, "SECRET_KEY": "for the tests"}})


@app.post("/upload", max_body=2 << 30)
def upload():
    size = zeros = 0
    stream = request.files["file"].stream
    while piece := stream.read(1 << 20):
        size += len(piece)
        zeros += piece.count(0)
    return {{"size": size, "zeros": zeros, "name": request.files["file"].filename, "note": request.form["note"]}}


@app.post("/raw", max_body=2 << 30)
def raw():
    size = 0
    while piece := request.stream.read(1 << 20):
        size += len(piece)
    return {{"size": size}}


@app.get("/file")
def file():
    return send_file({file!r}, mimetype="application/octet-stream")


@app.get("/made/<int:size>")
def made(size):
    piece = bytes(1 << 16)

    def pieces():
        for _ in range(size >> 16):
            yield piece

    return Response(pieces(), mimetype="application/octet-stream")


@app.get("/who")
def who():
    return {{"client": request.remote_addr, "scheme": request.scheme, "host": request.host, "url": request.url}}
'''

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_timeout 60s;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  upstream app {{ server unix:{folder}/app.sock; keepalive 8; keepalive_timeout 8s; }}
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl; server_name shop.example;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ {location} }}
  }}
}}
"""
LOCATIONS = {
    "http": """proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;""",
    "fastcgi": """fastcgi_pass app; fastcgi_keep_conn on; fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param REQUEST_URI $request_uri; fastcgi_param SCRIPT_NAME $fastcgi_script_name; fastcgi_param HTTPS $https if_not_empty;
      fastcgi_param QUERY_STRING $query_string; fastcgi_param SERVER_NAME $server_name; fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param SERVER_PORT $server_port; fastcgi_param SERVER_PROTOCOL $server_protocol;
      fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;""",
}


class Place:
    """Where a way is reached: a port for plain HTTP, one for TLS, and the worker behind it."""

    def __init__(self, name, served, port, tls, worker):
        self.name, self.served, self.port, self.tls, self.worker = name, served, port, tls, worker

    def connect(self, *, tls=False):
        if not tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120, source_address=(CLIENT, 0))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=120, source_address=(CLIENT, 0), context=context)

    def get(self, path, *, tls=False, **headers):
        with contextlib.closing(self.connect(tls=tls)) as connection:
            connection.request("GET", path, headers={"Host": "shop.example", **headers})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def peak(self):
        """Resident memory now and the most it ever was, in bytes; granian's and ours, page cache not counted."""
        text = Path(f"/proc/{self.worker}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) << 10 for name in ("VmRSS", "VmHWM"))


@pytest.fixture(params=["alone", "http", "fastcgi"])
def place(request, run, folder, free_port, wait_until):
    """The board in one of the three places; nginx is this test's own."""
    way = request.param
    with (folder / "large").open("wb") as file:
        file.truncate(SIZE)
    (folder / "boarded.py").write_text(
        APP.format(board=str(HERE.parents[2] / "examples" / "board"), data=str(folder / "data"), file=str(folder / "large"))
    )
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(
        [*command, "-subj", "/CN=shop.example", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")], check=True, capture_output=True
    )
    if way == "alone":
        served = run(ready=1, target="boarded:app")
        encrypted = run(
            "--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"), "--control", str(folder / "tls.sock"), ready=None, target="boarded:app",
        )  # fmt: skip
        place = Place(way, served, served.port, encrypted.port, served.ready()[0])
        wait_until(lambda: "stop  " in encrypted.text(), 20)
        yield place
        return
    where = ("--unix", f"{folder}/app.sock", "--trusted-proxies", "unix") if way == "http" else ("--fastcgi", f"unix:{folder}/app.sock")
    served = run(*where, ready=1, target="boarded:app")
    port, tls = free_port(), free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, tls=tls, location=LOCATIONS[way]))
    command = [shutil.which("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    nginx = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: (folder / "nginx.pid").exists(), 5)
        yield Place(way, served, port, tls, served.ready()[0])
    finally:
        nginx.terminate()
        nginx.wait(10)
        (folder / "large").unlink()


#: What is drawn anew for each answer.
FRESH = re.compile(rb'(nonce|token|value)="[^"]*"|\b[0-9a-f]{16}-[0-9a-f]+\b')


def test_board_is_the_same_everywhere(place, figure):
    """Pages, errors, cookies and headers; the client's address and scheme, also where it lies about them."""
    pages = {path: place.get(path) for path in ("/", "/posts/999999", "/nowhere", "/static/none.css", "/login")}
    plain, encrypted = (json.loads(place.get("/who", tls=tls)[2]) for tls in (False, True))
    lied = json.loads(place.get("/who", **{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher", "Forwarded": "for=6.6.6.6"})[2])

    assert [status for status, _, _ in pages.values()][:4] == [200, 404, 404, 404]
    assert b"The Board" in pages["/"][2]
    assert "frame-ancestors" in pages["/"][1]["Content-Security-Policy"]
    assert plain["client"] == encrypted["client"] == CLIENT
    assert (plain["scheme"], encrypted["scheme"]) == ("http", "https")
    assert plain["host"].partition(":")[0] == "shop.example"
    # A client behind the proxy may add a Forwarded of its own, which nginx lets pass: then nothing of it is believed.
    assert lied["client"] in (CLIENT, "127.0.0.1", None, "")
    assert lied["scheme"] == "http"


def send(place, path, head, tail, kind):
    """Send SIZE zeros between head and tail; return the answer and the seconds it took."""
    begun = time.monotonic()
    with contextlib.closing(place.connect()) as connection:
        connection.putrequest("POST", path, skip_host=True)
        connection.putheader("Host", "shop.example")
        connection.putheader("Content-Type", kind)
        connection.putheader("Content-Length", str(len(head) + SIZE + len(tail)))
        connection.endheaders()
        connection.send(head)
        zeros = bytes(PIECE)
        for _ in range(SIZE // PIECE):
            connection.send(zeros)
        connection.send(tail)
        answer = connection.getresponse()
        body = answer.read()
    assert answer.status == 200, body[:500]
    return json.loads(body), time.monotonic() - begun


def fetch(place, path):
    """Read an answer to its end; return its size and the seconds it took."""
    begun = time.monotonic()
    size = 0
    with contextlib.closing(place.connect()) as connection:
        connection.request("GET", path, headers={"Host": "shop.example"})
        answer = connection.getresponse()
        assert answer.status == 200
        while piece := answer.read(PIECE):
            size += len(piece)
    return size, time.monotonic() - begun


def test_large_uploads_and_downloads(place, figure):
    """A form's file and a bare body up, a file and a stream down: whole, within 64 MB of growth at any moment."""
    # The suite's watchdog for hanging tests is not meant for one that may take minutes.
    faulthandler.cancel_dump_traceback_later()
    place.get("/")
    before, _ = place.peak()
    head = (
        b'--limit\r\nContent-Disposition: form-data; name="note"\r\n\r\nlarge\r\n'
        b'--limit\r\nContent-Disposition: form-data; name="file"; filename="zeros.bin"\r\n\r\n'
    )

    told, form = send(place, "/upload", head, b"\r\n--limit--\r\n", "multipart/form-data; boundary=limit")
    bare, body = send(place, "/raw", b"", b"", "application/octet-stream")
    file, down = fetch(place, "/file")
    made, stream = fetch(place, f"/made/{SIZE}")
    growth = (place.peak()[1] - before) / (1 << 20)

    figure(f"{SIZE >> 20} MB, seconds", f"form {form:.1f}, body {body:.1f}, file {down:.1f}, stream {stream:.1f}")
    figure("growth at the most, MB", f"{growth:.1f}")
    assert told == {"size": SIZE, "zeros": SIZE, "name": "zeros.bin", "note": "large"}
    assert bare == {"size": SIZE}
    assert (file, made) == (SIZE, SIZE)
    assert growth <= 64
