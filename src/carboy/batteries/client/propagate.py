"""What a call hands on of the request at hand: its id, and the trace it belongs to. Never cookies, never Authorization."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

#: Where OpenTelemetry is set up, its own propagator writes the trace context instead: with the span at hand as parent.
_TRACE = ("traceparent", "tracestate")
_SDK, _PROPAGATE = "opentelemetry.sdk.trace", "opentelemetry.propagate"


def headers_of(request: Any) -> Mapping[str, str]:
    """The headers that a request hands on.

    Args:
        request: the one at hand; None outside of requests.
    """
    found: dict[str, str] = {}
    names: tuple[str, ...] = ("x-request-id",)
    if _SDK in sys.modules and _PROPAGATE in sys.modules:
        sys.modules[_PROPAGATE].inject(found)
    if "traceparent" not in found:
        # W3C Trace Context §3.2: who makes no span of its own may hand on what it was given.
        names += _TRACE
    if request is not None:
        for name in names:
            value = request.header(name)
            if value:
                found[name] = value
    return found
