"""One connection of a protocol beside HTTP: its app context, its counts, its limits, and its end.

A service brings asyncio's own kinds of handler: a protocol, or a coroutine function of a stream's reader and writer.
What stands here is between the transport and that handler, and speaks no protocol itself.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, cast

from .work import Work

#: A peer that has sent nothing for so many seconds is not in the middle of something: what it has asked for can be
#: answered, and the connection ended, when the app leaves.
QUIET = 0.25


#: The connection whose code runs here.
_connection: ContextVar[Connection] = ContextVar("carboy.connection")


class Owner(Protocol):
    """What a connection needs of the service it belongs to."""

    app: Any
    handler: Callable[..., Any]
    max_connections: int
    idle_timeout: float | None
    accepted: int
    refused: int
    failed: int
    received: int
    open: set[Any]

    def is_full(self) -> bool:
        """Whether no connection more is taken; counts the one that is refused."""
        ...

    def log_failure(self, error: BaseException, peer: Any) -> None: ...


class Connection(asyncio.Protocol):
    """A connection in an app context of its own; subclasses know the handler's kind."""

    #: The handler's protocol; None until it is made, and for good where that failed.
    inner: Any = None
    transport: asyncio.Transport
    is_refused = False
    #: The handler was told that there is no more input.
    is_ended = False
    is_lost = False
    is_torn_down = False
    #: What the handler said to the end of its input: that it closes the connection itself.
    keeps_open = False

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.loop = asyncio.get_running_loop()
        self.work = Work(owner.app)
        #: What the handler's code runs in, whoever calls it.
        self.context = contextvars.copy_context()
        #: When the peer was last heard.
        self.heard = self.loop.time()
        self.timer: asyncio.TimerHandle | None = None
        self.closing: asyncio.Task[None] | None = None

    # -- the transport's calls ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        owner = self.owner
        if owner.is_full():
            self.is_refused = True
            self.transport.abort()
            return
        owner.accepted += 1
        owner.open.add(self)
        self.context.run(self.open)
        if owner.idle_timeout is not None:
            self.timer = self.loop.call_later(owner.idle_timeout, self.look_for_idleness)
        self.call(self.begin)

    def open(self) -> None:
        _connection.set(self)
        self.work.open()

    def begin(self) -> None:
        """Make `inner` and tell it of the transport, in the connection's context."""
        self.inner = self.make_inner()
        self.inner.connection_made(self.transport)

    def make_inner(self) -> asyncio.BaseProtocol:
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        self.owner.received += len(data)
        if self.inner is not None and not self.is_ended:
            self.call(self.pass_on, data)

    def pass_on(self, data: bytes) -> None:
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        if self.inner is not None and not self.is_ended:
            self.is_ended = True
            self.keeps_open = bool(self.call(self.inner.eof_received))
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.is_refused:
            return
        if self.timer is not None:
            self.timer.cancel()
        if self.inner is not None:
            self.call(self.inner.connection_lost, exc)
        self.after_loss()
        self.forget()

    def after_loss(self) -> None:
        """Close the work: nothing more is called in it."""
        self.close_work(None)

    def pause_writing(self) -> None:
        if self.inner is not None:
            self.call(self.inner.pause_writing)

    def resume_writing(self) -> None:
        if self.inner is not None:
            self.call(self.inner.resume_writing)

    # -- in the handler's name ------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the handler's code; its error ends this connection, and no other."""
        try:
            # A handler that writes is told by its transport, within its own call, to pause.
            if _connection.get(None) is self:
                return function(*args)
            return self.context.run(function, *args)
        except Exception as error:
            self.fail(error)
            return None

    def fail(self, error: BaseException) -> None:
        self.owner.failed += 1
        self.owner.log_failure(error, self.transport.get_extra_info("peername"))
        self.transport.close()

    def close_work(self, error: BaseException | None) -> None:
        if self.closing is None:
            self.closing = self.loop.create_task(self.teardown(error), context=self.context)

    async def teardown(self, error: BaseException | None) -> None:
        try:
            await self.work.close(error)
        except Exception as raised:
            self.owner.failed += 1
            self.owner.log_failure(raised, None)
        finally:
            self.is_torn_down = True
            self.forget()

    def forget(self) -> None:
        """Count it no more once both ends are over: a handler's last words may wait for a peer that does not read."""
        if self.is_lost and self.is_torn_down:
            self.owner.open.discard(self)

    # -- limits and leaving ---------------------------------------------------------------------------

    def look_for_idleness(self) -> None:
        """Close a connection whose peer says nothing; one that does not read its answers either is cut."""
        limit = self.owner.idle_timeout or 0.0
        left = self.heard + limit - self.loop.time()
        if left > 0:
            self.timer = self.loop.call_later(left, self.look_for_idleness)
        elif self.transport.get_write_buffer_size():
            # Nobody reads; waiting for that would let a handler write on and on to a transport that is closing.
            self.transport.abort()
        else:
            self.transport.close()

    def leave(self) -> None:
        """Tell the handler that no more input comes, once the peer has been quiet for a moment."""
        if self.is_ended or self.transport.is_closing():
            return
        wait = self.heard + QUIET - self.loop.time()
        if wait > 0:
            self.loop.call_later(wait, self.leave)
            return
        # What a half-closed peer is to a stream: the handler reads what is there, answers it, and ends.
        if not self.eof_received():
            self.transport.close()

    def give_up(self) -> None:
        """The time is over."""
        self.transport.abort()


class ProtocolConnection(Connection):
    """A connection that an `asyncio.Protocol` of the guest's handles, or a `BufferedProtocol`."""

    def make_inner(self) -> asyncio.BaseProtocol:
        inner: asyncio.BaseProtocol = self.owner.handler()
        if isinstance(inner, asyncio.BufferedProtocol):
            self.pass_on = self.fill  # type: ignore[method-assign]  # by kind, once
        return inner

    def fill(self, data: bytes) -> None:
        """Hand data to a protocol that has a buffer of its own."""
        inner: Any = self.inner
        while data:
            buffer = inner.get_buffer(len(data))
            size = min(len(buffer), len(data))
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:size] = data[:size]
            inner.buffer_updated(size)
            data = data[size:]


class StreamConnection(Connection):
    """A connection that a coroutine function handles: `async def handle(reader, writer)`."""

    task: asyncio.Task[None] | None = None

    def make_inner(self) -> asyncio.BaseProtocol:
        self.reader = asyncio.StreamReader(loop=self.loop)
        return asyncio.StreamReaderProtocol(self.reader, loop=self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.is_refused or self.transport.is_closing():
            return
        writer = asyncio.StreamWriter(self.transport, self.inner, self.reader, self.loop)
        self.task = self.loop.create_task(self.follow(writer), context=self.context)

    async def follow(self, writer: asyncio.StreamWriter) -> None:
        """Run the handler from end to end, then let what it has written go out."""
        error: BaseException | None = None
        try:
            await self.owner.handler(self.reader, writer)
        except asyncio.CancelledError as raised:
            error = raised
        except (ConnectionError, asyncio.IncompleteReadError) as raised:
            error = raised
            # That the peer has gone, or we have ended its input, is no failure of the handler's.
            if not self.is_lost and not self.is_ended:
                self.fail(raised)
        except Exception as raised:
            error = raised
            self.fail(raised)
        finally:
            writer.close()
            self.close_work(error)

    def after_loss(self) -> None:
        # The handler finds out by reading or writing; its end is the work's.
        if self.task is None:
            self.close_work(None)

    def give_up(self) -> None:
        super().give_up()
        if self.task is not None:
            self.task.cancel()


class Datagrams(asyncio.DatagramProtocol):
    """A UDP endpoint: each datagram is a piece of work, with an app context of its own.

    Args:
        owner: the service; its handler makes the `asyncio.DatagramProtocol`.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.inner: asyncio.DatagramProtocol = owner.handler()
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.inner.connection_made(transport)  # type: ignore[arg-type]  # a datagram transport, whatever its class

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.owner.accepted += 1
        self.owner.received += len(data)
        context = contextvars.copy_context()
        work = Work(self.owner.app)
        context.run(work.open)
        error: Exception | None = None
        try:
            context.run(self.inner.datagram_received, data, addr)
        except Exception as raised:
            error = raised
            self.owner.failed += 1
            self.owner.log_failure(raised, addr)
        closing = self.loop.create_task(self.teardown(work, error), context=context)
        self.owner.open.add(closing)
        closing.add_done_callback(self.owner.open.discard)

    async def teardown(self, work: Work, error: Exception | None) -> None:
        try:
            await work.close(error)
        except Exception as raised:
            self.owner.failed += 1
            self.owner.log_failure(raised, None)

    def error_received(self, exc: Exception) -> None:
        self.inner.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()
