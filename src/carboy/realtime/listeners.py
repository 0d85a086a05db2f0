"""Protocols beside HTTP: where an app listens, with what, and how that starts and ends with the app.

Under `carboy run` the main process has bound the sockets and every worker listens on the same ones, so that a reload
loses no connection; under another server each process binds its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from ..core.errors import SetupError
from ..gateways.sockets import Address, Kind, open_socket, remove_own_path, url_of
from ..gateways.sockets import inode as inode_of
from ..pipeline.step import is_async, origin
from . import twisted
from .connections import Connection, Datagrams, ProtocolConnection, StreamConnection
from .tasks import CLEANUP, time_left

#: A server context, or the files of a certificate and its key, and the key's password.
TLS = ssl.SSLContext | tuple[str, str] | tuple[str, str, str]

#: Key in the lifespan's state: descriptors that the server has bound for us, by the address's key.
SOCKETS = "carboy.sockets"
#: Connections that one worker holds open at once, unless told.
MAX_CONNECTIONS = 10_000
#: Seconds a TLS client has for its handshake.
HANDSHAKE = 10.0
#: Seconds between two log lines about refused connections.
REFUSED_EVERY = 60.0

log = logging.getLogger("carboy.server.services")


class Listener:
    """One service: an address, a handler, limits, and what is counted in this process.

    Attributes:
        name: for people and the log.
        address: where it was told to listen.
        url: where it listens; the same, but for a port that the system chose.
        accepted, refused, failed: connections (datagrams, for UDP) since the start.
        received: bytes from peers.
        open: connections that are open now.
    """

    def __init__(
        self,
        app: Any,
        address: Address,
        handler: Callable[..., Any],
        tls: TLS | None,
        max_connections: int,
        idle_timeout: float | None,
    ) -> None:
        self.app = app
        self.address = address
        self.name = address.name
        self.handler = handler
        self.place = origin(handler)
        self.tls = tls
        self.max_connections = max_connections
        self.idle_timeout = idle_timeout
        self.url = address.url
        self.accepted = self.refused = self.failed = self.received = 0
        self.open: set[Any] = set()
        self._server: asyncio.Server | asyncio.DatagramTransport | twisted.Port | None = None
        self._owned: tuple[int, int] | None = None
        self._told_refused: float | None = None

    @property
    def connections(self) -> int:
        """Connections open in this process."""
        return len(self.open)

    def is_full(self) -> bool:
        """Whether no connection more is taken; counts the one that is refused."""
        if len(self.open) < self.max_connections:
            return False
        self.refused += 1
        now = time.monotonic()
        if self._told_refused is None or now - self._told_refused >= REFUSED_EVERY:
            self._told_refused = now
            self.app.logger.warning(
                "The service %s has %d connections open, its limit (max_connections); more are closed at once", self.name, self.max_connections
            )
        return True

    def log_failure(self, error: BaseException, peer: Any) -> None:
        self.app.logger.error("The service %s (%s) failed with the peer %s", self.name, self.place, peer, exc_info=error)

    # -- start and stop ---------------------------------------------------------------------------------

    async def start(self, bound: socket.socket | None) -> None:
        """Listen.

        Args:
            bound: the socket to listen on; None to make one.

        Raises:
            CannotListen: there is none to be had.
            SetupError: the TLS files cannot be used.
        """
        context = self.tls_context()
        if bound is None:
            bound = open_socket(self.address)
            if self.address.kind == "unix":
                self._owned = inode_of(self.address.path)
            self.url = url_of(bound, self.address.kind)
            log.info("%s listens at %s", self.name, self.url)
        self.url = url_of(bound, self.address.kind)
        loop = asyncio.get_running_loop()
        if twisted.is_factory(self.handler):
            self._server = twisted.Port(self, bound)
            return
        if self.address.kind == "udp":
            self._server, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self), sock=bound)
            return
        kind: type[Connection] = StreamConnection if is_async(self.handler) else ProtocolConnection
        extra: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE} if context is not None else {}
        if self.address.kind == "unix":
            self._server = await loop.create_unix_server(lambda: kind(self), sock=bound, backlog=self.address.backlog, **extra)
        else:
            self._server = await loop.create_server(lambda: kind(self), sock=bound, backlog=self.address.backlog, **extra)

    def tls_context(self) -> ssl.SSLContext | None:
        if self.tls is None or isinstance(self.tls, ssl.SSLContext):
            return self.tls
        certificate, key, *password = self.tls
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(certificate, key, *password)
        except (ssl.SSLError, OSError) as error:
            raise SetupError(f"the TLS files {certificate} and {key} of the service {self.name} cannot be used: {error}") from error
        return context

    def leave(self) -> None:
        """Accept nothing more; tell each connection that its input is over, once it is quiet."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._owned is not None:
            remove_own_path(self.address.path, self._owned)
            self._owned = None
        for connection in self.peers():
            connection.leave()

    def give_up(self) -> int:
        """Cut off what is still open; return how many."""
        left = sum(not each.is_lost for each in self.peers())
        for connection in self.peers():
            connection.give_up()
        return left

    def peers(self) -> list[Any]:
        """What is open, but for the ends of datagrams."""
        return [each for each in self.open if not isinstance(each, asyncio.Task)]


class Listeners:
    """The services of one app: a part of its lifespan."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.all: list[Listener] = []
        self._farewell: asyncio.Task[None] | None = None
        app.lifespan_state.parts.append(self)

    def __iter__(self) -> Any:
        return iter(self.all)

    def __getitem__(self, name: str) -> Listener:
        for each in self.all:
            if each.name == name:
                return each
        raise KeyError(name)

    def add(
        self,
        kind: Kind,
        where: str | tuple[str, int] | os.PathLike[str],
        handler: Callable[..., Any],
        *,
        name: str | None,
        tls: TLS | None = None,
        backlog: int = 1024,
        mode: int = 0o660,
        max_connections: int = MAX_CONNECTIONS,
        idle_timeout: float | None = None,
        reuse_port: bool = False,
    ) -> Listener:
        """Declare a service; what `app.listen_tcp`, `listen_udp` and `listen_unix` do.

        Raises:
            SetupError: the address, the handler or a limit is none, two services are the same, or the app runs already.
        """
        if twisted.is_factory(handler):
            if kind == "udp" or tls is not None or idle_timeout is not None:
                raise SetupError(f"listen_{kind} takes a factory of Twisted's for streams only, and leaves TLS and time-outs to Twisted")
            if twisted.reactor_lifespan not in self.app.lifespan_functions:
                self.app.lifespan_functions.append(twisted.reactor_lifespan)
        else:
            must_be_handler(kind, handler)
        if kind == "unix":
            address = Address("unix", path=os.path.abspath(os.fspath(where)), name=name or "", backlog=backlog, mode=mode)  # type: ignore[arg-type]  # a path
        else:
            host, port = parse(kind, where)
            address = Address(kind, host, port, name=name or "", backlog=backlog, reuse_port=reuse_port)
        if not address.name:
            address = Address.from_json({**address.to_json(), "name": address.url})
        if max_connections < 1 or (idle_timeout is not None and idle_timeout <= 0):
            raise SetupError(f"the service {address.name}: max_connections is at least 1, idle_timeout a number of seconds above 0, or None")
        for other in self.all:
            if other.name == address.name or other.address.key == address.key:
                raise SetupError(
                    f"two services are {address.name} at {address.url} ({other.place} and {origin(handler)}); give one of them another"
                    " address, and another name="
                )
        if self.app.lifespan_state.is_started:
            raise SetupError(f"the service {address.name} is declared while the application runs; declare it before the start")
        listener = Listener(self.app, address, handler, tls, max_connections, idle_timeout)
        self.all.append(listener)
        return listener

    async def start(self) -> None:
        """Listen everywhere; nothing is left open if one cannot."""
        state = self.app.lifespan_state
        given = state.told.get(SOCKETS) or {}
        try:
            for listener in self.all:
                fd = given.get(listener.address.key)
                await listener.start(socket.socket(fileno=os.dup(fd)) if fd is not None else None)
        except BaseException:
            for listener in self.all:
                listener.leave()
            raise
        self._farewell = asyncio.get_running_loop().create_task(self._leave_when(state.leaving))

    async def _leave_when(self, leaving: asyncio.Event) -> None:
        await leaving.wait()
        for listener in self.all:
            listener.leave()

    async def stop(self) -> None:
        """Let what is open come to its end, as long as there is time; cut the rest off."""
        for listener in self.all:
            listener.leave()
        if self._farewell is not None:
            self._farewell.cancel()
        await self._empty(time_left(self.app))
        for listener in self.all:
            left = listener.give_up()
            if left:
                self.app.logger.warning("The service %s: %d connections were cut off when the time was up", listener.name, left)
        await self._empty(CLEANUP)

    async def _empty(self, within: float) -> None:
        """Wait until no connection is open, or the time is up."""
        until = time.monotonic() + within
        while any(listener.open for listener in self.all) and time.monotonic() < until:  # noqa: ASYNC110 - many ends, looked at seldom
            await asyncio.sleep(0.02)


def parse(kind: str, where: Any) -> tuple[str, int]:
    """Split "host:port", "[::1]:port", ":port" (every address), or take the pair.

    Raises:
        SetupError: it is none of them.
    """
    host: Any
    port: Any
    if isinstance(where, str):
        host, colon, port = where.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "0.0.0.0"  # noqa: S104 - asked for in so many words
        if not colon:
            host = ""
    else:
        host, port = where if isinstance(where, tuple) and len(where) == 2 else ("", None)
    with contextlib.suppress(TypeError, ValueError):
        port = int(port)
        if host and 0 <= port <= 65535:
            return str(host), port
    raise SetupError(f"listen_{kind} takes 'host:port' or (host, port), with a port from 0 to 65535, not {where!r}")


def must_be_handler(kind: str, handler: Any) -> None:
    """Refuse what can handle no connection.

    Raises:
        SetupError: the text says what can.
    """
    what = (
        "an asyncio.DatagramProtocol class, or a function without arguments that makes one"
        if kind == "udp"
        else "a coroutine function `async def handle(reader, writer)`, an asyncio.Protocol class, a function"
        " without arguments that makes one, or a factory of Twisted's"
    )
    if not callable(handler):
        raise SetupError(f"listen_{kind} takes {what}, not {handler!r}")
    if is_async(handler):
        if kind == "udp":
            raise SetupError(f"listen_udp takes {what}: a datagram has no stream to read; {origin(handler)} is a coroutine function")
        return
    try:
        inspect.signature(handler).bind()
    except TypeError as error:
        raise SetupError(f"listen_{kind} takes {what}; {origin(handler)} is called without arguments, and: {error}") from error
    except ValueError:
        return  # a builtin that tells no signature
