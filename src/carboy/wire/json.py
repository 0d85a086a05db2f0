"""JSON text from values and back, with the standard library's meaning and most often without its cost.

What this file writes is, byte for byte, what ``json.dumps`` would write; what it reads is what ``json.loads`` would give.
msgspec does the work where the two cannot differ: values made of exact ``dict`` (``str`` keys), ``list``, ``tuple``, ``str``,
``int``, ``bool``, ``None`` and floats of an ordinary size. Everything else goes to the standard library, which decides.
Nothing here knows an app; the provider that an app carries is ``standard/json.py``.
"""

from __future__ import annotations

import dataclasses
import decimal
import json
import uuid
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any

import msgspec
from werkzeug.http import http_date

__all__ = ["PLAIN", "default", "dumps", "encode", "encode_plain", "loads"]

# Any: JSON values are whatever the caller has, by nature.
Default = Callable[[Any], Any]

_COMPACT = (",", ":")
_SCALARS: frozenset[type] = frozenset({str, int, bool, type(None)})
PLAIN: frozenset[type] = _SCALARS | {float, dict, list, tuple}
# Deeper values go to the standard library: it finds the circles, and the walk below needs no guard of its own.
_DEPTH = 24
# Within this range msgspec writes a float as repr() does; below it and above it the exponents look different.
_LEAST, _TOO_MUCH = 1e-4, 1e16

# PERF: bytes of a text. Longer ones are escaped faster by encoding again, and a value found not to be plain at the very
# end of a long walk has cost half as much again as the standard library alone.
_WORTH_ESCAPING = 128
_WORTH_WALKING = 65_536

_escape_text = json.encoder.encode_basestring_ascii
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_encode_as_is = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def default(value: Any) -> Any:
    """Give a JSON value for an object that JSON has no word for.

    Dates become RFC 9110 dates (``Thu, 02 Jan 2020 00:00:00 GMT``), ``Decimal`` and ``UUID`` strings, dataclasses dicts,
    and an object with ``__html__`` the string it returns.

    Raises:
        TypeError: the object is none of these.

    Example:
        >>> default(decimal.Decimal("0.10"))
        '0.10'
    """
    if isinstance(value, date):
        return http_date(value)
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    to_html = getattr(value, "__html__", None)
    if to_html is not None:
        return str(to_html())
    raise TypeError(
        f"Object of type {type(value).__name__} is not JSON serializable;"
        " make it a dict, list, str or number first, or teach it to the app with app.json.default"
    )


def encode(
    value: Any, *, default: Default | None = default, sort_keys: bool = True, ensure_ascii: bool = True
) -> bytes:
    """Write a value as compact JSON, ready for the wire.

    Args:
        default: turns an object unknown to JSON into one that is known.
        sort_keys: write the keys of every dict in order; keys of mixed types then raise TypeError.
        ensure_ascii: write every character beyond ASCII as an escape.

    Example:
        >>> encode({"b": 1, "a": [True, None]})
        b'{"a":[true,null],"b":1}'
    """
    out = encode_plain(value, sort_keys, ensure_ascii)
    if out is not None:
        return out
    return _stdlib(default, sort_keys, ensure_ascii, None, _COMPACT)(value).encode()


def line_encoder(default: Default | None, sort_keys: bool, ensure_ascii: bool) -> Callable[[Any], bytes]:
    """Make the function that writes a value as `encode` does, and ends the line: for who writes many with one set of options."""

    def encode_line(value: Any) -> bytes:
        out = encode_plain(value, sort_keys, ensure_ascii)
        if out is None:
            out = _stdlib(default, sort_keys, ensure_ascii, None, _COMPACT)(value).encode()
        return out + b"\n"

    return encode_line


def dumps(
    value: Any,
    *,
    default: Default | None = default,
    sort_keys: bool = True,
    ensure_ascii: bool = True,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
) -> str:
    """Write a value as JSON text; the arguments mean what they mean to ``json.dumps``.

    Example:
        >>> dumps({"b": 1, "a": 2})
        '{"a": 2, "b": 1}'
    """
    if indent is None and (separators is None or separators == _COMPACT):
        out = encode_plain(value, sort_keys, ensure_ascii)
        if out is not None:
            # indent=0 is msgspec's word for one line with a space after each comma and colon.
            return (out if separators else msgspec.json.format(out, indent=0)).decode()
    return _stdlib(default, sort_keys, ensure_ascii, indent, separators)(value)


def encode_plain(
    value: Any, sort_keys: bool = True, ensure_ascii: bool = True, kinds: frozenset[type] = PLAIN
) -> bytes | None:
    """Write a value as compact JSON if that can be done the fast way, else return None.

    Args:
        kinds: the types the value may be made of; PLAIN or a part of it.
    """
    try:
        # PERF: writing first is cheap, a seventh of what the standard library takes, and what comes out tells sooner than
        # the walk through the value that this way leads nowhere.
        out = _encode_sorted(value) if sort_keys else _encode_as_is(value)
        # DEL is ASCII, but the standard library escapes it too.
        needs_escapes = ensure_ascii and (not out.isascii() or 127 in out)
        if len(out) > (_WORTH_ESCAPING if needs_escapes else _WORTH_WALKING):
            return None
        if not _is_plain(value, kinds, _DEPTH):
            return None
    except (RuntimeError, ValueError, TypeError, OverflowError):
        # A type unknown to msgspec, a circle, a lone surrogate, an int of more digits than int() may print, a dict that
        # another thread has just changed: the standard library has an answer for each, or the proper error.
        return None
    return _escape(out) if needs_escapes else out


def loads(text: str | bytes | bytearray) -> Any:
    """Read JSON as ``json.loads`` does, with every refusal a ValueError.

    Raises:
        ValueError: the text is no JSON, is nested too deeply, has an int of too many digits, or is not in the
            encoding it appears to be in. Most are ``json.JSONDecodeError``, which is a ValueError.

    Example:
        >>> loads(b'{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
    """
    try:
        return _decode(text)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        # NaN, a byte order mark, UTF-16, lone surrogates and 1e400 are JSON to the standard library, so it decides.
        pass
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("The JSON is nested too deeply", "", 0) from None


def _is_plain(value: Any, kinds: frozenset[type], depth: int) -> bool:
    """Tell whether msgspec and the standard library must write the same for the value."""
    kind = type(value)
    if kind is dict:
        if not depth:
            return False
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _SCALARS and not _is_plain(item, kinds, depth - 1):
                return False
        return True
    if kind is float:
        return bool(_LEAST <= abs(value) < _TOO_MUCH or value == 0.0)
    if kind in _SCALARS:
        return True
    if not depth or kind not in kinds:
        return False
    for item in value:
        if type(item) not in _SCALARS and not _is_plain(item, kinds, depth - 1):
            return False
    return True


def _escape(out: bytes) -> bytes:
    """Write every character of a JSON text that is not printable ASCII as an escape.

    A pass through the standard library's string escaper, and its quoting of quotes and backslashes taken back. Each
    backslash has become two, so reading pairs from the left, as `replace` does, finds exactly those. NUL cannot occur in
    JSON text and holds their place.
    """
    text = _escape_text(out.decode())[1:-1]
    return text.replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\").encode()


def _stdlib(
    default: Default | None,
    sort_keys: bool,
    ensure_ascii: bool,
    indent: int | str | None,
    separators: tuple[str, str] | None,
) -> Callable[[Any], str]:
    """Return the standard library's encoder for these options, kept where the options can be remembered."""
    try:
        return _kept(default, sort_keys, ensure_ascii, indent, separators)
    except TypeError:
        # An option that cannot be hashed: separators as a list, an odd callable as default.
        return _kept.__wrapped__(default, sort_keys, ensure_ascii, indent, separators)


@lru_cache(maxsize=32)
def _kept(
    default: Default | None,
    sort_keys: bool,
    ensure_ascii: bool,
    indent: int | str | None,
    separators: tuple[str, str] | None,
) -> Callable[[Any], str]:
    return json.JSONEncoder(
        default=default, sort_keys=sort_keys, ensure_ascii=ensure_ascii, indent=indent, separators=separators
    ).encode
