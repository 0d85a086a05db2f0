"""The session kept in Redis, the cookie holding only its key; changing, clearing, flashing."""

import asyncio
import os

import redis
from flask import Flask, flash, get_flashed_messages, session
from flask_session import Session

DISTRIBUTION = "Flask-Session"
SERVICES = ["redis"]

app = Flask(__name__)
store = redis.Redis(host="127.0.0.1")
prefix = f"carboy-trial-session-{os.getpid()}:"
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=store, SESSION_KEY_PREFIX=prefix, PERMANENT_SESSION_LIFETIME=60)
Session(app)


def count():
    session["count"] = session.get("count", 0) + 1
    session.setdefault("seen", []).append("x" * 2000)
    return {"count": session["count"], "kept": len(store.keys(prefix + "*")), "sid": session.sid}


@app.post("/sync/count")
def sync_count():
    return count()


@app.post("/async/count")
async def async_count():
    await asyncio.sleep(0)
    return count()


@app.post("/sync/clear")
def sync_clear():
    session.clear()
    flash("cleared")
    return "cleared"


@app.post("/async/clear")
async def async_clear():
    session.clear()
    await asyncio.sleep(0)
    flash("cleared")
    return "cleared"


@app.get("/sync/flashed")
def sync_flashed():
    return get_flashed_messages()


@app.get("/async/flashed")
async def async_flashed():
    return get_flashed_messages()


def check(client, at):
    first = client.post(f"{at}/count")
    assert first.json["count"] == 1
    cookie = client.get_cookie("session").value
    assert len(cookie) < 100, "the data is not in the cookie"
    second = client.post(f"{at}/count").json
    assert second["count"] == 2
    assert second["kept"] >= 1, "the data is in Redis"
    assert second["sid"] == first.json["sid"]
    assert type(client)(client.application).post(f"{at}/count").json["count"] == 1, "another visitor"
    client.post(f"{at}/clear")
    assert client.get(f"{at}/flashed").json == ["cleared"]
    assert client.get(f"{at}/flashed").json == []
    assert client.post(f"{at}/count").json["count"] == 1
