"""Jobs that run in time with the application's context, added in views, and the interface that lists and removes them."""

import asyncio
import time
from datetime import datetime
from uuid import uuid4

from flask import Flask, current_app
from flask_apscheduler import APScheduler

DISTRIBUTION = "Flask-APScheduler"

app = Flask(__name__)
app.config.update(SCHEDULER_API_ENABLED=True, SCHEDULER_TIMEZONE="UTC")
scheduler = APScheduler()
scheduler.init_app(app)
done = {}


@scheduler.task("interval", id="beat", seconds=0.2)
def beat():
    with scheduler.app.app_context():
        done["beat"] = current_app.name


def job(key):
    with scheduler.app.app_context():
        done[key] = current_app.name


scheduler.start()


@app.post("/sync/job/<key>")
def sync_job(key):
    scheduler.add_job(key, job, args=[key], trigger="date")
    return "added"


@app.post("/async/job/<key>")
async def async_job(key):
    await asyncio.sleep(0)
    scheduler.add_job(key, job, args=[key], trigger="date")
    return "added"


@app.get("/sync/done/<key>")
def sync_done(key):
    return done.get(key, "")


@app.get("/async/done/<key>")
async def async_done(key):
    await asyncio.sleep(0)
    return done.get(key, "")


def check(client, at):
    key = uuid4().hex
    assert client.post(f"{at}/job/{key}").text == "added"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (client.get(f"{at}/done/{key}").text and client.get(f"{at}/done/beat").text):
        time.sleep(0.05)
    assert client.get(f"{at}/done/{key}").text == "programs.apscheduler"
    assert client.get(f"{at}/done/beat").text == "programs.apscheduler"
    assert [each["id"] for each in client.get("/scheduler/jobs").json] == ["beat"]
    later = client.post("/scheduler/jobs", json={"id": key, "func": "programs.apscheduler:job", "args": [key], "trigger": "date", "run_date": f"{datetime.now().year + 1}-01-01T00:00:00"})
    assert later.json["id"] == key, later.text
    assert client.delete(f"/scheduler/jobs/{key}").status_code == 204
