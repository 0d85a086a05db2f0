"""OpenTelemetry spans, where its SDK is installed and set up; otherwise there is nothing here that a request passes.

The names of attributes are those of its semantic conventions for HTTP servers (1.23 and later).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from .record import Record

_INSTRUMENTATION = "carboy"


class Tracer:
    """Makes a server span for each request, a child of what `traceparent` names.

    Args:
        api: the module `opentelemetry.trace`; a stranger's.
        propagate: the module `opentelemetry.propagate`.
        context: the module `opentelemetry.context`.
    """

    def __init__(self, api: Any, propagate: Any, context: Any) -> None:
        self.tracer = api.get_tracer(_INSTRUMENTATION)
        self.kind = api.SpanKind.SERVER
        self.failed = api.Status(api.StatusCode.ERROR)
        self.set_span_in_context = api.set_span_in_context
        self.extract = propagate.extract
        self.context = context

    def begin(self, record: Record, method: str, path: str, scheme: str, carrier: dict[str, str]) -> object:
        """Open a request's span and make it the current one.

        Args:
            carrier: the request's headers, names lower-case.

        Returns:
            What `end` wants back.
        """
        span = self.tracer.start_span(
            method,
            context=self.extract(carrier),
            kind=self.kind,
            attributes={"http.request.method": method, "url.path": path, "url.scheme": scheme, "user_agent.original": carrier.get("user-agent", "")},
        )
        record.span = span
        return self.context.attach(self.set_span_in_context(span))

    def end(self, record: Record, token: object, method: str, client: str | None, error: BaseException | None) -> None:
        """Name the span after its route and close it."""
        span = record.span
        self.context.detach(token)
        if record.rule is not None:
            span.update_name(f"{method} {record.rule}")
            span.set_attribute("http.route", record.rule)
        if client:
            span.set_attribute("client.address", client)
        if record.status:
            span.set_attribute("http.response.status_code", record.status)
        if error is not None:
            span.record_exception(error)
        # A 4xx is the client's error, not this server's.
        if error is not None or record.status >= 500:
            span.set_status(self.failed)
        span.end()


def trace_id_of(record: Record, traceparent: str | bytes | None) -> str | None:
    """The trace that a request belongs to: its span's, or what the client named; 32 hexadecimal digits."""
    if record.span is not None:
        found = record.span.get_span_context().trace_id
        return f"{found:032x}" if found else None
    return incoming_trace_id(traceparent) if traceparent is not None else None


def find_tracer() -> Tracer | None:
    """The tracer of the process; None where OpenTelemetry's SDK is absent or nobody has set up a provider."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        # Who sets up a provider has imported it; importing it for nothing would cost every worker.
        return None
    try:
        from opentelemetry import context, propagate, trace  # type: ignore[import-not-found,unused-ignore]  # not a dependency
        from opentelemetry.sdk.trace import TracerProvider  # type: ignore[import-not-found,unused-ignore]  # not a dependency
    except ImportError:
        return None
    # The API alone, or an SDK nobody set up, would cost every request something and tell nobody.
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        return None
    return Tracer(trace, propagate, context)


def incoming_trace_id(traceparent: str | bytes) -> str | None:
    """The trace that a W3C `traceparent` names; None if it is malformed.

    Source: W3C Trace Context, §3.2.
    """
    text = traceparent.decode("latin1") if isinstance(traceparent, bytes) else traceparent
    parts = text.split("-", 3)
    if len(parts) != 4 or len(parts[0]) != 2 or parts[0] == "ff" or len(parts[2]) != 16 or len(parts[1]) != 32:
        return None
    found = parts[1]
    if not _HEX.issuperset(found) or found == "0" * 32:
        return None
    return found


_HEX: frozenset[str] = frozenset("0123456789abcdef")


def carrier_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as OpenTelemetry's propagators read them."""
    return {name.decode("latin1"): value.decode("latin1") for name, value in pairs}
