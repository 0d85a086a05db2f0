"""WebSockets of the real server, with frames by hand: what a peer may do, what it may not, and what it is told."""

import json
import socket
import struct
import threading
import time

import pytest

from .frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, Client, deflated, frame, handshake
from .wire import exchange, get, serving, status_of

LIMIT = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One worker with short times, for all tests that change nothing in it."""
    options = ("--ws-ping", "0.6", "--ws-ping-timeout", "0.6", "--write-timeout", "2", "--trusted-proxies", "127.0.0.2")
    with serving(tmp_path_factory.mktemp("sockets"), *options, target="sockets:app") as running:
        yield running


def facts(server):
    return json.loads(server.get("/"))


def close_with(code, reason=b""):
    return struct.pack("!H", code) + reason


# -- the handshake ------------------------------------------------------------------------------------


def test_handshake_is_answered_as_the_standard_has_it(server):
    """The example of RFC 6455 §1.3."""
    with Client(server.port, key="dGhlIHNhbXBsZSBub25jZQ==") as client:
        assert client.status == 101
        assert "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in client.head
        assert "upgrade: websocket" in client.head


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"key": "short"}, 400), ({"key": "AAAAAAAAAAAAAAAAAAAA"}, 400), ({"key": ""}, 400), ({"version": "8"}, 400), ({"version": ""}, 400),
        ({"connection": "close"}, 426), ({"host": "bad host"}, 400),
    ],
    ids=str,
)  # fmt: skip
def test_bad_handshake_is_refused(server, wrong, status):
    """A key that is none, another version, no Connection: Upgrade, an invalid Host."""
    with Client(server.port, **wrong) as client:
        assert client.status == status
        assert ("sec-websocket-version: 13" in client.head) == ("host" not in wrong)


def test_handshake_with_a_body_is_refused(server):
    """Its bytes would be taken for frames."""
    with Client(server.port, "/", "Content-Length: 5") as client:
        assert client.status == 400


@pytest.mark.parametrize("other", [{"upgrade": "h2c"}, {"method": "POST"}], ids=str)
def test_what_asks_for_no_websocket_is_an_ordinary_request(server, other):
    """Another Upgrade, another method: the application answers as ever."""
    with Client(server.port, **other) as client:
        assert client.status == 200


def test_scope_is_the_standards(server):
    """Type, path, query, subprotocols, extensions; the 101 has the application's subprotocol and header fields, and an id."""
    with Client(server.port, "/tell?a=b", "Sec-WebSocket-Protocol: chat, superchat") as client:
        told = json.loads(client.read()[1])

        assert (told["type"], told["path"], told["raw_path"], told["query"]) == ("websocket", "/tell", "/tell", "a=b")
        assert (told["scheme"], told["http_version"]) == ("ws", "1.1")
        assert told["subprotocols"] == ["chat", "superchat"]
        assert told["extensions"] == {"websocket.http.response": {}}
        assert told["client"][0] == "127.0.0.1"
        assert "sec-websocket-protocol: superchat" in client.head
        assert "set-cookie: a=1" in client.head
        assert f"x-request-id: {told['headers']['x-request-id']}" in client.head


def test_client_behind_a_trusted_proxy_is_the_one_it_tells(server):
    """The scope has the proxy's word; the connection is found by the proxy's own address."""
    link = socket.create_connection(("127.0.0.1", server.port), 10, source_address=("127.0.0.2", 0))
    with Client(server.port, begin=False, over=link) as client:
        client.begin("/tell", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example")
        told = json.loads(client.read()[1])

    assert told["client"][0] == "192.0.2.7"
    assert told["scheme"] == "wss"
    assert told["headers"]["host"] == "shop.example"


def test_refusal_has_the_applications_status_and_body(server):
    """`websocket.http.response` before an accept; a plain close is 403."""
    received, _ = exchange(server.port, handshake("/refuse"), wait=1)
    plain, _ = exchange(server.port, handshake("/close-first"), wait=1)

    assert status_of(received) == 401
    assert b"www-authenticate: Basic" in received
    assert b"who are " in received
    assert b"you?" in received
    assert status_of(plain) == 403


def test_connection_lives_on_after_a_refusal(server):
    """It was never taken over: the next request is answered on it, and the next handshake."""
    with Client(server.port, "/close-first") as client:
        client.take(int(client.head.partition("content-length: ")[2].split()[0]))
        client.begin("/first")

        assert client.status == 101
        assert client.read() == (TEXT, b"hello")


def test_failure_before_the_answer_is_500(server):
    """As for any request."""
    received, _ = exchange(server.port, handshake("/crash-first"), wait=1)

    assert status_of(received) == 500


def test_client_that_leaves_before_the_answer_is_told_of(server, wait_until):
    """The application hears `websocket.disconnect`."""
    with Client(server.port, begin=False) as client:
        client.socket.sendall(handshake("/wait"))
        time.sleep(0.2)

    wait_until(lambda: ["websocket.disconnect", "before accept"] in facts(server)["seen"], 3)


def test_server_may_speak_first(server):
    """What it says stands behind the whole 101; a hundred times, on connections of their own."""
    for _ in range(100):
        with Client(server.port, "/first") as client:
            assert client.read() == (TEXT, b"hello")


# -- messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, LIMIT])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_of_all_sizes(server, size, opcode):
    """Up to the limit, one frame or thirds of it; and pieces on the wire do not matter."""
    payload = b"m" * size
    with Client(server.port) as client:
        client.send(opcode, payload)
        assert client.read() == (opcode, payload)
        third = size // 3
        client.send(opcode, payload[:third], fin=False)
        client.send(CONT, payload[third : 2 * third], fin=False)
        client.send(PING, b"between")
        client.send(CONT, payload[2 * third :])
        assert client.read() == (PONG, b"between")
        assert client.read() == (opcode, payload)


def test_frame_in_single_bytes(server):
    """A peer may write as it likes."""
    with Client(server.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(TEXT, "gär".encode()):
            client.socket.sendall(bytes([byte]))

        assert client.read() == (TEXT, "gär".encode())


def test_many_frames_in_one_piece(server):
    """Each is a message, in order."""
    with Client(server.port) as client:
        frames = b"".join(frame(TEXT, b"%d" % number) for number in range(20_000))
        threading.Thread(target=client.socket.sendall, args=(frames,)).start()
        received = [client.read() for _ in range(20_000)]

        assert [int(payload) for _, payload in received if payload] == list(range(20_000))


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (frame(TEXT, b"x", mask=False), 1002),
        (frame(TEXT, b"x", rsv=4), 1002),
        (frame(TEXT, b"x", rsv=2), 1002),
        (frame(TEXT, b"x", rsv=1), 1002),
        (frame(3), 1002),
        (frame(7), 1002),
        (frame(11), 1002),
        (frame(15), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(CONT, b"x"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, close_with(999)), 1002),
        (frame(CLOSE, close_with(1004)), 1002),
        (frame(CLOSE, close_with(1005)), 1002),
        (frame(CLOSE, close_with(1006)), 1002),
        (frame(CLOSE, close_with(1015)), 1002),
        (frame(CLOSE, close_with(5000)), 1002),
        (frame(CLOSE, close_with(1000, b"\xff")), 1007),
        (frame(TEXT, b"\xc3\x28"), 1007),
        (frame(TEXT, b"\xed\xa0\x80"), 1007),
        (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        (frame(TEXT, b"ok\xe2", fin=False) + frame(CONT, b"\x28", fin=False), 1007),
        (frame(TEXT, b"ok\xe2", fin=False) + frame(CONT, b""), 1007),
        (frame(BINARY, length=LIMIT + 1), 1009),
        (frame(BINARY, length=2**63 - 1), 1009),
        (frame(BINARY, b"x" * LIMIT, fin=False) + frame(CONT, b"x"), 1009),
        (frame(TEXT, b"x", fin=False) + b"".join(frame(CONT, b"x" * 10_000, fin=False) for _ in range(110)), 1009),
    ],
    ids=map(str, range(29)),  # the masks are drawn by lot, so the bytes are no names
)
def test_broken_protocol_is_named(server, frames, code):
    """1002, 1007 or 1009, then the end; a frame too long is refused by its head."""
    with Client(server.port, timeout=5) as client:
        try:
            client.socket.sendall(frames)
        except ConnectionError:
            pass

        assert client.read_close()[0] == code
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_at_end()


@pytest.mark.parametrize(("code", "reason"), [(1000, "bye"), (1001, ""), (3000, "own"), (4999, ""), (1014, "")])
def test_close_is_answered_in_kind(server, wait_until, code, reason):
    """The same code comes back; the application hears it, with the reason."""
    with Client(server.port) as client:
        client.send(CLOSE, close_with(code, reason.encode()))

        assert client.read_close() == (code, reason)
        assert client.is_at_end()
    wait_until(lambda: [code, reason] in facts(server)["seen"], 3)


def test_close_without_a_code(server, wait_until):
    """1005 for the application."""
    with Client(server.port) as client:
        client.send(CLOSE)

        assert client.read_close() == (1005, "")
    wait_until(lambda: [1005, ""] in facts(server)["seen"], 3)


def test_close_between_fragments_is_answered(server):
    """A control frame may stand there; the message is given up."""
    with Client(server.port) as client:
        client.send(TEXT, b"x", fin=False)
        client.send(CLOSE, close_with(1000))

        assert client.read_close() == (1000, "")


def test_end_without_a_close_is_1006(server, wait_until):
    """By FIN, and by RST."""
    for linger in (False, True):
        before = facts(server)["seen"].count([1006, ""])
        with Client(server.port) as client:
            if linger:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda before=before: facts(server)["seen"].count([1006, ""]) == before + 1, 3)


def test_application_closes_with_a_code_of_its_own(server, wait_until):
    """The peer hears code and reason; the application hears nothing more."""
    with Client(server.port, "/close") as client:
        assert client.read_close() == (4001, "no more")
        client.send(CLOSE, close_with(4001))
        assert client.is_at_end()
    wait_until(lambda: ["websocket.disconnect", "after close"] in facts(server)["seen"], 3)


def test_application_that_returns_has_closed(server):
    """1000; one that fails, 1011."""
    with Client(server.port, "/return") as client:
        assert client.read_close() == (1000, "")
    with Client(server.port, "/crash") as client:
        client.send(TEXT, b"x")
        assert client.read_close() == (1011, "")
    assert "a fault of the application" in server.text()


def test_peer_that_does_not_answer_a_close_is_cut_off(server):
    """After five seconds."""
    with Client(server.port, "/return", timeout=9) as client:
        begun = time.monotonic()
        assert client.read_close() == (1000, "")
        assert client.is_at_end()

    assert 3 < time.monotonic() - begun < 7


# -- compression --------------------------------------------------------------------------------------


def test_compression_keeps_no_context(server):
    """The answer says so for both sides; large messages come back compressed, small ones as they are."""
    with Client(server.port, "/", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits") as client:
        assert "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12" in client.head
        for payload in (b"small", b"large " * 1000):
            client.send(TEXT, deflated(payload), rsv=4)
            assert client.read() == (TEXT, payload)


def test_bomb_stops_at_the_limit(server):
    """300 MB in one: 1009, and no more memory than the limit allows."""
    bomb = deflated(bytes(300 * LIMIT))
    before = facts(server)["resident"]
    with Client(server.port, "/", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", timeout=5) as client:
        client.send(BINARY, bomb, rsv=4)

        assert len(bomb) < LIMIT
        assert client.read_close()[0] == 1009
    assert facts(server)["resident"] - before < 16 * LIMIT


# -- flow, and who is not there -----------------------------------------------------------------------


def test_ping_is_sent_and_a_pong_keeps_alive(server):
    """A peer that answers stays for more than the time-outs; any message counts as a sign of life."""
    with Client(server.port) as client:
        until = time.monotonic() + 3
        pings = 0
        while time.monotonic() < until:
            assert client.read() == (PING, b"")
            client.send(PONG)
            pings += 1

        assert 3 <= pings <= 6


def test_dead_peer_is_dropped(server, figure, wait_until):
    """One that is silent is gone after ping and time-out."""
    before = facts(server)["seen"].count([1006, ""])
    with Client(server.port) as client:
        begun = time.monotonic()
        assert client.is_at_end()
        seconds = time.monotonic() - begun

    figure("dropped after, seconds", f"{seconds:.2f} of 0.6 + 0.6")
    assert 1.1 < seconds < 1.7
    wait_until(lambda: facts(server)["seen"].count([1006, ""]) == before + 1, 2)


def test_slow_application_holds_its_peer_back(server):
    """Behind one message that is not taken, the kernel's buffers fill and no more; nothing is lost afterwards."""
    count, size = 4000, 10_000
    with Client(server.port, "/slow", timeout=20) as client:
        before = facts(server)["resident"]
        written = [0]

        def write():
            for _ in range(count):
                client.send(BINARY, b"x" * size)
                written[0] += 1
            client.send(TEXT, b"end")

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.7)
        held, grown = written[0], facts(server)["resident"] - before
        writer.join(20)
        opcode, payload = client.read()
        while opcode == PING:
            opcode, payload = client.read()

        assert held < count
        assert grown < 8 * LIMIT
        assert payload.split()[0] == str(count - 1).encode()


def test_peer_that_goes_while_the_application_is_slow(server, wait_until):
    """What it sent is still read, and then its end; nothing is told to a connection that is gone."""
    for path in ("/slow", "/deaf", "/flood"):
        with Client(server.port, path) as client:
            for number in range(5):
                client.send(TEXT, b"%d" % number)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(2)

    assert status_of(exchange(server.port, get())[0]) == 200
    assert "RuntimeError: unable" not in server.text()
    assert "never retrieved" not in server.text()


def test_slow_reader_does_not_grow_memory_and_is_given_up(server, figure, wait_until):
    """`send` waits; after --write-timeout the peer is dropped, and the application hears of it."""
    before = facts(server)
    with Client(server.port, "/flood", buffer=4096) as client:
        time.sleep(1)
        during = facts(server)
        time.sleep(0.5)
        later = facts(server)
        wait_until(lambda: ["Gone", "flood"] in facts(server)["seen"], 6)
        figure("growth, KB", (during["resident"] - before["resident"]) // 1024)

        assert client.status == 101
        assert later["sent"] == during["sent"]
        assert during["resident"] - before["resident"] < 8 * LIMIT


def test_flood_of_pings_without_reading_the_pongs(server):
    """The pongs wait for their reader, and so do the pings."""
    before = facts(server)["resident"]
    ping = frame(PING, b"x" * 125) * 100
    with Client(server.port, buffer=4096, timeout=1.5) as client:
        sent = 0
        try:
            while sent < 200 * LIMIT:
                client.socket.sendall(ping)
                sent += len(ping)
        except OSError:
            pass

        assert sent < 200 * LIMIT
        assert facts(server)["resident"] - before < 8 * LIMIT


def test_nothing_is_left_behind(server, keep, wait_until):
    """Some hundred sockets, ended in every way: no descriptor more than before, and pages are answered."""
    before = facts(server)["descriptors"]
    for number in range(200):
        client = keep(Client(server.port, begin=number % 5 != 4))
        if number % 5 == 0:
            client.send(CLOSE, close_with(1000))
            client.read_close()
        elif number % 5 == 1:
            client.send(TEXT, b"x")
        elif number % 5 == 2:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif number % 5 == 4:
            # Leaves in the middle of the hand-over.
            client.socket.sendall(handshake())
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    wait_until(lambda: facts(server)["descriptors"] <= before, 8)
    assert status_of(exchange(server.port, get())[0]) == 200
