"""Resources with their methods, parsed arguments, marshalled answers, errors as JSON, addresses of resources."""

import asyncio

from flask import Flask
from flask_restful import Api, Resource, abort, fields, marshal_with, reqparse

DISTRIBUTION = "Flask-RESTful"
NOTE = "Methods that are `async def` want `method_decorators = [app.ensure_sync]`, as on Flask."

app = Flask(__name__)
api = Api(app, errors={"Broken": {"message": "It broke.", "status": 409}})
parser = reqparse.RequestParser()
parser.add_argument("name", type=str, required=True, help="a name is needed")
parser.add_argument("age", type=int, default=7)
SHAPE = {"name": fields.String(attribute="n"), "age": fields.Integer, "uri": fields.Url("sync_item", absolute=False)}


class Broken(Exception):
    pass


def given():
    arguments = parser.parse_args()
    return {"n": arguments["name"], "age": arguments["age"], "key": "k", "secret": "never shown"}


class SyncItem(Resource):
    @marshal_with(SHAPE)
    def post(self, key):
        return given(), 201, {"X-Made": key}

    def get(self, key):
        if key == "broken":
            raise Broken
        abort(404, message=f"no {key}")


class AsyncItem(Resource):
    method_decorators = [app.ensure_sync]

    async def post(self, key):
        await asyncio.sleep(0)
        found = given()
        return {"name": found["n"], "age": found["age"], "uri": f"/sync/items/{key}"}, 201, {"X-Made": key}

    async def get(self, key):
        await asyncio.sleep(0)
        if key == "broken":
            raise Broken
        abort(404, message=f"no {key}")


api.add_resource(SyncItem, "/sync/items/<key>", endpoint="sync_item")
api.add_resource(AsyncItem, "/async/items/<key>", endpoint="async_item")


def check(client, at):
    made = client.post(f"{at}/items/k", json={"name": "anna", "age": "9"})
    assert (made.status_code, made.json) == (201, {"name": "anna", "age": 9, "uri": "/sync/items/k"}), made.text
    assert made.headers["X-Made"] == "k"
    wrong = client.post(f"{at}/items/k", json={"age": 9})
    assert (wrong.status_code, wrong.json) == (400, {"message": {"name": "a name is needed"}})
    missing = client.get(f"{at}/items/x")
    assert (missing.status_code, missing.json) == (404, {"message": "no x"})
    broken = client.get(f"{at}/items/broken")
    assert (broken.status_code, broken.json) == (409, {"message": "It broke.", "status": 409})
    assert client.put(f"{at}/items/x").status_code == 405
