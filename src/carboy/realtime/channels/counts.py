"""What channels count of themselves, in one process, since it started: plain numbers that somebody may read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Counters of one application in one process.

    Attributes:
        published: messages that a broker has taken from here.
        retried: attempts to publish that were made again.
        received: messages that came from the broker.
        delivered: messages put into subscribers' queues.
        dropped: messages that a full queue had to give up.
        closed: subscribers ended because they fell behind.
        subscribers: open now.
        topics: followed now.
        reconnected: times a connection to the broker was made anew.
    """

    published: int = 0
    retried: int = 0
    received: int = 0
    delivered: int = 0
    dropped: int = 0
    closed: int = 0
    subscribers: int = 0
    topics: int = 0
    reconnected: int = 0
