"""Which broker a configuration means: its library is looked for when the channels are set up, its connection comes later."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from ...core.errors import SetupError
from .broker import Broker
from .ledger import Ledger
from .settings import HOST, MEMORY, REDIS, Settings


def open_broker(name: str, settings: Settings) -> Callable[[Ledger], Broker]:
    """Give what makes a broker for an event loop.

    Args:
        name: the application's, which its messages are kept under.
        settings: say which broker.

    Raises:
        SetupError: its library is not installed.
    """
    kind = settings.kind
    if kind == MEMORY:
        from .memory import MemoryBroker

        return MemoryBroker
    if kind == HOST:
        from .host.member import HostBroker

        return lambda ledger: HostBroker(name, settings)
    if kind == REDIS:
        _need("redis", "redis", settings)
        from .redis import RedisBroker

        return lambda ledger: RedisBroker(name, settings)
    _need("psycopg", "postgres", settings)
    from .postgres import PostgresBroker

    return lambda ledger: PostgresBroker(name, settings)


def _need(library: str, extra: str, settings: Settings) -> None:
    if importlib.util.find_spec(library) is None:
        scheme = (settings.url or "").partition(":")[0]
        raise SetupError(f"CHANNELS_URL begins with {scheme}:, and {library} is not installed: pip install 'carboy[{extra}]'")
