"""WebSockets while the server stops, reloads, loses a worker or has no room; behind a proxy; and on the doors where granian keeps them."""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from .frames import BINARY, CLOSE, PING, PONG, TEXT, Client, handshake
from .test_tls import certificate, connected
from .wire import exchange, serving, status_of

LIMIT = 1024 * 1024


def facts(served):
    return json.loads(served.get("/"))


def answer(client):
    """Answer the server's close, as a peer does; return what it was."""
    close = client.read_close()
    if close[0] != "end":
        with contextlib.suppress(ConnectionError):  # granian does not wait for it
            client.send(CLOSE, struct.pack("!H", close[0]))
    return close


@pytest.mark.parametrize("interface", ["asgi", "unix"])
def test_stop_says_1001(run, keep, folder, figure, interface):
    """SIGTERM: each open socket hears that the server goes away, and the stop takes no longer for it."""
    unix = str(folder / "app.sock")
    served = run(*(("--unix", unix) if interface == "unix" else ()), ready=2, target="sockets:app")
    links = [keep(socket.socket(socket.AF_UNIX)) for _ in range(20)] if interface == "unix" else [None] * 20
    for link in links:
        if link is not None:
            link.settimeout(10)
            link.connect(unix)
    clients = [keep(Client(served.port, over=link)) for link in links]
    for client in clients:
        client.send(TEXT, b"x")
        assert client.read() == (TEXT, b"x")

    served.signal(signal.SIGTERM)
    codes = [answer(client)[0] for client in clients]
    seconds = served.wait(20)

    figure("gone after, seconds", f"{seconds:.2f}")
    # On a Unix socket granian speaks: it may close a connection before the goodbye has gone out.
    assert set(codes) <= ({1001} if interface == "asgi" else {1001, "end"})
    assert codes.count(1001) >= len(codes) / 2
    assert seconds < 3
    assert "cut off" not in served.text()
    assert "Traceback" not in served.text()


def test_stop_waits_for_nobody(run, keep, figure):
    """Peers that do not answer the goodbye, and an application that does not listen, are given two seconds."""
    served = run(ready=1, target="sockets:app")
    for path in ("/", "/deaf", "/flood"):
        keep(Client(served.port, path))

    served.signal(signal.SIGTERM)
    seconds = served.wait(20)

    figure("gone after, seconds", f"{seconds:.2f}")
    assert seconds < 6


def test_reload_says_1012(run, wait_until):
    """A client may come again at once, and is served by the new worker."""
    served = run(ready=1, target="sockets:app")
    pid = served.ready()[0]
    with Client(served.port) as client:
        heard = []
        listening = threading.Thread(target=lambda: heard.append(answer(client)))
        listening.start()

        served.signal(signal.SIGHUP)
        listening.join(15)

        assert heard == [(1012, "")]
    wait_until(lambda: served.ready() and pid not in served.ready(), 15)
    with Client(served.port, "/first") as client:
        assert client.read() == (TEXT, b"hello")


def test_application_may_say_goodbye_first(run):
    """One that waits for `carboy.leaving` closes with words of its own."""
    served = run(ready=1, target="sockets:app")
    with Client(served.port, "/leaving") as client:
        served.signal(signal.SIGTERM)

        assert answer(client) == (4100, "so long")
    assert served.wait(10) < 3


def test_killed_worker_ends_its_sockets_only(run, keep):
    """SIGKILL: the peer sees the end at once; sockets of the other worker go on."""
    served = run(ready=2, target="sockets:app")
    clients = {}
    until = time.monotonic() + 10
    while len(clients) < 2 and time.monotonic() < until:
        client = keep(Client(served.port))
        for pid in served.ready():
            if any(f"socket:[{inode}]" in _links(pid) for inode in _inodes(client.socket)):
                clients.setdefault(pid, client)
    assert len(clients) == 2
    killed, other = clients

    os.kill(killed, signal.SIGKILL)

    assert clients[killed].is_at_end()
    clients[other].send(TEXT, b"still here")
    assert clients[other].read() == (TEXT, b"still here")


def _links(pid):
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    return found


def _inodes(client):
    """Inodes of the server's end of a client's connection."""
    wanted = client.getsockname()[1]
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [row[9] for row in rows if int(row[2].rpartition(":")[2], 16) == wanted]


def test_no_descriptor_left_is_503_and_passes(run, keep, wait_until, figure):
    """Out of descriptors, handshakes are refused or wait; those that are open go on, and room made is used."""
    served = run("--max-in-flight", "0", ready=1, target="sockets:app", descriptors=110)
    clients, refused = [], 0
    for _ in range(140):
        try:
            client = keep(Client(served.port, timeout=0.5))
        except OSError:
            break  # not accepted any more
        clients.append(client)
        refused += client.status == 503

    served_here = [client for client in clients if client.status == 101]
    figure("open, refused", f"{len(served_here)}, {refused}")
    assert len(served_here) > 30
    assert refused or len(clients) < 140
    for client in served_here:
        client.send(TEXT, b"x")
        assert client.read() == (TEXT, b"x")
    for client in clients:
        client.close()
    wait_until(lambda: _is_open(served), 10)
    assert "Traceback" not in served.text()


def _is_open(served):
    try:
        with Client(served.port, timeout=1) as client:
            return client.status == 101
    except OSError:
        return False


def test_handshakes_are_refused_when_off(run):
    """--no-websockets: an ordinary request, for whoever answers those."""
    served = run("--no-websockets", ready=1, target="sockets:app")

    received, _ = exchange(served.port, handshake("/first"), wait=1)

    assert status_of(received) == 200


@pytest.mark.parametrize("options", [("--http", "auto"), ("--loop", "asyncio"), ("--host", "::"), ("--host", "0.0.0.0")], ids=str)
def test_other_ways_to_listen(tmp_path, options):
    """HTTP/2 beside HTTP/1.1, the other event loop, IPv6 (and IPv4 by way of it), every address."""
    with serving(tmp_path, *options, target="sockets:app") as served:
        for address in ("127.0.0.1", *(("::1",) if "::" in options else ())):
            with Client(served.port, "/first", address=address) as client:
                assert client.read() == (TEXT, b"hello")
                client.send(BINARY, b"x" * LIMIT)
                assert client.read() == (BINARY, b"x" * LIMIT)
                client.send(CLOSE, struct.pack("!H", 1000))
                assert client.read_close() == (1000, "")
                assert client.is_at_end()


def test_handshake_on_a_used_connection(run, keep):
    """After a page, on the same connection; and both while other connections are open."""
    served = run(ready=1, target="sockets:app")
    for _ in range(50):
        keep(socket.create_connection(("127.0.0.1", served.port)))
    with Client(served.port, begin=False) as client:
        client.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while b"}" not in client.received:
            client.fill()
        client.received = b""
        client.begin("/first")

        assert client.read() == (TEXT, b"hello")


def test_crowd_of_handshakes_leaves_nobody_with_a_strangers_socket(run, figure, full):
    """Hundreds at once, some of which abort: each hears its own words only."""
    served = run(ready=1, target="sockets:app")
    wrong, served_here = [], [0]
    before = facts(served)["descriptors"]

    def visit(number):
        for turn in range(40 if full else 15):
            if (number + turn) % 3 == 0:
                with Client(served.port, begin=False) as client:
                    client.socket.sendall(handshake())
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                continue
            with Client(served.port, f"/tell?{number}-{turn}") as client:
                told = json.loads(client.read()[1])
                mine = f"{number}-{turn}".encode()
                client.send(TEXT, mine)
                if told["query"].encode() != mine or client.read()[1] != mine or told["client"][1] != client.socket.getsockname()[1]:
                    wrong.append((told["query"], mine, told["client"], client.socket.getsockname()))
                served_here[0] += 1

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    figure("sockets served", served_here[0])
    assert wrong == []
    assert served_here[0] == sum((number + turn) % 3 != 0 for number in range(32) for turn in range(40 if full else 15))
    until = time.monotonic() + 10
    while facts(served)["descriptors"] > before + 1 and time.monotonic() < until:
        time.sleep(0.1)
    assert facts(served)["descriptors"] <= before + 1


# -- where granian keeps its WebSockets --------------------------------------------------------------


def test_tls_holds_the_limit(run, folder, figure):
    """Behind TLS of our own, granian speaks: the limit is 1009 all the same, and the stop is in time.

    The goodbye is not promised there: granian leaves it in its TLS buffer until it ends, and may end without it.
    """
    cert, key = certificate(folder, "one")
    served = run("--tls-cert", str(cert), "--tls-key", str(key), ready=1, target="sockets:app")
    with Client(served.port, over=connected(served.port)) as client:
        client.send(BINARY, b"x" * LIMIT)
        assert client.read() == (BINARY, b"x" * LIMIT)
        client.send(BINARY, b"x" * (LIMIT + 1))
        assert client.read_close()[0] == 1009
    with Client(served.port, over=connected(served.port)) as client:
        served.signal(signal.SIGTERM)
        figure("goodbye over TLS", answer(client)[0])
        assert served.wait(10) < 6


# -- behind nginx -------------------------------------------------------------------------------------

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


@pytest.mark.service
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx (Debian: nginx-light)")
def test_behind_nginx(run, folder, free_port, wait_until):
    """Messages, pings, close codes and the proxy's words go through."""
    served = run("--trusted-proxies", "127.0.0.1", "--ws-ping", "0.5", ready=1, target="sockets:app")
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, behind=served.port))
    command = [shutil.which("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: (folder / "nginx.pid").exists(), 5)
        with Client(port, "/tell", "Sec-WebSocket-Protocol: chat") as client:
            told = json.loads(client.read()[1])
            assert told["scheme"] == "wss"
            assert "sec-websocket-protocol: chat" in client.head
            assert client.read() == (PING, b"")
            client.send(PONG)
            client.send(BINARY, b"x" * LIMIT)
            assert client.read() == (BINARY, b"x" * LIMIT)
            client.send(TEXT, b"x", rsv=2)
            assert client.read_close()[0] == 1002
    finally:
        process.terminate()
        process.wait(10)
