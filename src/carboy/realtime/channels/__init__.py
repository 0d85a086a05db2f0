"""Channels: publish/subscribe with history and presence. `app.channels` is the door to it.

    channels      what users call, on any event loop, and the same for `def` code
    node          one event loop's share: order, gaps, repetitions, fan-out to its subscribers
    broker        what memory, host, redis and postgres have in common
    ledger        the book of the brokers that need no server
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

from .channels import Channels as Channels
from .errors import ChannelsError as ChannelsError
from .errors import ChannelsTimeout as ChannelsTimeout
from .errors import TooSlow as TooSlow
from .message import Message as Message
from .presence import Person as Person
from .settings import URL_VARIABLE as _URL_VARIABLE
from .subscription import Subscription as Subscription

_KEY = "carboy.channels"


def channels_of(app: Any) -> Channels:
    """The channels of an application, made when they are first asked for.

    Raises:
        SetupError: the configuration is not valid, or the broker's library is not installed.
    """
    found = app.extensions.get(_KEY)
    if found is None:
        # Two threads may come at once; what one of them puts there, both use.
        found = app.extensions.setdefault(_KEY, Channels(app))
    return found  # type: ignore[no-any-return]  # extensions hold anything


async def life_of(app: Any) -> AsyncGenerator[None]:
    """The channels' part in an app's lifespan: what is configured is checked at its start, what is open ends with it."""
    if app.config.get("CHANNELS_URL") or os.environ.get(_URL_VARIABLE):
        channels_of(app)
    yield
    if _KEY in app.extensions:
        await app.extensions[_KEY].close()
