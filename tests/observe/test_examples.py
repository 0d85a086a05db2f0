"""The files of docs/observability.md run, and show what the chapter says."""

import asyncio
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from carboy import Carboy
from carboy.observe.health import Health, pings_of
from carboy.observe.observer import Observer
from carboy.observe.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples" / "observability"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"observability_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shop_has_a_service_with_a_ping() -> None:
    """Its readiness names the database."""
    app: Carboy = load("shop").app
    health = Health(pings_of(app, lambda: None))
    health.has_started = True

    status, body = health.readyz()

    assert status == 200
    assert json.loads(body)["checks"]["db"]["ok"] is True
    assert app.test_client().get("/orders/3").json == {"number": 3}


def test_anywhere_serves_its_pages_itself() -> None:
    """Behind any WSGI or ASGI server."""
    module = load("anywhere")
    statuses: list[int] = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event):
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    async def main() -> None:
        for path in ("/", "/metrics", "/-/livez", "/nothing"):
            scope = {
                "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
                "scheme": "http", "client": ("10.0.0.7", 1), "server": ("h", 80), "root_path": "", "http_version": "1.1",
            }  # fmt: skip
            await module.application(scope, receive, send)

    asyncio.run(main())
    module.observe.observer.stop()

    assert statuses == [200, 200, 200, 404]


def test_traced_runs_where_the_sdk_is() -> None:
    """It needs opentelemetry-sdk, which is no dependency."""
    trace = pytest.importorskip("opentelemetry.trace", reason="opentelemetry-sdk is not installed")
    pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        pytest.skip("this process has a provider already")

    assert load("traced").app.test_client().get("/orders/3").json == {"number": 3}
    trace.get_tracer_provider().shutdown()


def test_chapter_names_every_metric_and_every_file() -> None:
    """What is there is told, and what is told is there."""
    text = (DOCS / "observability.md").read_text()
    observer = Observer(Settings())
    observer.ready(None)
    _, _, body = observer.metrics_page()
    observer.stop()
    names = {line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE")}

    untold = {name for name in names if name not in text and name.replace("carboy_worker_threads", "…_threads") not in text}
    assert untold == set()
    assert [path.name for path in EXAMPLES.iterdir() if path.is_file() and path.name not in text] == []
