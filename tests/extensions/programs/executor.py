"""Work given to threads with the context of the request: `current_app`, `request` and `g` are the caller's."""

import asyncio

from flask import Flask, current_app, g, request
from flask_executor import Executor

DISTRIBUTION = "Flask-Executor"

app = Flask(__name__)
app.config["EXECUTOR_PUSH_APP_CONTEXT"] = True
executor = Executor(app)


def work(number):
    return f"{current_app.name} {request.args['who']} {g.word} {number}"


@app.get("/sync/work")
def sync_work():
    g.word = "sync"
    return [executor.submit(work, 0).result(10), *executor.map(work, [1, 2])]


@app.get("/async/work")
async def async_work():
    g.word = "async"
    await asyncio.sleep(0)
    return [await asyncio.wrap_future(executor.submit(work, 0)), *executor.map(work, [1, 2])]


@app.post("/sync/stored/<key>")
def sync_store(key):
    executor.submit_stored(key, pow, 2, 5)
    return ""


@app.post("/async/stored/<key>")
async def async_store(key):
    executor.submit_stored(key, pow, 2, 5)
    return ""


@app.get("/stored/<key>")
def stored(key):
    return f"{executor.futures.pop(key).result(10)}"


def check(client, at):
    word = at.strip("/")
    assert client.get(f"{at}/work?who=anna").json == [f"programs.executor anna {word} {number}" for number in range(3)]
    client.post(f"{at}/stored/{id(client)}")
    assert client.get(f"/stored/{id(client)}").text == "32"
