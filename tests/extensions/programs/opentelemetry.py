"""A span for each request with route and status, a child of the caller's, and spans of views below it."""

import asyncio

from flask import Flask
from opentelemetry import trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

DISTRIBUTION = "opentelemetry-instrumentation-flask"

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("shop")
app = Flask(__name__)
FlaskInstrumentor().instrument_app(app, tracer_provider=provider, excluded_urls="spans")


@app.get("/sync/bottle/<key>")
def sync_bottle(key):
    with tracer.start_as_current_span("look up"):
        return f"{trace.get_current_span().get_span_context().trace_id:032x}"


@app.get("/async/bottle/<key>")
async def async_bottle(key):
    await asyncio.sleep(0)
    with tracer.start_as_current_span("look up"):
        await asyncio.sleep(0)
        return f"{trace.get_current_span().get_span_context().trace_id:032x}"


@app.get("/sync/broken")
def sync_broken():
    raise RuntimeError("broken")


@app.get("/async/broken")
async def async_broken():
    raise RuntimeError("broken")


@app.get("/spans")
def spans():
    found = exporter.get_finished_spans()
    exporter.clear()
    return [
        {
            "name": each.name,
            "kind": each.kind.name,
            "trace": f"{each.context.trace_id:032x}",
            "id": f"{each.context.span_id:016x}",
            "parent": f"{each.parent.span_id:016x}" if each.parent else None,
            "route": each.attributes.get("http.route"),
            "status": each.attributes.get("http.status_code") or each.attributes.get("http.response.status_code"),
        }
        for each in found
    ]


def check(client, at):
    client.get("/spans")
    caller = "00-11112222333344445555666677778888-1234123412341234-01"
    seen = client.get(f"{at}/bottle/7", headers={"traceparent": caller}).text
    assert seen == "11112222333344445555666677778888"
    inner, outer = client.get("/spans").json
    assert (outer["name"], outer["kind"], outer["route"], outer["status"]) == (f"GET {at}/bottle/<key>", "SERVER", f"{at}/bottle/<key>", 200)
    assert outer["parent"] == "1234123412341234"
    assert (inner["name"], inner["parent"], inner["trace"]) == ("look up", outer["id"], outer["trace"])
    assert client.get(f"{at}/broken").status_code == 500
    [broken] = client.get("/spans").json
    assert (broken["status"], broken["parent"]) == (500, None)
