"""Traces: OpenTelemetry's where it is set up, W3C's in the log in any case, nothing where neither is."""

import asyncio

import pytest

from carboy import Carboy
from carboy.observe import Observe
from carboy.observe.trace import find_tracer, incoming_trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", TRACE),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE[:-1]}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
        ("", None),
        ("\n" * 32, None),
    ],
)
def test_traceparent_is_read_strictly(sent, found) -> None:
    """A malformed one is none."""
    assert incoming_trace_id(sent) == found
    assert incoming_trace_id(sent.encode()) == found


def test_without_a_provider_there_is_no_tracer() -> None:
    """Installed or not: nobody listens, so nothing is in the way of a request."""
    otel = pytest.importorskip("opentelemetry.trace", reason="the OpenTelemetry API is not installed") if _is_installed() else None
    if otel is not None and not isinstance(otel.get_tracer_provider(), otel.ProxyTracerProvider):
        pytest.skip("this process has a provider already")

    assert find_tracer() is None


def _is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("opentelemetry") is not None


@pytest.fixture(scope="module")
def spans():
    """A provider that keeps its spans; OpenTelemetry allows one for each process."""
    trace = pytest.importorskip("opentelemetry.trace", reason="opentelemetry-sdk is not installed; it is no dependency")
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed; it is no dependency")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = sdk.TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_request_is_a_server_span_with_its_route(spans, colour, tmp_path) -> None:
    """A child of what came in, a parent of what the view makes, named after the rule, and in the log."""
    from opentelemetry import trace

    app = Carboy("traced")

    def work(id):
        with trace.get_tracer("view").start_as_current_span("inner"):
            return {"id": id}

    async def awaited(id):
        return work(id)

    app.get("/users/<int:id>")(work if colour == "sync" else awaited)

    @app.get("/boom")
    def boom():
        raise RuntimeError("on purpose")

    log = tmp_path / "l"
    observe = app.fit(Observe(log="json", log_file=str(log)))
    entry = observe.asgi(app)
    spans.clear()

    async def main() -> None:
        for path, headers in (("/users/3", [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())]), ("/boom", [])):
            scope = {
                "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers,
                "scheme": "http", "client": ("10.0.0.7", 1), "server": ("h", 80), "root_path": "", "http_version": "1.1",
            }  # fmt: skip

            async def receive():
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(event):
                pass

            await entry(scope, receive, send)

    asyncio.run(main())
    observe.observer.stop()
    inner, outer, failed = spans.get_finished_spans()

    assert outer.name == "GET /users/<int:id>"
    assert outer.kind.name == "SERVER"
    assert f"{outer.context.trace_id:032x}" == f"{inner.context.trace_id:032x}" == TRACE
    assert f"{outer.parent.span_id:016x}" == PARENT
    assert inner.parent.span_id == outer.context.span_id
    assert outer.attributes["http.route"] == "/users/<int:id>"
    assert outer.attributes["http.response.status_code"] == 200
    assert outer.attributes["client.address"] == "10.0.0.7"
    assert not outer.status.description and outer.status.status_code.name == "UNSET"
    assert failed.status.status_code.name == "ERROR"
    assert f'"trace_id":"{TRACE}"' in log.read_text()
    assert f'"trace_id":"{failed.context.trace_id:032x}"' in log.read_text()
