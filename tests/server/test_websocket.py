"""One WebSocket without a network: a transport that notes what it is told."""

import asyncio
import zlib
from random import Random

import pytest

from carboy.server.websocket import HIGH_WATER, LEAST_DEFLATED, Connection, Gone, Handshake

from ..resilience.frames import BINARY, CLOSE, CONT, TEXT, deflated, frame

HEADERS = [
    (b"host", b"localhost"), (b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"websocket"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), (b"sec-websocket-version", b"13"),
]  # fmt: skip
DEFLATE = (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits")


class Transport:
    """The kernel's side: what was written, and whether it is read."""

    def __init__(self):
        self.written = bytearray()
        self.said = []

    def write(self, data):
        self.written += data

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.said.append(name)

    def is_closing(self):
        return "close" in self.said or "abort" in self.said


def connect(most=1000, *more):
    connection = Connection(Handshake([*HEADERS, *more], True), 1, most, lambda each: None)
    transport = Transport()
    connection.connection_made(transport)
    transport.said.clear()
    return connection, transport


def run(scenario):
    return asyncio.run(scenario())


def test_reading_stops_behind_one_message():
    """With nobody waiting, one message is ahead; taking it reads on."""

    async def scenario():
        connection, transport = connect()
        connection.data_received(frame(TEXT, b"one"))
        assert transport.said == ["pause_reading"]
        assert await connection.receive() == {"type": "websocket.receive", "text": "one"}
        assert transport.said == ["pause_reading", "resume_reading"]

    run(scenario)


def test_one_who_waits_stops_nothing():
    """A receiver takes the message at once, so the kernel is read on."""

    async def scenario():
        connection, transport = connect()
        waiting = asyncio.ensure_future(connection.receive())
        await asyncio.sleep(0)
        connection.data_received(frame(BINARY, b"one"))
        assert await waiting == {"type": "websocket.receive", "bytes": b"one"}
        assert transport.said == []

    run(scenario)


def test_small_frames_in_a_large_piece_are_not_all_made_into_messages():
    """What was read is parsed as it is taken: a quarter of a million bytes are no forty thousand messages."""

    async def scenario():
        connection, _ = connect()
        connection.data_received(frame(TEXT, b"x") * 37_000)
        assert len(connection.messages) < 3000
        for _ in range(37_000):
            assert (await connection.receive())["text"] == "x"
        assert connection.rest == b""

    run(scenario)


def test_cancelled_receiver_loses_nothing():
    """The message that came with its cancelling is the next one's."""

    async def scenario():
        connection, _ = connect()
        waiting = asyncio.ensure_future(connection.receive())
        await asyncio.sleep(0)
        connection.data_received(frame(TEXT, b"one"))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await connection.receive())["text"] == "one"

    run(scenario)


def test_second_reader_is_told():
    """Two tasks cannot share one stream of messages."""

    async def scenario():
        connection, _ = connect()
        waiting = asyncio.ensure_future(connection.receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one reader"):
            await connection.receive()
        waiting.cancel()

    run(scenario)


def test_send_waits_for_the_peer():
    """While the transport is full nothing is written; a cancelled sender has sent nothing."""

    async def scenario():
        connection, transport = connect()
        connection.pause_writing()
        waiting = [asyncio.ensure_future(connection.send({"type": "websocket.send", "text": text})) for text in ("a", "b")]
        await asyncio.sleep(0)
        assert transport.written == b""
        waiting[0].cancel()
        connection.resume_writing()
        await asyncio.wait(waiting)
        assert transport.written == b"\x81\x01b"

    run(scenario)


def test_sender_that_waits_hears_of_the_end():
    """And every later one."""

    async def scenario():
        connection, _ = connect()
        connection.pause_writing()
        waiting = asyncio.ensure_future(connection.send({"type": "websocket.send", "text": "a"}))
        await asyncio.sleep(0)
        connection.connection_lost(None)
        with pytest.raises(Gone):
            await waiting
        with pytest.raises(OSError, match="closed"):
            await connection.send({"type": "websocket.send", "text": "a"})

    run(scenario)


def test_sender_hears_of_a_transport_that_is_closing():
    """Before the transport has had a turn to say so: one who only sends would go on for ever."""

    async def scenario():
        connection, transport = connect()
        transport.said.append("abort")
        with pytest.raises(Gone):
            await connection.send({"type": "websocket.send", "text": "a"})
        assert (await connection.receive())["code"] == 1006

    run(scenario)


def test_messages_before_the_end_are_still_taken():
    """What came is given; then the code and reason of the close, as often as one asks."""

    async def scenario():
        connection, transport = connect()
        connection.data_received(frame(TEXT, b"one") + frame(CLOSE, b"\x0f\xa1bye"))
        assert (await connection.receive())["text"] == "one"
        for _ in range(2):
            assert await connection.receive() == {"type": "websocket.disconnect", "code": 4001, "reason": "bye"}
        assert transport.written == b"\x88\x05\x0f\xa1bye"
        assert "close" in transport.said

    run(scenario)


def test_fragments_are_checked_as_they_come():
    """Half a character at a fragment's end is well; a byte that cannot follow ends it before the message does."""

    async def scenario():
        connection, transport = connect()
        connection.data_received(frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\xa4"))
        assert (await connection.receive())["text"] == "ä"
        connection.data_received(frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\x28", fin=False))
        assert (await connection.receive())["code"] == 1007
        assert transport.written[2:4] == b"\x03\xef"

    run(scenario)


def test_limit_counts_what_is_unpacked():
    """Of all fragments together; at the limit it is well."""

    async def scenario():
        connection, _ = connect(1000, DEFLATE)
        connection.data_received(frame(BINARY, deflated(bytes(1000)), rsv=4))
        assert await connection.receive() == {"type": "websocket.receive", "bytes": bytes(1000)}
        connection.data_received(frame(BINARY, deflated(bytes(1001)), rsv=4))
        assert (await connection.receive())["code"] == 1009

    run(scenario)


def test_idle_socket_keeps_no_zlib_state():
    """Neither before nor after messages in both directions."""

    async def scenario():
        connection, transport = connect(100_000, DEFLATE)
        connection.data_received(frame(TEXT, deflated(b"x" * 5000), rsv=4))
        await connection.receive()
        await connection.send({"type": "websocket.send", "text": "y" * 5000})
        (extension,) = connection.wire.extensions
        assert not hasattr(extension.inner, "encoder")
        assert not hasattr(extension.inner, "decoder")
        assert len(transport.written) < 100

    run(scenario)


@pytest.mark.parametrize(("size", "is_packed"), [(LEAST_DEFLATED - 1, False), (LEAST_DEFLATED, True)])
def test_small_messages_are_sent_as_they_are(size, is_packed):
    """A window that begins empty gains nothing on them."""

    async def scenario():
        connection, transport = connect(1000, DEFLATE)
        await connection.send({"type": "websocket.send", "bytes": b"z" * size})
        assert bool(transport.written[0] & 0x40) is is_packed
        if is_packed:
            payload = bytes(transport.written[2:]) + b"\x00\x00\xff\xff"
            assert zlib.decompressobj(wbits=-12).decompress(payload) == b"z" * size

    run(scenario)


def test_inspection_pings_and_drops():
    """After the one time a ping, after the other the end; any sign of life begins anew."""

    async def scenario():
        connection, transport = connect()
        now = connection.heard
        connection.inspect(now + 19, 20, 20, 45)
        assert transport.written == b""
        connection.inspect(now + 20, 20, 20, 45)
        assert transport.written == b"\x89\x00"
        connection.data_received(frame(10))
        connection.inspect(now + 39, 20, 20, 45)
        connection.inspect(now + 60, 20, 20, 45)
        assert transport.written == b"\x89\x00" * 2
        assert transport.said == []
        connection.inspect(now + 80, 20, 20, 45)
        assert transport.said == ["abort"]
        assert (await connection.receive())["code"] == 1006

    run(scenario)


def test_peer_is_not_blamed_for_a_slow_application():
    """While nothing is read, its pongs cannot be seen."""

    async def scenario():
        connection, transport = connect()
        connection.data_received(frame(TEXT, b"one"))
        now = connection.heard
        for seconds in range(0, 200, 5):
            connection.inspect(now + seconds, 20, 20, 45)
        assert "abort" not in transport.said
        assert transport.written.startswith(b"\x89\x00" * 5)

    run(scenario)


def test_inspection_gives_up_one_who_does_not_read():
    """After the write time-out."""

    async def scenario():
        connection, transport = connect()
        connection.pause_writing()
        connection.inspect(connection.stalled_at + 44, 20, 20, 45)
        assert "abort" not in transport.said
        connection.inspect(connection.stalled_at + 46, 20, 20, 45)
        assert "abort" in transport.said

    run(scenario)


def test_noise_raises_nothing():
    """Bytes of any kind, in pieces of any size, end in a close code or wait for more."""
    random = Random(6455)

    async def scenario():
        for _ in range(300):
            connection, _ = connect(2000, DEFLATE)
            good = [frame(random.choice([0, 1, 2, 8, 9, 10]), random.randbytes(random.choice([0, 2, 100, 300])), fin=random.random() < 0.7)]
            noise = bytearray(b"".join(good * random.randrange(1, 5)) + random.randbytes(random.randrange(60)))
            for _ in range(random.randrange(4)):
                noise[random.randrange(len(noise))] = random.randrange(256)
            while noise:
                size = random.randrange(1, 80)
                connection.data_received(bytes(noise[:size]))
                del noise[:size]
                while connection.messages:
                    await connection.receive()
            connection.eof_received()
            assert (await connection.receive())["code"] in range(1000, 5000)

    run(scenario)


def test_high_water_is_what_the_transport_is_told():
    """64 KB."""

    async def scenario():
        told = []
        connection = Connection(Handshake(HEADERS, True), 1, 0, lambda each: None)
        transport = Transport()
        transport.set_write_buffer_limits = lambda high: told.append(high)
        connection.connection_made(transport)
        assert told == [HIGH_WATER] == [65536]

    run(scenario)


@pytest.mark.parametrize(("code", "reason"), [(1006, ""), (999, ""), (1000, "x" * 124)])
def test_close_says_what_it_cannot_do(code, reason):
    """And the socket stays open for a better one."""

    async def scenario():
        connection, transport = connect()
        with pytest.raises(ValueError, match=f"code {code} and a reason of {len(reason)} bytes"):
            connection.close(code, reason)
        connection.close(1000)
        assert transport.written == b"\x88\x02\x03\xe8"

    run(scenario)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"subprotocol": "other"}, "did not offer"),
        ({"headers": [(b"Sec-WebSocket-Protocol", b"chat")]}, "subprotocol="),
        ({"headers": [(b"Connection", b"close")]}, "is the server's"),
    ],
)
def test_accept_says_what_it_cannot_do(event, text):
    """The error names the header, or what was offered."""
    handshake = Handshake([*HEADERS, (b"sec-websocket-protocol", b"chat, soap")], True)

    with pytest.raises(ValueError, match=text):
        handshake.answer(event)


def test_answer_has_what_was_agreed():
    """Accept key, compression, subprotocol, the application's own."""
    handshake = Handshake([*HEADERS, DEFLATE, (b"sec-websocket-protocol", b"chat, soap")], True)

    fields = handshake.answer({"subprotocol": "soap", "headers": [(b"X-Own", b"1")]})

    assert handshake.refusal is None
    assert dict(fields)[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert dict(fields)[b"sec-websocket-extensions"].startswith(b"permessage-deflate; server_no_context_takeover")
    assert fields[-2:] == [(b"sec-websocket-protocol", b"soap"), (b"x-own", b"1")]


def test_compression_can_be_off():
    """Then none is offered."""
    assert b"sec-websocket-extensions" not in dict(Handshake([*HEADERS, DEFLATE], False).answer({}))
