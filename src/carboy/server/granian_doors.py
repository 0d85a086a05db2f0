"""Granian's part in a worker: HTTP parsed in Rust, handed to ASGI, RSGI or WSGI callables.

The only file that knows granian's private names (2.8.7; `tests/server/test_granian_doors.py` holds them version by
version). From granian comes the parsing and the scheduling on the loop; sockets, signals, processes are ours.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Literal

from granian._futures import _new_cbscheduler
from granian._granian import ASGIWorker, RSGIWorker, SocketHolder, WorkerSignal, WSGIWorker
from granian.http import HTTP1Settings, HTTP2Settings
from granian.wsgi import _callback_wrapper as wsgi_runner

from ..wire.asgi import ASGIApp
from .counting import CLOSE, WSGIApp, counted
from .errors import WorkerFailed
from .gate import Gate
from .machine import descriptor_limit
from .options import Options
from .takeover import can_take_over
from .tally import Tally

Door = Literal["asgi", "rsgi", "wsgi"]

#: Threads for `def` applications on the WSGI door. Measured: 1 to 16 cost the same a request, hundreds cost more.
WSGI_THREADS = 16
# Any: granian's stubs tell other constructors than the ones there are.
_HOLDER: Any = SocketHolder
_WORKERS: dict[Door, Any] = {"asgi": ASGIWorker, "rsgi": RSGIWorker, "wsgi": WSGIWorker}

#: Rust's own pool for files; its default.
RUST_BLOCKING_THREADS = 512

#: HTTP/2: requests at once on a connection, and bytes of each answer that wait for its reader. PERF: 4 clients that ask for all
#: the answers of 10 MB they may, and read none: 59 MB of growth, with the smaller pieces of `flight.py`; granian's defaults: 734.
MOST_STREAMS, STREAM_BUFFER = 100, 64 * 1024

CLOSE_BYTES = (b"connection", b"close")


def _tls(options: Options) -> tuple[bool, str | None, str | None, str | None, str, str | None, list[str], bool]:
    if not options.tls_cert or not options.tls_key:
        return False, None, None, None, "tls1.2", None, [], False
    try:
        # Tried here, because granian ends the process without a word about a bad key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_cert, options.tls_key, options.tls_password)
    except (ssl.SSLError, OSError) as error:
        raise WorkerFailed(f"the TLS files {options.tls_cert} and {options.tls_key} do not work together: {error}") from error
    return (
        True,
        options.tls_cert,
        options.tls_key,
        options.tls_password,
        f"tls{options.tls_min}",
        options.tls_client_ca,
        [],
        options.tls_client_ca is not None,
    )


def connections(options: Options) -> int:
    """Most connections a worker holds open: never so many that no descriptor is left for the application."""
    limit = descriptor_limit()
    return max(1, min(options.backpressure, limit - max(32, limit // 10)))


class HTTPServer:
    """Granian serving one application in this process, on the gate's descriptor.

    `begin` starts accepting; `end` (from any thread) ends gracefully: no more accepting, answers in flight are
    finished, idle connections closed; then `ended` is called, from one of granian's threads.
    """

    def __init__(self, door: Door, gate: Gate, options: Options, python_threads: int) -> None:
        self.signal = WorkerSignal()
        unix = gate.listening.family == socket.AF_UNIX
        holder = _HOLDER(gate.fd, unix, options.backlog)
        # Where connections are taken over, granian is to see a handshake as any request.
        websockets = () if door == "wsgi" else (options.websockets and not can_take_over(options, gate.listening),)
        self.worker = _WORKERS[door](
            1,
            (None, holder),
            None,  # no metrics pipe
            options.runtime_threads,
            RUST_BLOCKING_THREADS,
            python_threads,
            30,  # seconds an idle Python thread of granian lives
            connections(options),
            options.http,
            HTTP1Settings(
                header_read_timeout=int(options.header_timeout * 1000),
                keep_alive=options.keep_alive,
                max_buffer_size=options.header_buffer,
                pipeline_flush=False,
            ),
            HTTP2Settings(
                # A peer that does not answer a ping is gone; nothing else ends an idle connection of this protocol.
                keep_alive_interval=max(1, int(options.header_timeout * 1000)) if options.header_timeout else None,
                keep_alive_timeout=max(1, int(options.header_timeout)),
                max_headers_size=options.header_buffer,
                max_concurrent_streams=MOST_STREAMS,
                max_send_buffer_size=STREAM_BUFFER,
            )
            if options.http != "1"
            else None,
            *websockets,
            None,  # no static files: the application's business
            *_tls(options),
            (None, None),  # no metrics
        )
        self.serve = self.worker.serve_mtr_uds if unix else self.worker.serve_mtr

    def begin(self, callback: Callable[..., Any], loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
        self.signal.add_cb(ended)
        scheduler = _new_cbscheduler(loop, callback, impl_asyncio=True)  # type: ignore[no-untyped-call]
        self.serve(scheduler, loop, self.signal)

    def end(self) -> None:
        self.signal.set()


class LoopDoor:
    """A door whose requests are tasks on this process's event loop."""

    def __init__(self, door: Door, gate: Gate, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.over = asyncio.Event()
        self.server = HTTPServer(door, gate, options, 1)
        self.end = self.server.end

    def begin(self, callback: Callable[..., Any]) -> None:
        def ended() -> None:
            self.loop.call_soon_threadsafe(self.over.set)

        self.server.begin(callback, self.loop, ended)


def asgi_callback(app: ASGIApp, state: dict[str, Any], root_path: str, tally: Tally) -> Callable[[Any], Any]:
    """Make the coroutine function that granian schedules for each request: counts, calls, reports the end."""

    async def request(watcher: Any) -> None:
        tally.started += 1
        protocol = watcher.proto
        scope = watcher.scope
        scope.update(root_path=root_path, state=state.copy())
        try:
            await app(scope, protocol.receive, closing_send(protocol.send, scope) if tally.closing and tally.closes() else protocol.send)
        except BaseException as error:  # noqa: BLE001 - reported to granian whatever it is
            # Granian answers 500, or cuts the stream if it has begun; and logs.
            watcher.err(error)
            return
        finally:
            tally.answered += 1
        watcher.done()

    return request


def closing_send(send: Callable[[Any], Any], scope: Any) -> Callable[[Any], Any]:
    """Say `Connection: close` with the answer: the client's next request goes to another worker."""
    if scope["http_version"] == "2":
        # RFC 9113 §8.2.2 forbids the header; granian says GOAWAY when it ends.
        return send

    def closing(event: Any) -> Any:
        # Not of a handshake's answer, whose `Connection: upgrade` is what the client waits for.
        if event["type"] == "http.response.start" and event["status"] != 101:
            kept = [each for each in event.get("headers", ()) if bytes(each[0]).lower() != b"connection"]
            event = {**event, "headers": [*kept, CLOSE_BYTES]}
        return send(event)

    return closing


def asgi_door(gate: Gate, options: Options, loop: asyncio.AbstractEventLoop) -> LoopDoor:
    return LoopDoor("asgi", gate, options, loop)


def rsgi_door(gate: Gate, options: Options, loop: asyncio.AbstractEventLoop) -> LoopDoor:
    return LoopDoor("rsgi", gate, options, loop)


def rsgi_callback(app: Callable[[Any, Any], Any], tally: Tally) -> Callable[[Any], Any]:
    async def request(watcher: Any) -> None:
        tally.started += 1
        protocol = ClosingProtocol(watcher.proto) if tally.closing and watcher.scope.http_version != "2" and tally.closes() else watcher.proto
        try:
            await app(watcher.scope, protocol)
        except BaseException as error:  # noqa: BLE001 - reported to granian whatever it is
            watcher.err(error)
            return
        finally:
            tally.answered += 1
        watcher.done()

    return request


class ClosingProtocol:
    """An RSGI protocol whose answers close their connection; only made where a worker leaves or gives connections away."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self) -> Any:
        return self.inner()

    def __aiter__(self) -> Any:
        return self.inner.__aiter__()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not name.startswith("response_"):
            return found

        def respond(status: int, headers: Iterable[tuple[str, str]], *rest: Any) -> Any:
            return found(status, [*(each for each in headers if each[0].lower() != "connection"), CLOSE], *rest)

        return respond


def serve_wsgi(gate: Gate, options: Options, loop: asyncio.AbstractEventLoop) -> HTTPServer:
    return HTTPServer("wsgi", gate, options, options.threads or WSGI_THREADS)


def wsgi_callback(app: WSGIApp, root_path: str, tally: Tally) -> Callable[..., Any]:
    runner: Callable[..., Any] = wsgi_runner(counted(app, tally), {"url_path_prefix": root_path or None}, None)
    return runner
