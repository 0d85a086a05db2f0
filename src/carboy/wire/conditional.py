"""What a request's headers ask of a stored thing: whether to send it, which part of it, in which coding.

Pure functions over header values; who has a file, a cached page or a database row with a version uses the same rules.
Source: RFC 9110 §8.8, §12.5.3, §13, §14.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from werkzeug.http import parse_date

#: Gives a request header by its lower-case name, None if it is not there.
HeaderReader = Callable[[str], "str | None"]

_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_BYTE_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d*)-(\d*)", re.IGNORECASE | re.ASCII)
_QVALUE = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)

#: The headers that `decide` reads, by lower-case name.
CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})

# A position with more digits is beyond any file; int() of thousands of digits would be a way to burn time.
_LONGEST_POSITION = 18


class Outcome(NamedTuple):
    """How to answer: 200, 206 (with `start` and `length`), 304, 412 or 416."""

    status: int
    start: int = 0
    length: int = 0


class Weighed(NamedTuple):
    """A member of a header with its weight."""

    name: str
    weight: float


_WHOLE = Outcome(200)
_NOT_MODIFIED = Outcome(304)
_FAILED = Outcome(412)
_UNSATISFIABLE = Outcome(416)


def decide(
    method: str,
    header: HeaderReader,
    etag: str | None,
    last_modified: str | None,
    size: int | None = None,
) -> Outcome:
    """Decide how to answer a request for a thing with these validators.

    Args:
        method: the request's method; conditions count for GET and HEAD, ranges for GET.
        header: reads the request's headers.
        etag: as in the ETag header, with its quotes; None without one.
        last_modified: as in the Last-Modified header; None without one.
        size: its bytes; None if ranges are not served.
    """
    if method not in ("GET", "HEAD"):
        return _WHOLE
    unless = precondition(header, etag, last_modified)
    if unless is not None:
        return unless
    if size is None or method != "GET":
        return _WHOLE  # RFC 9110 §14.2: a Range in anything but GET is to be ignored
    wanted = header("range")
    if wanted is None or not _range_still_counts(header("if-range"), etag, last_modified):
        return _WHOLE
    return select_range(wanted, size)


def precondition(header: HeaderReader, etag: str | None, last_modified: str | None) -> Outcome | None:
    """412, 304, or None to go on, for a GET or HEAD of a thing with these validators.

    Source: RFC 9110 §13.2.2, whose order is kept: an ETag condition outranks that of its date.
    """
    if_match = header("if-match")
    if if_match is not None:
        if not _names(if_match, etag, strong=True):
            return _FAILED
    else:
        unmodified_since = header("if-unmodified-since")
        if unmodified_since is not None and _is_newer(last_modified, unmodified_since):
            return _FAILED
    if_none_match = header("if-none-match")
    if if_none_match is not None:
        return _NOT_MODIFIED if _names(if_none_match, etag, strong=False) else None
    modified_since = header("if-modified-since")
    if modified_since is None or last_modified is None:
        return None
    # PERF: browsers send back what they got; comparing text saves parsing two dates (20 µs).
    if modified_since == last_modified:
        return _NOT_MODIFIED
    if parse_date(modified_since) is None or _is_newer(last_modified, modified_since):
        return None
    return _NOT_MODIFIED


def select_range(wanted: str, size: int) -> Outcome:
    """206 with the part of *size* bytes that a Range header wants, 416, or 200.

    A header that asks for several parts, or is not understood, is ignored, as RFC 9110 §14.2 allows.
    """
    match = _BYTE_RANGE.fullmatch(wanted.strip(" \t"))
    if match is None:
        return _WHOLE
    first, last = match.groups()
    if max(len(first), len(last)) > _LONGEST_POSITION or not (first or last):
        return _WHOLE
    if not first:
        length = min(int(last), size)  # the last so many bytes
        return Outcome(206, size - length, length) if length else _UNSATISFIABLE
    start = int(first)
    if last and int(last) < start:
        return _WHOLE  # §14.1.1: such a range is invalid, not unsatisfiable
    if start >= size:
        return _UNSATISFIABLE
    end = min(int(last), size - 1) if last else size - 1
    return Outcome(206, start, end - start + 1)


def choose_coding(accept_encoding: str | None, available: Sequence[str]) -> str | None:
    """The content coding to answer with, None for the thing as it is.

    Args:
        accept_encoding: the request's Accept-Encoding.
        available: the codings there are, the server's favourite first: it wins among equal weights.
    """
    if not accept_encoding or not available:
        return None
    weights: dict[str, float] = {}
    for name, weight in _weighed(accept_encoding):
        weights[name] = max(weight, weights.get(name, 0.0))
    anything = weights.get("*", 0.0)
    best: str | None = None
    # §12.5.3: identity is acceptable unless it is refused; its weight counts only where the client gives one.
    best_weight = weights.get("identity", 0.0)
    for coding in available:
        weight = weights.get(coding, anything)
        if weight > best_weight or (weight == best_weight > 0 and best is None):
            best, best_weight = coding, weight
    return best


def _weighed(header: str) -> list[Weighed]:
    """Members of a header like Accept-Encoding; those with a broken weight are left out."""
    found = []
    for member in header.split(","):
        name, *parameters = member.split(";")
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.strip(" \t").partition("=")
            if key in ("q", "Q"):
                weight = float(value) if _QVALUE.fullmatch(value) else -1.0
        name = name.strip(" \t").lower().removeprefix("x-")  # §8.4.1.3: x-gzip is gzip
        if name and weight >= 0:
            found.append(Weighed(name, weight))
    return found


def _names(tags: str, etag: str | None, *, strong: bool) -> bool:
    """Whether a list of entity tags (or `*`) names *etag*."""
    # PERF: the one tag a browser sends back, without a regular expression.
    if etag is not None and tags == etag:
        return not (strong and etag.startswith("W/"))
    if tags.strip(" \t") == "*":
        return True
    if etag is None:
        return False
    weak, opaque = etag.startswith("W/"), etag.removeprefix("W/")
    if strong:
        return not weak and any(not match[1] and match[2] == opaque for match in _ENTITY_TAG.finditer(tags))
    return any(match[2] == opaque for match in _ENTITY_TAG.finditer(tags))


def _range_still_counts(if_range: str | None, etag: str | None, last_modified: str | None) -> bool:
    """Whether the thing is still the one that the client has a part of.

    Source: RFC 9110 §13.1.5: strong comparison for a tag, the very same date for a date.
    """
    if if_range is None:
        return True
    if_range = if_range.strip(" \t")
    if if_range.startswith(('"', "W/")):
        return etag is not None and not etag.startswith("W/") and if_range == etag
    if last_modified is None:
        return False
    date = parse_date(if_range)
    return date is not None and date == parse_date(last_modified)


def _is_newer(last_modified: str | None, date: str) -> bool:
    """Whether the thing was modified after *date*; an invalid date is to be ignored."""
    if last_modified is None or last_modified == date:
        return False
    modified, limit = parse_date(last_modified), parse_date(date)
    return modified is not None and limit is not None and modified > limit
