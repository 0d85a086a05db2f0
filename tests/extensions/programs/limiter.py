"""A limit per route counted in Redis: 429 after it, the headers that tell what is left, exempt routes."""

import asyncio
import os
from uuid import uuid4

from flask import Flask, request
from flask_limiter import Limiter

DISTRIBUTION = "Flask-Limiter"
SERVICES = ["redis"]

app = Flask(__name__)
limiter = Limiter(
    lambda: request.headers.get("X-Who", "nobody"),
    app=app,
    storage_uri="redis://127.0.0.1:6379",
    key_prefix=f"carboy-trial-{os.getpid()}",
    headers_enabled=True,
    default_limits=["2 per hour"],
)


@app.get("/sync/limited")
@limiter.limit("3 per minute")
def sync_limited():
    return "served"


@app.get("/async/limited")
@limiter.limit("3 per minute")
async def async_limited():
    await asyncio.sleep(0)
    return "served"


@app.get("/sync/default")
def sync_default():
    return "served"


@app.get("/async/default")
async def async_default():
    await asyncio.sleep(0)
    return "served"


@app.get("/sync/free")
@limiter.exempt
def sync_free():
    return "served"


@app.get("/async/free")
@limiter.exempt
async def async_free():
    return "served"


@app.errorhandler(429)
def too_many(error):
    return {"limit": str(error.description)}, 429


def check(client, at):
    who = {"X-Who": uuid4().hex}
    answers = [client.get(f"{at}/limited", headers=who) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].text == "served"
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    assert answers[3].json == {"limit": "3 per 1 minute"}
    assert client.get(f"{at}/limited", headers={"X-Who": uuid4().hex}).status_code == 200
    assert [client.get(f"{at}/default", headers=who).status_code for _ in range(3)] == [200, 200, 429]
    assert {client.get(f"{at}/free", headers=who).status_code for _ in range(5)} == {200}
