"""What every contestant answers with: the same bytes, the same rules, whatever the framework."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

SECRET = "thirty-two characters of a secret"
HELLO = "Hello, World!"
MESSAGE = {"message": HELLO}
ROWS = [{"name": f"<row {number}>", "value": number * 7} for number in range(12)]
TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(os.environ.get("BENCH_STATIC", "/tmp"))
OTHERS = 200


def number_of(text: str) -> int:
    """How many queries are wanted: 1 to 500, and 1 for what is no number."""
    return min(max(int(text), 1), 500) if text.isdigit() else 1


def sum_of(order: Any) -> float:
    """Check an order by hand and give its sum, for frameworks that have no validation of their own.

    Raises:
        ValueError: it is no order.
    """
    if type(order) is not dict or type(order.get("order")) is not int or type(order.get("customer")) is not str:
        raise ValueError("order and customer are wanted")
    lines = order.get("lines")
    if type(lines) is not list or not lines:
        raise ValueError("lines are wanted")
    total = 0.0
    for line in lines:
        if type(line) is not dict or type(line.get("item")) is not str or type(line.get("count")) is not int:
            raise ValueError("a line has an item and a count")
        price = line.get("price")
        if type(price) is not float and type(price) is not int:
            raise ValueError("a line has a price")
        total += line["count"] * price
    return total


def sign(value: Any) -> str:
    """A signed cookie in the simplest way that is safe, for the bare callables."""
    payload = urlsafe_b64encode(json.dumps(value).encode())
    return (payload + b"." + hmac.new(SECRET.encode(), payload, hashlib.sha1).hexdigest().encode()).decode()


def unsign(text: str) -> Any:
    """What was signed, None if it was tampered with."""
    payload, _, signature = text.partition(".")
    if not hmac.compare_digest(hmac.new(SECRET.encode(), payload.encode(), hashlib.sha1).hexdigest(), signature):
        return None
    return json.loads(urlsafe_b64decode(payload))


def cookie_of(header: str) -> Any:
    """The value of the cookie `session` in a Cookie header."""
    for part in header.split("; "):
        name, _, value = part.partition("=")
        if name == "session":
            return unsign(value)
    return None
