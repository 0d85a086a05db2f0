"""Messages: what brokers keep and carry (`Entry`), what a subscriber gets (`Message`), and the ids that order them.

An id is `MILLISECONDS-NUMBER`, by the broker's clock, and never goes back. One broker gives each message of all topics
its own, so that one id says how far a subscriber of several topics has come. Values only: nothing here waits.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import msgspec

from .errors import ChannelsError

#: The id before all others.
ORIGIN = "0-0"
#: How a body is to be read: JSON, text or bytes.
JSON, TEXT, BYTES = "j", "t", "b"
#: Most characters of a topic.
LONGEST_TOPIC = 255

Position = tuple[int, int]


def position(id: str) -> Position:  # noqa: A002  # an id is what it is
    """Read an id as numbers that compare as the messages are ordered.

    Raises:
        ValueError: it is no id of a message.
    """
    milliseconds, _, number = id.partition("-")
    try:
        return int(milliseconds), int(number or 0)
    except ValueError:
        raise ValueError(f"{id[:80]!r} is no id of a message; ids are what `message.id` and `publish` give") from None


def next_id(last: Position, now: float) -> tuple[Position, str]:
    """Give the id after *last* at the time *now* (seconds since 1970)."""
    milliseconds = int(now * 1000)
    here = (milliseconds, 0) if milliseconds > last[0] else (last[0], last[1] + 1)
    return here, f"{here[0]}-{here[1]}"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A message as a broker keeps it.

    Attributes:
        id: its place in the order of all.
        before: the id of the message before it on its topic; `ORIGIN` if the broker knows none. Who has not seen that
            one has missed something.
        key: the publisher's own name for this publication: the same again when it is tried again.
        kind: `JSON`, `TEXT` or `BYTES`.
        body: the content, encoded once.
    """

    id: str
    before: str
    key: str
    kind: str
    body: bytes


class Backlog(msgspec.Struct, frozen=True, array_like=True):
    """How far a topic is, and what came on it after a given id, oldest first."""

    tail: str
    entries: list[Entry]


class Message:
    """What a subscriber gets. Subscribers of one worker share it: do not change its `data`.

    Attributes:
        topic: where it was published.
        id: give it to `subscribe(after=...)` to go on behind it.
        event: "message"; "joined" or "left" where the subscriber asked for presence.
        missed: how many messages this subscriber has lost right before this one: 0, unless it fell behind, or came
            back for what history no longer holds. Then at least so many.
    """

    __slots__ = ("_data", "body", "event", "id", "kind", "missed", "topic")

    def __init__(self, topic: str, id: str, kind: str, body: bytes, event: str = "message", missed: int = 0) -> None:  # noqa: A002
        self.topic = topic
        self.id = id
        self.kind = kind
        self.body = body
        self.event = event
        self.missed = missed
        self._data: Any = msgspec.UNSET

    @property
    def data(self) -> Any:
        """The value that was published: decoded when it is first asked for, and once for all subscribers of a worker."""
        if self._data is msgspec.UNSET:
            self._data = decode(self.kind, self.body)
        return self._data

    @property
    def text(self) -> str:
        """What was published as text: a `str` itself, anything else as JSON. Ready to be sent on.

        Raises:
            UnicodeDecodeError: bytes were published that are no UTF-8.
        """
        return self.body.decode()

    @property
    def at(self) -> datetime.datetime:
        """When the broker took it, in UTC, to the millisecond."""
        return datetime.datetime.fromtimestamp(position(self.id)[0] / 1000, datetime.UTC)

    def after_missing(self, count: int) -> Message:
        """The same message for a subscriber that has lost *count* more before it."""
        other = Message(self.topic, self.id, self.kind, self.body, self.event, self.missed + count)
        other._data = self._data
        return other

    def __repr__(self) -> str:
        return f"<Message {self.id} of {self.topic!r}, {self.event}: {self.body[:60]!r}>"


def encode(data: Any, dumps: Callable[[Any], str], topic: str, limit: int) -> tuple[str, bytes]:
    """Give the kind and the body of a value.

    Args:
        data: `str`, bytes, or what *dumps* makes JSON of.
        dumps: the application's JSON.
        topic: for the text of an error.
        limit: most bytes of a body.

    Raises:
        TypeError: it cannot be made JSON.
        ValueError: the body is too long.
    """
    if isinstance(data, str):
        kind, body = TEXT, data.encode()
    elif isinstance(data, (bytes, bytearray, memoryview)):
        kind, body = BYTES, bytes(data)
    else:
        try:
            kind, body = JSON, dumps(data).encode()
        except TypeError as error:
            raise TypeError(f"what is published on {topic!r} must be a str, bytes, or a value that JSON can hold: {error}") from error
    if len(body) > limit:
        raise ValueError(
            f"a message on {topic!r} of {len(body)} bytes is longer than CHANNELS_MAX_MESSAGE allows ({limit});"
            f" publish where the content is to be had, or raise that setting"
        )
    return kind, body


def decode(kind: str, body: bytes) -> Any:
    """Give back the value of a body."""
    if kind == JSON:
        return json.loads(body)
    return body.decode() if kind == TEXT else body


def check_topic(topic: object) -> str:
    """Refuse what is no topic.

    Raises:
        ChannelsError: it is not a text of 1 to 255 characters that UTF-8 can carry.
    """
    if not isinstance(topic, str) or not 0 < len(topic) <= LONGEST_TOPIC or "\0" in topic or not _is_plain(topic):
        raise ChannelsError(
            f"{str(topic)[:80]!r} is no topic: a topic is a str of 1 to {LONGEST_TOPIC} characters, such as 'room:7', without NUL"
        )
    return topic


def _is_plain(topic: str) -> bool:
    try:
        topic.encode()
    except UnicodeEncodeError:
        return False
    return True
