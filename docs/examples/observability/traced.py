"""Spans to the console: `pip install opentelemetry-sdk`, then `carboy run traced:app`.

In production the exporter is that of your collector, or `opentelemetry-instrument` sets it up from OTEL_* variables.
"""

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from carboy import Carboy

provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)

app = Carboy(__name__)


@app.get("/orders/<int:number>")
def order(number: int):
    with trace.get_tracer("shop").start_as_current_span("look up"):
        return {"number": number}
