"""Twisted's reactor on the app's event loop, and Twisted's protocol factories as services of the app.

Twisted has one reactor in a process, chosen when it is first imported. So it is installed when the app starts, on the
loop that is there then; until that moment nothing may import `twisted.internet.reactor`. Nothing here is loaded, and
Twisted is not imported, before an app asks for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
from collections.abc import AsyncIterator
from typing import Any

from ..core.errors import SetupError
from .connections import QUIET, Owner
from .work import Work


def is_factory(handler: Any) -> bool:
    """Whether a handler is one of Twisted's protocol factories; asked by its verbs, not by import."""
    return not isinstance(handler, type) and callable(getattr(handler, "buildProtocol", None))


async def reactor_lifespan(app: Any) -> AsyncIterator[None]:
    """Run Twisted's reactor on the app's loop: `app.lifespan(reactor_lifespan)`.

    Raises:
        SetupError: Twisted is missing, or another reactor was there first.
    """
    reactor = install(asyncio.get_running_loop())
    if not reactor.running:
        reactor.startRunning(installSignalHandlers=False)
    yield
    # What has asked for it hears of the end; the loop itself is the server's, and goes on.
    reactor.fireSystemEvent("shutdown")
    await asyncio.sleep(0)


def install(loop: asyncio.AbstractEventLoop) -> Any:
    """Make the reactor of this process one on *loop*, or find that it is.

    Raises:
        SetupError: Twisted is missing, or another reactor was there first.
    """
    there = sys.modules.get("twisted.internet.reactor")
    if there is not None:
        if getattr(there, "_asyncioEventloop", None) is not loop:
            raise SetupError(
                f"Twisted has a reactor already, {type(there).__name__}, that is not on this app's event loop. Something imported"
                " twisted.internet.reactor before the app started: import it inside the functions that use it. (Twisted has one"
                " reactor in a process, so an app that uses it cannot be started twice on different loops.)"
            )
        return there
    base: Any = _twisted("internet.base")
    kind: Any = _twisted("internet.asyncioreactor").AsyncioSelectorReactor

    class Reactor(kind):  # type: ignore[misc]  # Twisted is optional: its types are not known here
        """Twisted's own, but for its end: it does not stop a loop that it has not started."""

        def crash(self) -> None:
            base.ReactorBase.crash(self)

    reactor = Reactor(loop)
    _twisted("internet.main").installReactor(reactor)
    return reactor


def _twisted(module: str) -> Any:
    try:
        return importlib.import_module(f"twisted.{module}")
    except ImportError as error:
        raise SetupError("this app uses Twisted, which is not installed; `pip install twisted`") from error


class Port:
    """A listening socket of ours that Twisted accepts on."""

    def __init__(self, owner: Owner, bound: Any) -> None:
        reactor = _twisted("internet.reactor")
        # Twisted takes a copy of the descriptor.
        self.port = reactor.adoptStreamPort(bound.fileno(), bound.family, _wrapped(owner))
        bound.close()

    def close(self) -> None:
        self.port.stopListening()


def _wrapped(owner: Owner) -> Any:
    """The owner's factory; each protocol in an app context of its own, counted, and told when the app leaves."""
    policies = _twisted("protocols.policies")

    wrapper: Any = policies.ProtocolWrapper
    wrapping: Any = policies.WrappingFactory

    class Wrapped(wrapper):  # type: ignore[misc]  # Twisted is optional: its types are not known here
        """Between Twisted's transport and the guest's protocol; `open` holds it as it holds a `Connection`."""

        is_refused = is_lost = False

        def makeConnection(self, transport: Any) -> None:  # noqa: N802 - Twisted's name
            if owner.is_full():
                self.is_refused = True
                transport.abortConnection()
                return
            owner.accepted += 1
            owner.open.add(self)
            self.loop = asyncio.get_running_loop()
            self.heard = self.loop.time()
            self.work = Work(owner.app)
            self.context = contextvars.copy_context()
            self.context.run(self.work.open)
            self.call(super().makeConnection, transport)

        def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
            owner.received += len(data)
            self.heard = self.loop.time()
            self.call(super().dataReceived, data)

        def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
            self.is_lost = True
            if self.is_refused:
                return
            self.call(super().connectionLost, reason)
            self.loop.create_task(self.end(), context=self.context)

        def call(self, function: Any, *args: Any) -> None:
            try:
                self.context.run(function, *args)
            except Exception as error:
                owner.failed += 1
                owner.log_failure(error, self.getPeer())
                self.transport.abortConnection()

        async def end(self) -> None:
            try:
                await self.work.close(None)
            except Exception as error:
                owner.failed += 1
                owner.log_failure(error, None)
            finally:
                owner.open.discard(self)

        def leave(self) -> None:
            """Close after what is written, once the peer has been quiet; a protocol with `leaving()` ends by itself."""
            if self.is_lost:
                return
            wait = self.heard + QUIET - self.loop.time()
            leaving = getattr(self.wrappedProtocol, "leaving", None)
            if wait > 0:
                self.loop.call_later(wait, self.leave)
            elif leaving is not None:
                self.call(leaving)
            else:
                self.loseConnection()

        def give_up(self) -> None:
            if not self.is_lost:
                self.abortConnection()

    class Factory(wrapping):  # type: ignore[misc]  # as above
        protocol = Wrapped
        noisy = False

        def registerProtocol(self, protocol: Any) -> None:  # noqa: N802 - we keep our own list
            pass

        def unregisterProtocol(self, protocol: Any) -> None:  # noqa: N802
            pass

    return Factory(owner.handler)
