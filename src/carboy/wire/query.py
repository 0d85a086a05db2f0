"""Query strings and urlencoded forms: one syntax, parsed by hand into pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from .errors import MalformedQuery

#: A percent sign that begins no escape.
BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse_query(query: bytes) -> Iterable[tuple[str, str]]:
    """Split `a=1&b=2` into pairs, as HTML's form encoding has it; empty values are kept.

    Raises:
        MalformedQuery: it is not UTF-8, or an escape is broken.
    """
    if not query:
        return ()
    try:
        text = query.decode()
    except UnicodeDecodeError:
        raise MalformedQuery from None
    escaped = "%" in text
    if escaped and BAD_ESCAPE.search(query):
        raise MalformedQuery
    if "+" in text:
        text = text.replace("+", " ")
    pairs = []
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((name, value))
    if not escaped:
        return pairs
    try:
        return [(unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()) for name, value in pairs]
    except UnicodeDecodeError:
        raise MalformedQuery from None
