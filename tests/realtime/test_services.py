"""Protocols beside HTTP, in one process: handlers of each kind, their context, limits, counts and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from carboy import Carboy, current_app, g, has_request_context
from carboy.core.errors import SetupError

from .lifetime import live, until

ANY = "127.0.0.1:0"


async def connect(listener: Any, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = listener.url.partition("://")[2].rsplit(":", 1)
    return await asyncio.wait_for(asyncio.open_connection(host, int(port), **options), 5)


async def ask(listener: Any, sent: bytes, **options: Any) -> bytes:
    """Send, say that there is no more, and read to the end."""
    reader, writer = await connect(listener, **options)
    writer.write(sent)
    if not options:
        with contextlib.suppress(OSError):  # closed already, by the other side
            writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A line protocol: each line comes back in capitals."""
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


class EchoProtocol(asyncio.Protocol):
    """The same, of pieces, as a protocol."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


class BufferedEcho(asyncio.BufferedProtocol):
    """The same, with a small buffer of its own."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = bytearray(4)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]).upper())


@pytest.mark.parametrize("handler", [echo, EchoProtocol, lambda: EchoProtocol(), BufferedEcho])
def test_a_handler_of_each_kind(app: Carboy, handler: Any) -> None:
    """A coroutine function, a protocol, what makes one, and a protocol with a buffer."""
    listener = app.listen_tcp(ANY, handler, name="echo")

    async def use(client: Any) -> None:
        assert await ask(listener, b"hello\nthere\n") == b"HELLO\nTHERE\n"
        await until(lambda: listener.connections == 0)
        assert (listener.accepted, listener.received, listener.failed) == (1, 12, 0)
        assert app.listeners["echo"] is listener

    live(app, use)


def test_a_unix_socket(app: Carboy, tmp_path: Path) -> None:
    """With the permissions asked for; the path is gone afterwards."""
    path = tmp_path / "s"
    app.listen_unix(path, echo, mode=0o600)

    async def use(client: Any) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hi\n")
        assert await reader.readline() == b"HI\n"
        writer.close()

    live(app, use)

    assert not path.exists()


def test_datagrams(app: Carboy) -> None:
    """Each one has an app context; an error in one loses no other."""
    failures: list[str] = []

    class Answer(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            assert "seen" not in g
            g.seen = True
            if data == b"boom":
                raise ValueError(data)
            self.transport.sendto(f"{current_app.name}: ".encode() + data, addr)

    @app.teardown_appcontext
    def down(error: BaseException | None) -> None:
        failures.append(type(error).__name__)

    listener = app.listen_udp(ANY, Answer, name="answer")

    async def use(client: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.connect(("127.0.0.1", int(listener.url.rsplit(":", 1)[1])))
            peer.send(b"boom")
            peer.send(b"hello")
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 100), 5) == b"board: hello"
        await until(lambda: len(failures) == 2)

    live(app, use)

    assert failures == ["ValueError", "NoneType"]
    assert (listener.accepted, listener.failed, listener.received) == (2, 1, 9)


@pytest.mark.parametrize("kind", ["stream", "protocol"])
def test_each_connection_has_an_app_context(app: Carboy, kind: str) -> None:
    """`g` lasts as long as the connection; the teardown runs at its end, and there is no request."""
    torn: list[Any] = []

    @app.teardown_appcontext
    async def down(error: BaseException | None) -> None:
        torn.append(g.words)

    def take(word: str) -> bytes:
        assert not has_request_context()
        g.words = [*g.get("words", ()), word]
        return f"{current_app.name} {len(g.words)}\n".encode()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(take(line.decode().strip()))

    class Protocol(EchoProtocol):
        def data_received(self, data: bytes) -> None:
            for line in data.splitlines():
                self.transport.write(take(line.decode()))

    listener = app.listen_tcp(ANY, handle if kind == "stream" else Protocol)

    async def use(client: Any) -> None:
        assert await ask(listener, b"a\nb\n") == b"board 1\nboard 2\n"
        assert await ask(listener, b"c\n") == b"board 1\n"
        await until(lambda: len(torn) == 2)

    live(app, use)

    assert torn == [["a", "b"], ["c"]]


@pytest.mark.parametrize("kind", ["stream", "protocol", "factory"])
def test_an_error_ends_its_connection_alone(app: Carboy, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with the service and the peer; others go on."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            if line == b"boom\n":
                raise ZeroDivisionError
            writer.write(line)

    class Protocol(EchoProtocol):
        def data_received(self, data: bytes) -> None:
            if data == b"boom\n":
                raise ZeroDivisionError
            self.transport.write(data)

    made: list[Any] = []

    def factory() -> Any:
        made.append(1)
        if len(made) == 2:
            raise ZeroDivisionError
        return Protocol()

    listener = app.listen_tcp(ANY, {"stream": handle, "protocol": Protocol, "factory": factory}[kind], name="fragile")

    async def use(client: Any) -> None:
        reader, writer = await connect(listener)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        assert await ask(listener, b"boom\n") == b""
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        writer.close()
        await until(lambda: listener.connections == 0)

    live(app, use)

    (record,) = caplog.records
    assert "fragile" in record.getMessage() and "127.0.0.1" in record.getMessage()
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError
    assert listener.failed == 1


@pytest.mark.parametrize("handler", [echo, EchoProtocol])
def test_too_many_connections_are_closed_at_once(app: Carboy, handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    """And the next one is taken as soon as there is room."""
    listener = app.listen_tcp(ANY, handler, max_connections=2)

    async def use(client: Any) -> None:
        held = [await connect(listener) for _ in range(2)]
        await until(lambda: listener.connections == 2)
        reader, refused = await connect(listener)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        refused.close()
        held[0][1].close()
        await until(lambda: listener.connections == 1)
        assert await ask(listener, b"hi\n") == b"HI\n"
        held[1][1].close()

    live(app, use)

    assert (listener.accepted, listener.refused) == (3, 1)
    assert "max_connections" in caplog.text


@pytest.mark.parametrize("handler", [echo, EchoProtocol])
def test_an_idle_connection_is_closed(app: Carboy, handler: Any) -> None:
    """Counted from the last byte of the peer."""
    listener = app.listen_tcp(ANY, handler, idle_timeout=0.3)

    async def use(client: Any) -> None:
        reader, writer = await connect(listener)
        for _ in range(4):
            await asyncio.sleep(0.15)
            writer.write(b"x\n")
            assert await reader.readline() == b"X\n"
        begun = time.monotonic()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert time.monotonic() - begun > 0.2
        writer.close()
        await until(lambda: listener.connections == 0)

    live(app, use)


def test_a_peer_that_does_not_read_stops_the_handler(app: Carboy) -> None:
    """Back-pressure is asyncio's own: `drain` waits, what is kept does not grow, and the idle time-out cuts it."""
    written: list[int] = []

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            written.append(writer.transport.get_write_buffer_size())
            await writer.drain()

    listener = app.listen_tcp(ANY, flood, idle_timeout=2.0)

    async def use(client: Any) -> None:
        with socket.create_connection(("127.0.0.1", int(listener.url.rsplit(":", 1)[1]))):
            await until(lambda: written and written[-1] > 0)
            # What the kernel takes besides is bounded, too.
            await asyncio.sleep(0.2)
            stands_at = len(written)
            await asyncio.sleep(0.2)
            assert len(written) == stands_at and listener.connections == 1
            await until(lambda: listener.connections == 0)

    live(app, use)

    assert max(written) < 256 * 1024


def test_the_peer_that_goes_is_no_failure(app: Carboy, caplog: pytest.LogCaptureFixture) -> None:
    """A reset in the middle of a message ends the handler quietly."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100)

    listener = app.listen_tcp(ANY, handle)

    async def use(client: Any) -> None:
        for linger in (False, True):
            with socket.create_connection(("127.0.0.1", int(listener.url.rsplit(":", 1)[1]))) as peer:
                if linger:
                    # Closing with a linger of nothing sends a reset.
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.send(b"some")
                await until(lambda: listener.connections == 1)
        await until(lambda: listener.connections == 0)

    live(app, use)

    assert (listener.failed, caplog.records) == (0, [])


def test_the_stop_lets_what_is_open_end(app: Carboy) -> None:
    """No connection more; a quiet one sees the end of its input; a busy one finishes its answer."""
    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            await asyncio.sleep(float(line))
            writer.write(b"slept\n")
        seen.append("leaving" if app.leaving.is_set() else "left alone")
        writer.write(b"bye\n")

    listener = app.listen_tcp(ANY, handle)
    answers: list[bytes] = []

    async def main() -> None:
        async with app.async_test_client():
            busy, quiet = await connect(listener), await connect(listener)
            busy[1].write(b"0.5\n")
            await asyncio.sleep(0.1)
            reading = [asyncio.create_task(reader.read()) for reader, _ in (busy, quiet)]
        answers.extend(await asyncio.wait_for(asyncio.gather(*reading), 5))
        with pytest.raises(OSError):
            await connect(listener)
        for _, writer in (busy, quiet):
            writer.close()

    asyncio.run(main())

    assert answers == [b"slept\nbye\n", b"bye\n"]
    assert seen == ["leaving", "leaving"]


def test_a_protocol_may_put_off_its_end(app: Carboy) -> None:
    """One whose `eof_received` returns True closes by itself; another is closed after what it has written."""

    class Slow(EchoProtocol):
        def eof_received(self) -> bool:
            asyncio.get_running_loop().call_later(0.2, self.finish)
            return True

        def finish(self) -> None:
            self.transport.write(b"BYE")
            self.transport.close()

    slow, plain = app.listen_tcp(ANY, Slow, name="slow"), app.listen_tcp(ANY, EchoProtocol, name="plain")
    answers: list[bytes] = []

    async def main() -> None:
        async with app.async_test_client():
            peers = [await connect(each) for each in (slow, plain)]
            for _, writer in peers:
                writer.write(b"hi ")
            await asyncio.sleep(0.05)
            reading = [asyncio.create_task(reader.read()) for reader, _ in peers]
        answers.extend(await asyncio.wait_for(asyncio.gather(*reading), 5))
        for _, writer in peers:
            writer.close()

    asyncio.run(main())

    assert answers == [b"HI BYE", b"HI "]


@pytest.mark.parametrize("kind", ["stream", "protocol"])
def test_the_stop_waits_no_longer_than_the_stop_time_out(app: Carboy, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that ignores its end is cancelled, and its connection cut."""
    app.config["SERVER_STOP_TIMEOUT"] = 0.6
    ended: list[str] = []

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    class Deaf(EchoProtocol):
        def eof_received(self) -> bool:
            return True

        def connection_lost(self, exc: Exception | None) -> None:
            ended.append("cancelled")

    listener = app.listen_tcp(ANY, deaf if kind == "stream" else Deaf, name="deaf")

    async def main() -> float:
        async with app.async_test_client():
            _, writer = await connect(listener)
            await until(lambda: listener.connections == 1)
            begun = time.monotonic()
        writer.close()
        return time.monotonic() - begun

    assert 0.3 < asyncio.run(main()) < 5
    assert ended == ["cancelled"]
    assert "deaf: 1 connections were cut off" in caplog.text


def test_tls(app: Carboy, tmp_path: Path) -> None:
    """By a certificate's files; a peer without TLS gets nothing."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    listener = app.listen_tcp(ANY, echo, tls=(str(certificate), str(key)))
    trust = ssl.create_default_context(cafile=certificate)

    async def use(client: Any) -> None:
        reader, writer = await connect(listener, ssl=trust, server_hostname="localhost")
        writer.write(b"hi\n")
        assert await reader.readline() == b"HI\n"
        writer.close()
        await writer.wait_closed()
        assert b"HI" not in await ask(listener, b"hi\n")
        await until(lambda: listener.connections == 0)

    live(app, use)

    assert listener.accepted == 1


def test_a_port_that_is_taken_is_said_at_the_start(app: Carboy) -> None:
    """By name, with what to do; what listened before is closed again."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        first = app.listen_tcp(ANY, echo, name="first")
        app.listen_tcp(("127.0.0.1", port), echo, name="second")

        async def use(client: Any) -> None: ...

        with pytest.raises(RuntimeError, match=f"tcp://127.0.0.1:{port} is taken: another server listens there.*reuse_port"):
            live(app, use)

    with pytest.raises(OSError):
        asyncio.run(connect(first))


def test_two_processes_may_share_a_port_on_request(app: Carboy) -> None:
    """`reuse_port=True`, for servers that start several workers without sharing sockets."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        listener = app.listen_tcp(other.getsockname(), echo, reuse_port=True)

        async def use(client: Any) -> bytes:
            return await ask(listener, b"hi\n")

        assert live(app, use) == b"HI\n"


def test_a_start_is_logged_with_the_address(app: Carboy, caplog: pytest.LogCaptureFixture) -> None:
    """With the port that the system chose."""
    listener = app.listen_tcp(ANY, echo, name="lines")

    async def use(client: Any) -> None:
        assert f"lines listens at {listener.url}" in caplog.text
        assert not listener.url.endswith(":0")

    with caplog.at_level(logging.INFO):
        live(app, use)


def test_services_run_behind_the_portal_too(app: Carboy) -> None:
    """`startup` on a loop that is not the one of any request: what `carboy run` does behind WSGI."""
    from carboy.pipeline import portal

    listener = app.listen_tcp(ANY, echo)
    portal.call(app.startup)
    try:
        assert asyncio.run(ask(listener, b"hi\n")) == b"HI\n"
    finally:
        portal.call(app.shutdown)


@pytest.mark.parametrize("address", ["7000", "127.0.0.1:port", "127.0.0.1:70000", 7000, ("127.0.0.1",), ("h", "p", "q"), ":-1"])
def test_an_address_that_is_none(app: Carboy, address: Any) -> None:
    """The error says what is one."""
    with pytest.raises(SetupError, match="'host:port' or"):
        app.listen_tcp(address, echo)


@pytest.mark.parametrize("address", ["[::1]:7000", ("::1", 7000), ("::1", "7000")])
def test_addresses_of_version_6(app: Carboy, address: Any) -> None:
    """With brackets in text."""
    assert app.listen_tcp(address, echo).url == "tcp://[::1]:7000"


def test_handlers_that_are_none(app: Carboy) -> None:
    """A plain function of reader and writer, an instance, a coroutine function for datagrams."""

    def plain(reader: Any, writer: Any) -> None: ...

    with pytest.raises(SetupError, match="async def handle"):
        app.listen_tcp(ANY, plain)
    with pytest.raises(SetupError, match="async def handle"):
        app.listen_tcp(ANY, EchoProtocol())  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="DatagramProtocol"):
        app.listen_udp(ANY, echo)


def test_setup_that_makes_no_sense(app: Carboy) -> None:
    """Twice the same, limits that are none, a declaration that comes too late."""
    app.listen_tcp("127.0.0.1:7000", echo)
    with pytest.raises(SetupError, match="two services"):
        app.listen_tcp("127.0.0.1:7000", echo, name="other")
    with pytest.raises(SetupError, match="at least 1"):
        app.listen_tcp(ANY, echo, max_connections=0)
    with pytest.raises(SetupError, match="idle_timeout"):
        app.listen_tcp(ANY, echo, idle_timeout=0)
    late = Carboy("late")
    late.listen_tcp(ANY, echo)

    async def use(client: Any) -> None:
        with pytest.raises(SetupError, match="while the application runs"):
            late.listen_tcp(ANY, echo, name="b")

    live(late, use)


def test_a_path_that_is_no_socket_is_left_alone(app: Carboy, tmp_path: Path) -> None:
    """A file of somebody's is not removed; a socket that nobody listens on is."""
    path = tmp_path / "file"
    path.write_text("mine")
    app.listen_unix(path, echo)

    async def use(client: Any) -> None: ...

    with pytest.raises(RuntimeError, match="is no socket"):
        live(app, use)
    assert path.read_text() == "mine"

    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    live(app, use)


def test_nothing_is_left_of_many_connections(app: Carboy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 that end in every way, a few at once: no connection counted, no descriptor open, no task running."""
    ends = ["eof", "reset", "error", "silent"]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            if line == b"error\n":
                raise RuntimeError
            writer.write(line)

    listener = app.listen_tcp(ANY, handle)
    monkeypatch.setattr(app.logger, "disabled", True)

    async def peer(end: str) -> None:
        reader, writer = await connect(listener)
        writer.write(f"{end}\n".encode())
        if end == "eof":
            assert await reader.readline() == b"eof\n"
            writer.write_eof()
            await reader.read()
        elif end == "reset":
            writer.transport.abort()
        elif end == "error":
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def use(client: Any) -> None:
        await peer("eof")
        before, tasks = len(os.listdir("/dev/fd")), len(asyncio.all_tasks())
        for _ in range(15):
            await asyncio.gather(*(peer(ends[n % 4]) for n in range(20)))
        await until(lambda: listener.connections == 0)
        await until(lambda: len(os.listdir("/dev/fd")) <= before)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)

    live(app, use)

    assert (listener.accepted, listener.failed) == (301, 75)


def test_services_of_a_mounted_app(app: Carboy) -> None:
    """They start and end with the outer one, which tells the server of them too."""
    from carboy.server.services import asked_for

    inner = Carboy("inner")
    listener = inner.listen_tcp(ANY, echo, name="inner echo")
    app.mount("/inner", inner)

    async def use(client: Any) -> bytes:
        return await ask(listener, b"hi\n")

    assert [each["name"] for each in asked_for(app)] == ["inner echo"]
    assert live(app, use) == b"HI\n"


def test_connection_whose_handler_has_ended_counts_until_its_peer_has_read() -> None:
    """Last words that nobody reads are a connection all the same, and stand against the limit."""
    app = Carboy(__name__)
    ended = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(16 * 1024 * 1024))
        ended.append(writer)

    listener = app.listen_tcp(ANY, handler, max_connections=1)

    async def use(client: Any) -> None:
        host, port = listener.url.partition("://")[2].rsplit(":", 1)
        peer = socket.create_connection((host, int(port)))
        with peer:
            await until(lambda: ended)
            await asyncio.sleep(0.05)
            assert listener.connections == 1

            with contextlib.suppress(ConnectionError):  # aborted
                await ask(listener, b"")
            assert listener.refused == 1

        await until(lambda: listener.connections == 0)

    live(app, use)
