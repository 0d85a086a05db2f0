"""The `CHANNELS_*` entries of an application's configuration, read and checked; and which broker a URL means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from ...core.errors import SetupError

#: Set by `carboy run` for its workers: a name that they share, and nobody else has.
INSTANCE = "CARBOY_INSTANCE"
URL_VARIABLE = "CARBOY_CHANNELS_URL"

MEMORY, HOST, REDIS, POSTGRES = "memory", "host", "redis", "postgres"
SCHEMES = {
    "memory": MEMORY,
    "host": HOST,
    "redis": REDIS,
    "rediss": REDIS,
    "unix": REDIS,
    "postgresql": POSTGRES,
    "postgres": POSTGRES,
}

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the channels of an application work; field `queue` is the config entry `CHANNELS_QUEUE`.

    Attributes:
        url: the broker. None: the bus of the host under `carboy run`, this process alone otherwise.
        history: messages kept of each topic.
        history_age: seconds they are kept.
        queue: messages that wait for one subscriber.
        timeout: seconds until publishing, subscribing and asking give up on a broker.
        heartbeat: seconds between two signs of life of a worker, where a connection does not tell (Redis, PostgreSQL);
            who has given none for three of them is gone.
        max_message: most bytes of a message.
    """

    url: str | None = None
    history: Count = 256
    history_age: Positive = 600.0
    queue: Count = 256
    timeout: Positive = 5.0
    heartbeat: Positive = 2.0
    max_message: Count = 16 * 1024 * 1024

    @property
    def kind(self) -> str:
        """Which broker: one of `MEMORY`, `HOST`, `REDIS`, `POSTGRES`."""
        if self.url is None:
            return HOST if os.environ.get(INSTANCE) else MEMORY
        return SCHEMES[urlsplit(self.url).scheme]

    @property
    def lifetime(self) -> float:
        """Seconds after its last sign of life that a worker counts as gone."""
        return self.heartbeat * 3


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Read the `CHANNELS_*` entries of a config.

    Raises:
        SetupError: one has no such meaning or value, or the URL names no broker that there is.
    """
    values = {key.removeprefix("CHANNELS_").lower(): value for key, value in config.items() if key.startswith("CHANNELS_")}
    source = "CHANNELS_URL"
    if values.get("url") is None:
        values["url"] = os.environ.get(URL_VARIABLE) or None
        source = f"the environment variable {URL_VARIABLE}"
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        names = ", ".join(f"CHANNELS_{name.upper()}" for name in Settings.__struct_fields__)
        raise SetupError(f"the configuration of channels is not valid: {error}. Its entries are {names}") from error
    if settings.url is not None and urlsplit(settings.url).scheme not in SCHEMES:
        raise SetupError(
            f"{source} is {_without_password(settings.url)!r}, and names no broker; it starts with one of memory:// (this process),"
            f" host:// (the processes of this host), redis://, rediss:// or unix:// (Redis), postgresql:// (PostgreSQL)"
        )
    return settings


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else url


def place_of(url: str | None) -> str:
    """A URL as it may stand in an error's text: without its user and password."""
    return "memory://" if url is None else _without_password(url)
