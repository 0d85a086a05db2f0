"""Errors reported with their request and their view, messages of views, and a transaction for each request."""

import asyncio
import time

import sentry_sdk
from flask import Flask, request
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.transport import Transport

DISTRIBUTION = "sentry-sdk"

kept = []


class Keep(Transport):
    def capture_envelope(self, envelope):
        kept.extend(item.payload.json for item in envelope.items if item.payload.json)


sentry_sdk.init(
    dsn="http://key@127.0.0.1:1/1", transport=Keep, integrations=[FlaskIntegration()], traces_sample_rate=1.0, default_integrations=False
)
app = Flask(__name__)


@app.get("/sync/broken/<key>")
def sync_broken(key):
    raise RuntimeError(key)


@app.get("/async/broken/<key>")
async def async_broken(key):
    await asyncio.sleep(0)
    raise RuntimeError(key)


@app.post("/sync/said/<key>")
def sync_said(key):
    sentry_sdk.capture_message(f"said {key}")
    return "said"


@app.post("/async/said/<key>")
async def async_said(key):
    await asyncio.sleep(0)
    sentry_sdk.capture_message(f"said {key}")
    return "said"


@app.get("/kept/<key>")
def show(key):
    return [each for each in kept if key in str(each)]


def check(client, at):
    key, view = f"k{time.monotonic_ns()}", f"{at.strip('/')}_broken"
    # A server answers 500; in this process a debug client would see the error itself.
    assert client.get(f"{at}/broken/{key}", headers={"X-Bottle": "red"}).status_code == 500
    events = client.get(f"/kept/{key}").json
    [error] = [each for each in events if "exception" in each]
    assert error["exception"]["values"][-1]["value"] == key
    assert error["transaction"] == view
    assert error["request"]["url"] == f"http://localhost{at}/broken/{key}"
    assert error["request"]["headers"]["X-Bottle"] == "red"
    [timed] = [each for each in events if each.get("type") == "transaction"]
    assert timed["transaction"] == view
    assert timed["contexts"]["trace"]["op"] == "http.server"
    assert client.post(f"{at}/said/{key}x", json={"bottle": "red"}).text == "said"
    [message] = [each for each in client.get(f"/kept/{key}x").json if each.get("message")]
    assert message["request"]["data"] == {"bottle": "red"}
    assert request.__class__.__name__ == "LocalProxy"
