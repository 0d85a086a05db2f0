"""What can go wrong with channels while an application runs. What is wrong in its setup is a `SetupError`.

    ChannelsError
    ├── ChannelsTimeout    the broker did not answer in time (TimeoutError too)
    ├── TooSlow            a subscriber that wanted to be closed rather than miss something has fallen behind
    └── Unreachable        an attempt failed and may be made again; users see it as the cause of a ChannelsTimeout
"""

from __future__ import annotations


class ChannelsError(Exception):
    """A channel could not do what it was asked for."""


class ChannelsTimeout(ChannelsError, TimeoutError):
    """The broker could not be reached, or did not answer, within the time allowed."""


class TooSlow(ChannelsError):
    """A subscriber read so slowly that its queue was full; it had asked to be closed in that case."""


class Unreachable(ChannelsError):
    """The broker is away. Raised by brokers; the caller tries again until its time is over."""
