"""Classes whose methods become routes by their names, with hooks before and after them."""

import asyncio

from flask import Flask, request
from flask_classful import FlaskView, route

DISTRIBUTION = "Flask-Classful"
NOTE = "Methods that are `async def` want `decorators = [app.ensure_sync]`."

app = Flask(__name__)


class SyncView(FlaskView):
    route_base = "/sync"
    trailing_slash = False

    def before_request(self, name, **kwargs):
        self.asked = name

    def after_request(self, name, response):
        response.headers["X-After"] = name
        return response

    def index(self):
        return f"index after {self.asked}"

    def get(self, key):
        return f"bottle {key}"

    def post(self):
        return request.form["name"], 201

    @route("/special/<int:number>", methods=["PUT"])
    def special(self, number):
        return {"number": number}


class AsyncView(SyncView):
    route_base = "/async"
    trailing_slash = False
    decorators = [app.ensure_sync]

    async def index(self):
        await asyncio.sleep(0)
        return f"index after {self.asked}"

    async def get(self, key):
        await asyncio.sleep(0)
        return f"bottle {key}"

    async def post(self):
        return request.form["name"], 201

    @route("/special/<int:number>", methods=["PUT"])
    async def special(self, number):
        await asyncio.sleep(0)
        return {"number": number}


SyncView.register(app)
AsyncView.register(app)


def check(client, at):
    index = client.get(at)
    assert index.text == "index after index", index.text
    assert index.headers["X-After"] == "index"
    assert client.get(f"{at}/7").text == "bottle 7"
    assert client.post(at, data={"name": "red"}).status_code == 201
    assert client.put(f"{at}/special/7").json == {"number": 7}
    assert client.put(f"{at}/special/x").status_code == 404
