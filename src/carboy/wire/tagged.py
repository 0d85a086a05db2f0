"""Tagged JSON: JSON that remembers tuples, bytes, Markup, UUIDs and datetimes. The text inside a session cookie.

A value that JSON has no word for is written as an object of one key, its tag: ``{" t": [1, 2]}`` is a tuple. The format,
the tags and the classes' names are those of ``flask.json.tag``, so cookies and custom tags move between the two freely.
Values only: signing is ``signing.py``, cookies are ``standard/sessions.py``.
"""

from __future__ import annotations

import copy
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from markupsafe import Markup
from werkzeug.http import http_date, parse_date

from . import json

__all__ = [
    "JSONTag",
    "PassDict",
    "PassList",
    "TagBytes",
    "TagDateTime",
    "TagDict",
    "TagMarkup",
    "TagTuple",
    "TagUUID",
    "TaggedJSONSerializer",
]

# Any, in this file: a session holds whatever its application puts there.

_PLAIN_WITHOUT_TUPLES = json.PLAIN - {tuple}


class JSONTag:
    """A kind of value that the serializer marks in the text, to find it again.

    Example:
        >>> class TagComplex(JSONTag):
        ...     __slots__ = ()
        ...     key = " c"
        ...
        ...     def check(self, value):
        ...         return isinstance(value, complex)
        ...
        ...     def to_json(self, value):
        ...         return [value.real, value.imag]
        ...
        ...     def to_python(self, value):
        ...         return complex(*value)
        >>> serializer = TaggedJSONSerializer()
        >>> serializer.register(TagComplex)
        >>> serializer.loads(serializer.dumps({"z": 1 + 2j}))
        {'z': (1+2j)}
    """

    __slots__ = ("serializer",)

    #: The mark in the text. Empty for a kind that only needs its contents tagged.
    key: str = ""

    def __init__(self, serializer: TaggedJSONSerializer) -> None:
        """Belong to a serializer, through which contents are tagged."""
        self.serializer = serializer

    def check(self, value: Any) -> bool:
        """Tell whether the value is of this kind."""
        raise NotImplementedError

    def to_json(self, value: Any) -> Any:
        """Turn a value of this kind into one that JSON knows."""
        raise NotImplementedError

    def to_python(self, value: Any) -> Any:
        """Turn what ``to_json`` gave back into a value of this kind; its contents are untagged already."""
        raise NotImplementedError

    def tag(self, value: Any) -> Any:
        """Return the value as JSON knows it, under this tag's mark."""
        return {self.key: self.to_json(value)}


class TagDict(JSONTag):
    """A dict whose only key happens to be a mark: the key is written with two underscores behind it."""

    __slots__ = ()
    key = " di"

    def check(self, value: Any) -> bool:
        return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in self.serializer.tags

    def to_json(self, value: Any) -> Any:
        (key, item), *_ = value.items()
        return {f"{key}__": self.serializer.tag(item)}

    def to_python(self, value: Any) -> Any:
        (key, item), *_ = value.items()
        return {key[:-2]: item}


class PassDict(JSONTag):
    """Any other dict: no mark, its values tagged."""

    __slots__ = ()

    def check(self, value: Any) -> bool:
        return isinstance(value, dict)

    def to_json(self, value: Any) -> Any:
        # JSON objects have string keys only, so keys need no tags.
        return {key: self.serializer.tag(item) for key, item in value.items()}

    tag = to_json


class TagTuple(JSONTag):
    __slots__ = ()
    key = " t"

    def check(self, value: Any) -> bool:
        return isinstance(value, tuple)

    def to_json(self, value: Any) -> Any:
        return [self.serializer.tag(item) for item in value]

    def to_python(self, value: Any) -> Any:
        return tuple(value)


class PassList(JSONTag):
    """A list: no mark, its items tagged."""

    __slots__ = ()

    def check(self, value: Any) -> bool:
        return isinstance(value, list)

    def to_json(self, value: Any) -> Any:
        return [self.serializer.tag(item) for item in value]

    tag = to_json


class TagBytes(JSONTag):
    __slots__ = ()
    key = " b"

    def check(self, value: Any) -> bool:
        return isinstance(value, bytes)

    def to_json(self, value: Any) -> Any:
        return b64encode(value).decode("ascii")

    def to_python(self, value: Any) -> Any:
        return b64decode(value)


class TagMarkup(JSONTag):
    """Text that is safe in HTML, or anything that offers such text with ``__html__``."""

    __slots__ = ()
    key = " m"

    def check(self, value: Any) -> bool:
        return callable(getattr(value, "__html__", None))

    def to_json(self, value: Any) -> Any:
        return str(value.__html__())

    def to_python(self, value: Any) -> Any:
        return Markup(value)


class TagUUID(JSONTag):
    __slots__ = ()
    key = " u"

    def check(self, value: Any) -> bool:
        return isinstance(value, UUID)

    def to_json(self, value: Any) -> Any:
        return value.hex

    def to_python(self, value: Any) -> Any:
        return UUID(value)


class TagDateTime(JSONTag):
    """A datetime, to the second and in UTC."""

    __slots__ = ()
    key = " d"

    def check(self, value: Any) -> bool:
        return isinstance(value, datetime)

    def to_json(self, value: Any) -> Any:
        return http_date(value)

    def to_python(self, value: Any) -> Any:
        return parse_date(value)


_STANDARD: list[type[JSONTag]] = [
    TagDict,
    PassDict,
    TagTuple,
    PassList,
    TagBytes,
    TagMarkup,
    TagUUID,
    TagDateTime,
]


class TaggedJSONSerializer:
    """Write and read values as tagged JSON.

    Attributes:
        default_tags: the tags that a new serializer registers, in order.
        tags: mark → tag.
        order: the tags in the order in which a value is shown to them.

    Example:
        >>> TaggedJSONSerializer().dumps({"at": (1, 2)})
        '{"at":{" t":[1,2]}}'
    """

    __slots__ = ("_dumps", "_is_standard", "_loads", "order", "tags")

    default_tags: ClassVar[list[type[JSONTag]]] = list(_STANDARD)

    def __init__(self) -> None:
        self.tags: dict[str, JSONTag] = {}
        self.order: list[JSONTag] = []
        self._dumps: Callable[..., str] = json.dumps
        self._loads: Callable[[str], Any] = json.loads
        for tag_class in self.default_tags:
            self.register(tag_class)
        # The marks of the standard tags all begin with a space, which the short cuts below build on; and a subclass
        # may tag in its own way.
        self._is_standard = type(self) is TaggedJSONSerializer and self.default_tags == _STANDARD

    def register(self, tag_class: type[JSONTag], force: bool = False, index: int | None = None) -> None:
        """Add a kind of value.

        Args:
            force: replace the tag that has the same mark.
            index: its place in ``order``; at the end if None. A tag for a subclass of ``dict``, say, must stand before
                the tag for ``dict``.

        Raises:
            KeyError: the mark is taken, and force is not set.
        """
        tag = tag_class(self)
        if tag.key:
            if not force and tag.key in self.tags:
                raise KeyError(f"Tag {tag.key!r} is already registered.")
            self.tags[tag.key] = tag
        if index is None:
            self.order.append(tag)
        else:
            self.order.insert(index, tag)
        self._is_standard = False

    def through(self, dumps: Callable[..., str], loads: Callable[[str], Any]) -> Self:
        """Return a serializer with the same tags whose JSON is written and read by other functions.

        Args:
            dumps: takes the value and ``separators``, as an app's JSON provider does.
        """
        other = copy.copy(self)
        other._dumps, other._loads, other._is_standard = dumps, loads, False
        return other

    def tag(self, value: Any) -> Any:
        """Return the value as JSON knows it, whatever needs a mark marked."""
        for tag in self.order:
            if tag.check(value):
                return tag.tag(value)
        return value

    def untag(self, value: dict[str, Any]) -> Any:
        """Return the value that a dict of one mark stands for; any other dict as it is."""
        if len(value) == 1:
            key = next(iter(value))
            if key in self.tags:
                return self.tags[key].to_python(value[key])
        return value

    def dumps(self, value: Any) -> str:
        """Write a value as compact tagged JSON."""
        if self._is_standard:
            out = self._encode_untagged(value)
            if out is not None:
                return out.decode()
        return self._dumps(self.tag(value), separators=(",", ":"))

    def encode(self, value: Any) -> bytes:
        """Write a value as compact tagged JSON, in bytes."""
        if self._is_standard:
            out = self._encode_untagged(value)
            if out is not None:
                return out
        return self.dumps(value).encode()

    def loads(self, value: str) -> Any:
        """Read tagged JSON.

        Raises:
            ValueError: it is not JSON. A mark on something that it cannot mark may raise other errors.
        """
        found = self._loads(value)
        # PERF: a mark in the text is a quote and then a space, however the text was written; most sessions have none,
        # and looking costs 0.04 µs where the scan of a small session costs 0.5.
        if self._is_standard and '" ' not in value and "\\u0020" not in value:
            return found
        return self._untag_scan(found)

    def _encode_untagged(self, value: Any) -> bytes | None:
        """Write a value in which nothing needs a mark; None if something does, or may."""
        out = json.encode_plain(value, kinds=_PLAIN_WITHOUT_TUPLES)
        # An object that begins with a mark may have to be marked itself.
        return None if out is None or b'{" ' in out else out

    def _untag_scan(self, value: Any) -> Any:
        # From the inside out, and not in the parser's object_hook: an app may bring a parser that has none.
        if isinstance(value, dict):
            return self.untag({key: self._untag_scan(item) for key, item in value.items()})
        if isinstance(value, list):
            return [self._untag_scan(item) for item in value]
        return value
