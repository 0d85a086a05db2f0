"""What a call may raise beside httpx2's own errors. All but the last are httpx2's too: `except httpx2.HTTPError` holds.

httpx2.TransportError
├── httpx2.TimeoutException
│   └── DeadlineExceeded    the whole call took too long
├── CircuitOpen             not sent: the origin has failed too often just now
├── AddressRefused          not sent: a guarded call, and no public address
└── ResponseTooLarge        the answer is larger than is wanted
AssertionError
└── UnexpectedCall          a test double was asked for what nobody declared
"""

from __future__ import annotations

import httpx2


class DeadlineExceeded(httpx2.TimeoutException):
    """The call as a whole, retries included, took longer than its deadline."""


class CircuitOpen(httpx2.TransportError):
    """Nothing was sent: the origin has failed so often that it is left alone for a while.

    Attributes:
        origin: host and port.
        failures: in a row.
        since: seconds for which the circuit has been open.
        remaining: seconds until one request may try; 0 while one is trying.
    """

    def __init__(self, origin: str, failures: int, since: float, remaining: float) -> None:
        until = f"the next attempt is let through in {remaining:.1f} s" if remaining else "one request is trying it now"
        super().__init__(f"{origin} is not asked: it has failed {failures} times in a row, the last time {since:.1f} s ago; {until}")
        self.origin = origin
        self.failures = failures
        self.since = since
        self.remaining = remaining


class AddressRefused(httpx2.TransportError):
    """`app.http.public` was to call what is not public, or not among the hosts that may be called."""


class ResponseTooLarge(httpx2.TransportError):
    """The answer is larger than `max_response`, or compressed so that its size cannot be told."""


class UnexpectedCall(AssertionError):
    """A test's double was called in a way that the test has not declared."""
