"""The FastCGI door: serves a WSGI callable to a web server, on a socket that already listens.

One event loop reads, writes and never calls the app; a fixed number of threads call the app and never touch a
socket. Between them:

1. A request comes to a thread only when its body is here, whole (in memory, then in a temporary file): a client
   that sends slowly holds no thread.
2. A thread that writes faster than the web server reads waits: a slow reader costs a bounded buffer, no more.
3. When the web server leaves or gives up, the thread's next write raises `ClientGone`, so the app's iterable is
   closed and the thread is free again.
4. An answer that breaks off ends the connection by a breach of the protocol: nothing else is seen by every web
   server. Only beside other requests on one connection is an application status of 1 all the notice there is.
5. A request that the web server does not bring in time, or too slowly, is answered with 408.

State that both sides see is in `_Exchange` and `_Link`, under `_Link.room`; all else belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import logging
import queue
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import HTTPException

from ..wire import fastcgi as wire
from ..wire.body import BodyBuffer, declared_length
from .cgi import APPS_OWN, CHUNK, ClientGone, Reply, answer, complete_environ, limit_of

__all__ = ["FastCGIServer", "environ_of"]

GRACE: Final = 0.5  # seconds that idle connections have at shutdown to bring what is on its way
LINGER: Final = 2.0  # seconds in which the web server should close after we have said our last
RETRY_ACCEPT: Final = 0.2  # seconds without accepting when the process is out of descriptors

log = logging.getLogger(__name__)


class FastCGIServer:
    """Serve a WSGI callable to nginx, Apache or any FastCGI web server.

    ```python
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("/run/board.sock")
    sock.listen(1024)
    server = FastCGIServer(app, sock)
    signal.signal(signal.SIGTERM, lambda *_: server.shutdown(30))
    server.serve_forever()
    ```

    Args:
        app: any WSGI callable; a Carboy app is one.
        sock: listening stream socket, unix or TCP; may be shared with other processes. Stays open.
        threads: calls of the app at one time.
        max_body: bytes; a longer body is answered with 413. None for no limit; by default what the app takes.
        body_timeout: seconds that a request on its way in may pause; then it is answered with 408. 0 for no limit.
        body_rate: least bytes a second of a body, once it has taken body_timeout. 0 for no limit.
        max_requests: requests in hand at one time, those that wait for a thread among them; then 503.
        max_params: bytes of parameters (so of headers) a request may have.
        write_buffer: bytes of answers that wait for the web server, per connection.
        write_timeout: seconds a full write_buffer may wait for the web server to read on; then the connection ends.
        prefix: path the app is mounted at, such as "/shop", where the web server does not split it off.
        multiprocess: what the app is told in `wsgi.multiprocess`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        sock: socket.socket,
        *,
        threads: int = 16,
        max_body: int | None = APPS_OWN,
        body_timeout: float = 20.0,
        body_rate: int = 1024,
        max_requests: int = 512,
        max_params: int = 131_072,
        write_buffer: int = 262_144,
        write_timeout: float = 60.0,
        prefix: str = "",
        multiprocess: bool = True,
    ) -> None:
        self.app = app
        self.sock = sock
        self.threads = threads
        self.max_body = limit_of(app) if max_body == APPS_OWN else max_body
        self.body_timeout = body_timeout
        self.body_rate = body_rate
        self.max_requests = max_requests
        self.max_params = max_params
        self.write_buffer = write_buffer
        self.write_timeout = write_timeout
        self.prefix = prefix.rstrip("/").encode().decode("latin-1")  # as environ has it
        self.multiprocess = multiprocess
        self.links: set[_Link] = set()
        self.is_draining = False
        self._in_hand = 0
        self._ready: queue.SimpleQueue[_Exchange | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timeout: float | None = None  # set by shutdown
        self._wake: asyncio.Event | None = None  # something that shutdown waits for has changed
        self._welcomes: set[asyncio.Task[Any]] = set()

    def serve_forever(self) -> bool:
        """Serve until `shutdown`; blocks the calling thread.

        Returns:
            Whether every request was finished; False if the shutdown's time ran out first.
        """
        return asyncio.run(self._serve())

    def shutdown(self, timeout: float = 30.0) -> None:
        """Ask `serve_forever` to accept no more, finish what runs, and return; returns at once.

        May be called from any thread, from a signal handler, before serving, and again with another timeout.

        Args:
            timeout: seconds that running requests have; then they are cut.
        """
        self._timeout = timeout
        self.post(self._look)

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Have the loop's thread call something."""
        loop = self._loop
        if loop is not None:
            # A thread of the app that outlives the server has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(call, *args)

    # the loop's thread ────────────────────────────────────────────────────────────

    async def _serve(self) -> bool:
        loop = self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        for number in range(self.threads):
            # Daemons: a view that hangs must not keep the process from ending when its time is up.
            threading.Thread(target=self._work, name=f"fastcgi-{number}", daemon=True).start()
        loop.add_reader(self.sock, self._accept)
        if self.body_timeout:
            self._inspect()
        try:
            while self._timeout is None:
                await self._changed()
            return await self._drain()
        finally:
            loop.remove_reader(self.sock)
            for link in tuple(self.links):
                link.abort()
            for _ in range(self.threads):
                self._ready.put(None)
            await asyncio.sleep(0)  # lets the transports close

    async def _drain(self) -> bool:
        assert self._loop is not None
        self.is_draining = True
        # Those that the kernel has taken are ours too; no more, as on a shared socket they may never stop coming.
        for _ in range(self.max_requests):
            if not self._accept():
                break
        self._loop.remove_reader(self.sock)
        quiet = self._loop.call_later(GRACE, self._dismiss)
        started = self._loop.time()
        try:
            while self.links or self._in_hand or self._welcomes:
                left = started + (self._timeout or 0.0) - self._loop.time()
                await asyncio.wait_for(self._changed(), max(left, 0.0))
        except TimeoutError:
            if self._in_hand:
                log.warning("shutdown: time is up; cutting %d requests", self._in_hand)
            return self._in_hand == 0
        finally:
            quiet.cancel()
        return True

    async def _changed(self) -> None:
        assert self._wake is not None
        await self._wake.wait()
        self._wake.clear()

    def _inspect(self) -> None:
        """End the requests that come too slowly, and look again: one timer for all of them, so a limit holds to a quarter."""
        assert self._loop is not None
        now = self._loop.time()
        for link in tuple(self.links):
            for exchange in tuple(link.exchanges.values()):
                if exchange.is_late(now):
                    exchange.refuse(408, "The request body came too slowly.")
        self._loop.call_later(min(1.0, self.body_timeout / 4), self._inspect)

    def _look(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _dismiss(self) -> None:
        for link in tuple(self.links):
            if link.is_done and not link.has_unread:
                link.leave()

    def _accept(self) -> bool:
        """Accept one connection; only one a turn, so that workers on the same socket share them evenly."""
        assert self._loop is not None
        # Each time: the mode is shared with other processes on the socket, and Python's socket.dup() sets it to blocking.
        self.sock.setblocking(False)
        try:
            connection, _ = self.sock.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return False  # another worker was quicker, or the peer has left again
        except OSError as exc:
            if exc.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                raise
            log.warning("cannot accept a connection: %s; trying again in %s s", exc, RETRY_ACCEPT)
            self._loop.remove_reader(self.sock)
            self._loop.call_later(RETRY_ACCEPT, self._resume_accepting)
            return False
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            # PERF: 40 ms a request otherwise, as the end record waits for the acknowledgement of the answer. asyncio sets it
            # only for sockets made with IPPROTO_TCP by name.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: _Link(self), connection))
        self._welcomes.add(task)
        task.add_done_callback(self._welcomed)
        return True

    def _welcomed(self, task: asyncio.Task[Any]) -> None:
        self._welcomes.discard(task)
        self._look()

    def _resume_accepting(self) -> None:
        if self._loop is not None and not self.is_draining:
            self._loop.add_reader(self.sock, self._accept)

    def now(self) -> float:
        """The loop's time, in seconds."""
        assert self._loop is not None
        return self._loop.time()

    def admit(self) -> bool:
        """Count one request more, if there is room for it."""
        if self._in_hand >= self.max_requests:
            return False
        self._in_hand += 1
        return True

    def release(self, exchange: _Exchange) -> None:
        """Count one request less."""
        self._in_hand -= 1
        exchange.body.close()
        self._look()

    def forget(self, link: _Link) -> None:
        self.links.discard(link)
        self._look()

    def hand_over(self, exchange: _Exchange) -> None:
        """Give a request whose body is here to the next free thread."""
        self._ready.put(exchange)

    # the app's threads ────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while (exchange := self._ready.get()) is not None:
            is_complete = False
            try:
                if not exchange.is_gone:
                    is_complete = answer(self.app, exchange.environ, exchange.write)
            except BaseException:  # SystemExit too: it may end a request, not a thread that others need
                log.exception("error in the app: %s %r", *exchange.name)
            self.post(exchange.finished, is_complete)


class _Exchange:
    """One request and its answer: born in the loop's thread, answered in one of the app's."""

    def __init__(self, link: _Link, request_id: int) -> None:
        self.link = link
        self.request_id = request_id
        self.environ: WSGIEnvironment = {}
        self.body = BodyBuffer()
        self.begun = self.heard = link.server.now()
        self.is_gone = False  # nobody wants the answer; set once, under link.room
        self.is_running = False  # a thread has it, or will

    @property
    def name(self) -> tuple[str, str]:
        """Method and path, for the log."""
        return self.environ.get("REQUEST_METHOD", "?"), self.environ.get("PATH_INFO", "?")

    # the loop's thread ────────────────────────────────────────────────────────────

    def begin(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the parameters.

        Raises:
            HTTPException: the request's length is nonsense, or above the limit.
        """
        server = self.link.server
        self.environ = environ_of(pairs, prefix=server.prefix)
        length = self.environ.get("CONTENT_LENGTH")
        self.body = BodyBuffer(server.max_body, declared_length([length] if length else []))

    def is_late(self, now: float) -> bool:
        """Whether the web server still owes a part of the request, and has had its time."""
        server = self.link.server
        taken = now - self.begun
        return not self.is_running and (
            now - self.heard > server.body_timeout or (taken > server.body_timeout and self.body.size < taken * server.body_rate)
        )

    def start(self) -> None:
        """The body has come; it is the app's turn.

        Raises:
            HTTPException: the body is shorter than declared.
        """
        server = self.link.server
        complete_environ(
            self.environ,
            body=self.body.finish(),
            errors=_Errors(self),
            size=self.body.size,
            multithread=server.threads > 1,
            multiprocess=server.multiprocess,
            run_once=False,
        )
        self.is_running = True
        server.hand_over(self)

    def refuse(self, code: int, text: str = "") -> None:
        """Answer without the app."""
        Reply(self.environ.get("REQUEST_METHOD", "GET"), self._send_now).refuse(code, text)
        self.finished(is_complete=True)

    def _send_now(self, data: bytes) -> None:
        self.link.transport.write(self.link.wire.stdout(self.request_id, data))

    def finished(self, is_complete: bool) -> None:
        self.link.end(self, is_complete)

    # the app's thread ─────────────────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        """Send a part of the answer; waits while the web server does not read.

        Raises:
            ClientGone: nobody reads it any more.
        """
        for at in range(0, len(data), CHUNK):
            self._write(self.link.send, data[at : at + CHUNK])

    def write_error(self, data: bytes) -> bool:
        """Send to the web server's error log; False if it can no longer be reached."""
        try:
            for at in range(0, len(data), CHUNK):
                self._write(self.link.send_error, data[at : at + CHUNK])
        except ClientGone:
            return False
        return True

    def _write(self, send: Callable[[_Exchange, bytes], None], piece: bytes) -> None:
        link = self.link
        with link.room:
            link.room.wait_for(lambda: self.is_gone or link.has_room)
            if self.is_gone:
                raise ClientGone
            link.waiting += len(piece)
        link.server.post(send, self, piece)


class _Link(asyncio.Protocol):
    """One connection from the web server; all but `room` and what it guards is the loop's thread's."""

    def __init__(self, server: FastCGIServer) -> None:
        self.server = server
        self.wire = wire.Connection(max_params=server.max_params)
        self.exchanges: dict[int, _Exchange] = {}
        self.is_leaving = False
        self.room = threading.Condition()
        self.waiting = 0  # bytes that threads gave us and the transport has not got
        self.is_paused = False  # the transport is full
        self._stall: asyncio.TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        return not self.is_paused and self.waiting < self.server.write_buffer

    # called by the transport ──────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.is_unix = self.transport.get_extra_info("socket").family == socket.AF_UNIX
        self.transport.set_write_buffer_limits(high=self.server.write_buffer)
        self.server.links.add(self)

    def data_received(self, data: bytes) -> None:
        if self.is_leaving:
            return
        self.wire.feed(data)
        try:
            for event in self.wire.events():
                if self.is_leaving:
                    break
                self._handle(event)
        except wire.ProtocolError as exc:
            log.warning("dropping a connection: %s", exc)
            self.abort()

    def eof_received(self) -> None:
        # nginx and Apache say "the client has left" by closing; nobody half-closes to be answered still.
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stall is not None:
            self._stall.cancel()
        for exchange in tuple(self.exchanges.values()):
            self._give_up(exchange)
        self.server.forget(self)

    def pause_writing(self) -> None:
        self._stall = asyncio.get_running_loop().call_later(self.server.write_timeout, self._stalled)
        with self.room:
            self.is_paused = True

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
        with self.room:
            self.is_paused = False
            self.room.notify_all()

    def _stalled(self) -> None:
        log.warning("dropping a connection: the web server has not read for %s s", self.server.write_timeout)
        self.abort()

    # requests ─────────────────────────────────────────────────────────────────────

    def _handle(self, event: wire.Event) -> None:
        match event:
            case wire.BeginRequest(request_id, role):
                self._begin(request_id, role)
            case wire.GetValues(names):
                limit = str(self.server.max_requests).encode()
                known = {b"FCGI_MAX_CONNS": limit, b"FCGI_MAX_REQS": limit, b"FCGI_MPXS_CONNS": b"1"}
                self.transport.write(self.wire.values({name: known[name] for name in names if name in known}))
            case wire.UnknownType(kind):
                self.transport.write(self.wire.unknown_type(kind))
            case wire.Abort(request_id):
                self._give_up(self.exchanges[request_id])
            case wire.Params() | wire.StdinChunk() | wire.StdinEnd():
                self._take_input(self.exchanges[event.request_id], event)

    def _begin(self, request_id: int, role: int) -> None:
        exchange = _Exchange(self, request_id)
        if role != wire.Role.RESPONDER:
            self._say(self.wire.end(request_id, status=wire.RequestStatus.UNKNOWN_ROLE))
        elif self.server.admit():
            self.exchanges[request_id] = exchange
        else:
            Reply("GET", exchange._send_now).refuse(503, "Too many requests wait here.")
            self._say(self.wire.end(request_id))

    def _take_input(self, exchange: _Exchange, event: wire.Params | wire.StdinChunk | wire.StdinEnd) -> None:
        exchange.heard = self.server.now()
        try:
            match event:
                case wire.Params(_, pairs):
                    exchange.begin(pairs)
                case wire.StdinChunk(_, data):
                    exchange.body.feed(data)
                case wire.StdinEnd():
                    exchange.start()
        except HTTPException as exc:
            exchange.refuse(exc.code or 400, exc.description or "")
        except OSError as exc:  # no room for the body on the disk, or no descriptor for its file
            log.error("cannot keep the body of %s %r: %s", *exchange.name, exc)
            exchange.refuse(503)

    def _give_up(self, exchange: _Exchange) -> None:
        with self.room:
            exchange.is_gone = True
            self.room.notify_all()
        if not exchange.is_running:
            self.end(exchange, is_complete=False)

    def send(self, exchange: _Exchange, data: bytes) -> None:
        self._sent(exchange, data, self.wire.stdout)

    def send_error(self, exchange: _Exchange, data: bytes) -> None:
        self._sent(exchange, data, self.wire.stderr)

    def _sent(self, exchange: _Exchange, data: bytes, build: Callable[[int, bytes], bytes]) -> None:
        # An error stream may be written to after the answer's end, by a thread that the view left behind.
        if not self.transport.is_closing() and self.exchanges.get(exchange.request_id) is exchange:
            self.transport.write(build(exchange.request_id, data))
        with self.room:
            self.waiting -= len(data)
            self.room.notify_all()

    def end(self, exchange: _Exchange, is_complete: bool) -> None:
        """End a request: completely, or so that the web server sees that it is not."""
        del self.exchanges[exchange.request_id]
        with self.room:
            exchange.is_gone = True
        self.server.release(exchange)
        aborted = self.wire.state(exchange.request_id) is wire.State.ABORTED
        if self.transport.is_closing():
            return
        if is_complete or aborted or self.exchanges:
            self._say(self.wire.end(exchange.request_id, 0 if is_complete else 1))
        else:
            self._say(self.wire.cut(exchange.request_id))

    def _say(self, end: bytes) -> None:
        """Write the end of a request; the connection's too, if it was the last."""
        if self.is_done:
            self.leave(end)
        else:
            self.transport.write(end)

    # leaving ──────────────────────────────────────────────────────────────────────

    @property
    def is_done(self) -> bool:
        """Nothing runs here, and nothing more is to come."""
        return not self.exchanges and (self.wire.is_done or self.server.is_draining)

    @property
    def has_unread(self) -> bool:
        """The kernel has something from the web server that we have not read yet."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def leave(self, last_words: bytes = b"") -> None:
        """Close after what is written, and these last words, have gone out.

        nginx reuses a kept connection as soon as it has read the end of an answer. So it must find it closed by then. Over
        TCP, the end of the answer and of the connection go in one segment. On a unix socket its writing fails from before
        that end on, and it takes another connection, but for a POST (NOTE: a few of those are 502 if a worker stops while
        its kept unix connections are never idle; without fastcgi_keep_conn, or over TCP, none are).
        """
        if self.is_leaving or self.transport.is_closing():
            return
        self.is_leaving = True
        if self.wire.expects_late_input:
            # To close on a body that we refused would reset a TCP connection, and take our answer with it.
            self.transport.write(last_words)
            self.transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER, self.transport.close)
            return
        with contextlib.suppress(OSError):  # it has left already
            if self.is_unix:
                self.transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
            elif hasattr(socket, "TCP_CORK"):
                self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        self.transport.write(last_words)
        self.transport.write_eof()
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


class _Errors(io.TextIOBase):
    """`wsgi.errors`: lines for the web server's log; for our own stderr when the request has ended."""

    encoding = "utf-8"

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text and not self._exchange.write_error(text.encode("utf-8", "backslashreplace")):
            sys.stderr.write(text)
        return len(text)


def environ_of(pairs: Iterable[tuple[bytes, bytes]], *, prefix: str = "") -> WSGIEnvironment:
    """Turn FastCGI parameters into the variables of PEP 3333: latin-1 strings, path split and percent-decoded.

    Where a name comes twice, as from nginx before 1.23 for repeated header lines, header values are joined as
    RFC 9110 §5.2 says; of other names the last counts, so that a `fastcgi_param` can overrule an included one.

    Args:
        prefix: latin-1 string; the path the app is mounted at, without a slash at its end.

    Example:
        >>> environ_of([(b"SCRIPT_NAME", b"/a/b")])
        {'SCRIPT_NAME': '', 'PATH_INFO': '/a/b'}
        >>> environ_of([(b"SCRIPT_NAME", b"/a/b")], prefix="/a")
        {'SCRIPT_NAME': '/a', 'PATH_INFO': '/b'}
    """
    environ: WSGIEnvironment = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in environ and name.startswith("HTTP_"):
            value = f"{environ[name]}{'; ' if name == 'HTTP_COOKIE' else ', '}{value}"
        environ[name] = value
    script, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    whole = script + path
    if not whole:
        # REQUEST_URI alone is as the client sent it: with query and percent-escapes.
        raw = environ.get("REQUEST_URI", "").partition("?")[0]
        whole = environ.get("DOCUMENT_URI") or unquote_to_bytes(raw.encode("latin-1")).decode("latin-1")
    if prefix and (whole == prefix or whole.startswith(f"{prefix}/")):
        script, path = prefix, whole[len(prefix) :]
    elif not path:
        # nginx and Apache, unless told to split, put the whole path into SCRIPT_NAME.
        script, path = "", whole
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = script, path
    return environ
