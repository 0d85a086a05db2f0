"""What is known beforehand: extensions that were tried, calls that wait, settings and names that are gone.

The tables stand in `known.json`, so that they can be read and mended without reading code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Known:
    """The tables.

    Attributes:
        extensions: import name → distribution, and what is to be known of it.
        gains: import name → what Carboy has for the same.
        waits: dotted call → what to await instead.
        settings: a configuration key that has no effect → what to do.
        gone: a name that Flask 3.1 has no longer → what to do.
    """

    extensions: dict[str, dict[str, str]]
    gains: dict[str, str]
    waits: dict[str, str]
    settings: dict[str, str]
    gone: dict[str, str]


@cache
def known() -> Known:
    """Read the tables, once."""
    text = Path(__file__).with_name("known.json").read_text(encoding="utf-8")
    tables: dict[str, Any] = json.loads(text)
    return Known(**tables)
