"""What may be tried again, and after which pause. Decisions only: nothing here sends or sleeps."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

import httpx2
from werkzeug.http import parse_date

from .settings import Settings

#: RFC 9110 §9.2.2, and QUERY, which is safe and idempotent (its own specification).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})
#: Answers of a server, or of a proxy before it, that cannot serve just now.
UNWELL = frozenset({502, 503, 504})
#: Nothing of the request has left us.
NOTHING_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout)
#: Our own doing: the server is not to blame, and asking it again helps nobody.
OUR_OWN = (httpx2.PoolTimeout, httpx2.LocalProtocolError, httpx2.UnsupportedProtocol)


def is_failure(trouble: httpx2.Response | Exception) -> bool:
    """Whether it counts against the server."""
    if isinstance(trouble, httpx2.Response):
        return trouble.status_code in UNWELL
    return isinstance(trouble, httpx2.TransportError) and not isinstance(trouble, OUR_OWN)


def may_retry(method: str, is_resendable: bool, trouble: httpx2.Response | Exception) -> bool:
    """Whether a request may be sent again after this.

    Args:
        is_resendable: its body can be sent a second time.
        trouble: an answer of `UNWELL`, or an error.
    """
    if not is_failure(trouble) or not is_resendable:
        return False
    if isinstance(trouble, NOTHING_SENT):
        return not has_wrong_certificate(trouble)
    return method in IDEMPOTENT


def has_wrong_certificate(error: BaseException | None) -> bool:
    """Whether a connection failed for its certificate, which no retry mends."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def pause_before(
    retry: int, trouble: httpx2.Response | Exception, settings: Settings, *, draw: Callable[[float, float], float] = random.uniform
) -> float | None:
    """Seconds to wait before a retry; None where the server asks for more than is waited.

    Exponential back-off with full jitter: clients that failed together do not come back together.

    Args:
        retry: 0 for the first.
    """
    own = draw(0.0, min(settings.retry_pause_max, settings.retry_pause * 2.0**retry))
    asked = retry_after(trouble.headers.get("retry-after")) if isinstance(trouble, httpx2.Response) else None
    if asked is None:
        return own
    return max(own, asked) if asked <= settings.retry_after_max else None


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After asks for, by number or by date; None if absent or malformed.

    Source: RFC 9110 §10.2.3.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    date = parse_date(value)
    return max(0.0, (date - datetime.now(UTC)).total_seconds()) if date is not None else None
