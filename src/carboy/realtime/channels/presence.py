"""Who is here: what a broker keeps of somebody's stay, and what users see of a person."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import msgspec

JOINED, LEFT = "joined", "left"


class Stay(msgspec.Struct, frozen=True, array_like=True):
    """One `present(...)` block that is open somewhere: a browser tab, a connection.

    Attributes:
        key: no other stay has it.
        who: whose it is; the same person may have several.
        since: seconds since 1970, by the clock of the worker.
        info: what else was said, as JSON.
    """

    key: str
    who: str
    since: float
    info: bytes


class Person(msgspec.Struct, frozen=True):
    """Somebody who is present on a topic.

    Attributes:
        who: the name given to `present`.
        info: what was said besides, by the stay that came last.
        since: when the first of the open stays began, in UTC.
        stays: how many are open: tabs, devices.
    """

    who: str
    info: dict[str, Any]
    since: datetime.datetime
    stays: int


def people_of(stays: Iterable[Stay]) -> dict[str, Person]:
    """Group stays by person, in the order in which they came."""
    grouped: dict[str, list[Stay]] = {}
    for stay in sorted(stays, key=lambda each: (each.since, each.key)):
        grouped.setdefault(stay.who, []).append(stay)
    return {
        who: Person(who, msgspec.json.decode(own[-1].info), datetime.datetime.fromtimestamp(own[0].since, datetime.UTC), len(own))
        for who, own in grouped.items()
    }


def told(person: Person) -> bytes:
    """What a "joined" or "left" event says of a person, as JSON: `{"who": ..., "info": {...}}`."""
    return msgspec.json.encode({"who": person.who, "info": person.info})
