"""Views and functions answered from the cache in Redis, by path, by query and by argument; forgetting them."""

import asyncio
import itertools
import os
from uuid import uuid4

from flask import Flask
from flask_caching import Cache

DISTRIBUTION = "Flask-Caching"
SERVICES = ["redis"]

app = Flask(__name__)
cache = Cache(
    app,
    config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": "redis://127.0.0.1:6379", "CACHE_KEY_PREFIX": f"carboy-trial-{os.getpid()}"},
)
ticks = itertools.count(1)


@cache.memoize(60)
def expensive(key):
    return next(ticks)


@app.get("/sync/view/<key>")
@cache.cached(timeout=60, query_string=True)
def sync_view(key):
    return f"{next(ticks)}"


@app.get("/async/view/<key>")
@cache.cached(timeout=60, query_string=True)
async def async_view(key):
    await asyncio.sleep(0)
    return f"{next(ticks)}"


@app.get("/sync/function/<key>")
def sync_function(key):
    return f"{expensive(key)}"


@app.get("/async/function/<key>")
async def async_function(key):
    await asyncio.sleep(0)
    return f"{expensive(key)}"


@app.delete("/sync/function/<key>")
def sync_forget(key):
    cache.delete_memoized(expensive, key)
    return ""


@app.delete("/async/function/<key>")
async def async_forget(key):
    cache.delete_memoized(expensive, key)
    return ""


def check(client, at):
    key = uuid4().hex
    first = client.get(f"{at}/view/{key}?a=1&b=2").text
    assert first.isdigit()
    assert client.get(f"{at}/view/{key}?b=2&a=1").text == first
    assert client.get(f"{at}/view/{key}?a=2").text != first
    memoized = client.get(f"{at}/function/{key}").text
    assert memoized.isdigit()
    assert client.get(f"{at}/function/{key}").text == memoized
    assert client.get(f"{at}/function/{key}x").text != memoized
    client.delete(f"{at}/function/{key}")
    assert client.get(f"{at}/function/{key}").text != memoized
