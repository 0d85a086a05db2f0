"""The sockets of services beside HTTP, which the application asks for and all workers share.

A worker that has loaded the application says where it wants to listen; the main process binds, once for all workers and
releases, and hands the descriptors over with the listening socket of HTTP. So nothing that waits in a queue is lost with
a worker, and a port that is taken is said before anything is served.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core.lifespan import LEAVING
from ..gateways.sockets import Address, CannotListen, inode, open_socket, url_of
from .errors import BindError
from .listen import Listener

log = logging.getLogger("carboy.server")

#: Key in the lifespan's state: descriptors by the address's key.
SOCKETS = "carboy.sockets"
#: What tells these from other descriptors that a worker gets.
PREFIX = "service "


class ServiceSockets:
    """In the main process: what was bound, by the address's key."""

    def __init__(self) -> None:
        self.open: dict[str, Listener] = {}

    def provide(self, wanted: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        """Bind what is wanted and not bound yet; return the descriptors to share, by name.

        Raises:
            BindError: one cannot be had; what was bound before stays.
        """
        shared = {}
        for each in wanted:
            address = Address.from_json(dict(each))
            listener = self.open.get(address.key)
            if listener is None:
                listener = self.open[address.key] = _listen(address)
                log.info("%s listens at %s", address.name, listener.url)
            shared[PREFIX + address.key] = listener.socket.fileno()
        return shared

    def keep(self, wanted: Iterable[Mapping[str, Any]]) -> None:
        """Close what no release asks for any more."""
        keys = {Address.from_json(dict(each)).key for each in wanted}
        for key in self.open.keys() - keys:
            listener = self.open.pop(key)
            log.info("nothing listens at %s any more", listener.url)
            listener.close()

    def waiting(self) -> int:
        """Connections in the queues."""
        return sum(each.waiting() for each in self.open.values())

    def refuse_new(self) -> None:
        for each in self.open.values():
            each.refuse_new()

    def close(self) -> None:
        for each in self.open.values():
            each.close()
        self.open.clear()


def _listen(address: Address) -> Listener:
    try:
        bound = open_socket(address)
    except CannotListen as error:
        raise BindError(f"the service {address.name}: {error}") from error
    path = address.path or None
    # A datagram has no connection whose first packet could be told from the others: nothing is switched off there.
    return Listener(bound, url_of(bound, address.kind), path, inode(path) if path else None, borrowed=address.kind == "udp")


def asked_for(app: Any) -> list[dict[str, Any]]:
    """In a worker: the addresses at which an application, and those mounted in it, want to listen, as JSON can carry them."""
    if not (hasattr(app, "asgi_app") and hasattr(app, "__dict__")):
        return []
    # `vars`: an application that has no services has not made their list.
    found = [each.address.to_json() for each in vars(app).get("listeners", ())]
    return found + [address for mount in vars(app).get("mounts", ()) for address in asked_for(mount.target)]


def split(shared: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """What a worker was handed: `(services' descriptors by the address's key, all others by name)`."""
    services = {name.removeprefix(PREFIX): fd for name, fd in shared.items() if name.startswith(PREFIX)}
    return services, {name: fd for name, fd in shared.items() if not name.startswith(PREFIX)}


class Leaving(asyncio.Event):
    """Set when the worker begins to leave; knows how long that may take.

    Args:
        deadline: gives the moment at which the worker ends whatever goes on, `time.monotonic` seconds; None before it leaves.
        close_code: gives the code that a WebSocket is closed with: 1001 if the server stops, 1012 if this worker is replaced.
    """

    def __init__(self, deadline: Callable[[], float | None], close_code: Callable[[], int]) -> None:
        super().__init__()
        self.deadline = deadline
        self.close_code = close_code

    def time_left(self) -> float | None:
        """Seconds until the worker ends whatever goes on; None while it does not leave."""
        deadline = self.deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())


def told(leaving: Leaving, sockets: Mapping[str, int]) -> dict[str, Any]:
    """What an application's lifespan is told of its server."""
    return {LEAVING: leaving, SOCKETS: dict(sockets)}
