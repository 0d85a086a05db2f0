"""Requests counted and timed by view, method and status, metrics of one's own, and the page that is scraped."""

import asyncio
import re

from flask import Flask, request
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

DISTRIBUTION = "prometheus-flask-exporter"

app = Flask(__name__)
metrics = PrometheusMetrics(app, registry=CollectorRegistry(), group_by="endpoint")


@app.get("/sync/bottle/<colour>")
@metrics.counter("bottles_by", "Bottles", labels={"colour": lambda: request.view_args["colour"], "way": "sync"})
def sync_bottle(colour):
    return colour


@app.get("/async/bottle/<colour>")
@metrics.counter("async_bottles_by", "Bottles", labels={"colour": lambda: request.view_args["colour"], "way": "async"})
async def async_bottle(colour):
    await asyncio.sleep(0)
    return colour


@app.get("/sync/broken")
def sync_broken():
    raise RuntimeError


@app.get("/async/broken")
async def async_broken():
    raise RuntimeError


def check(client, at):
    word = at.strip("/")

    def read(pattern):
        found = re.search(rf"^{pattern} ([\d.]+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0

    name = "bottles_by_total" if word == "sync" else "async_bottles_by_total"
    asked = {
        "view": rf'flask_http_request_duration_seconds_count{{endpoint="{word}_bottle",method="GET",status="200"}}',
        "own": rf'{name}{{colour="red",way="{word}"}}',
        "error": rf'flask_http_request_duration_seconds_count{{endpoint="{word}_broken",method="GET",status="500"}}',
    }
    before = {key: read(pattern) for key, pattern in asked.items()}
    assert client.get(f"{at}/bottle/red").text == "red"
    assert client.get(f"{at}/bottle/red").text == "red"
    assert client.get(f"{at}/broken").status_code == 500
    after = {key: read(pattern) for key, pattern in asked.items()}
    assert {key: after[key] - before[key] for key in asked} == {"view": 2, "own": 2, "error": 1}
