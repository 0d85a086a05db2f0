"""Resources in namespaces, checked bodies, marshalled answers, and the description of it all as Swagger."""

import asyncio

from flask import Flask
from flask_restx import Api, Resource, fields

DISTRIBUTION = "Flask-RESTX"
NOTE = "Methods that are `async def` want `method_decorators = [app.ensure_sync]`."

app = Flask(__name__)
api = Api(app, title="Bottles", validate=True, catch_all_404s=True)
bottle = api.model("Bottle", {"name": fields.String(required=True), "litres": fields.Float(min=0)})


class Empty(Exception):
    pass


@api.errorhandler(Empty)
def empty(error):
    return {"message": "empty"}, 409


sync_bottles, async_bottles = api.namespace("sync", path="/sync"), api.namespace("async", path="/async")


@sync_bottles.route("/bottles/<key>")
class SyncBottle(Resource):
    @api.expect(bottle)
    @api.marshal_with(bottle, code=201, skip_none=True)
    def post(self, key):
        return {**api.payload, "secret": key}, 201

    def get(self, key):
        raise Empty


@async_bottles.route("/bottles/<key>")
class AsyncBottle(Resource):
    method_decorators = [app.ensure_sync]

    @api.expect(bottle)
    async def post(self, key):
        await asyncio.sleep(0)
        return api.marshal({**api.payload, "secret": key}, bottle, skip_none=True), 201

    async def get(self, key):
        await asyncio.sleep(0)
        raise Empty


def check(client, at):
    made = client.post(f"{at}/bottles/k", json={"name": "red", "litres": 0.7})
    assert (made.status_code, made.json) == (201, {"name": "red", "litres": 0.7}), made.text
    wrong = client.post(f"{at}/bottles/k", json={"litres": -1})
    assert wrong.status_code == 400
    assert set(wrong.json["errors"]) == {"name", "litres"}
    broken = client.get(f"{at}/bottles/k")
    assert (broken.status_code, broken.json) == (409, {"message": "empty"})
    assert client.get("/nothing").json["message"].startswith("The requested URL was not found")
    described = client.get("/swagger.json").json
    assert described["definitions"]["Bottle"]["required"] == ["name"]
    assert "post" in described["paths"][f"{at}/bottles/{{key}}"]
    assert "swagger-ui" in client.get("/").text
    assert client.get("/swaggerui/swagger-ui.css").status_code == 200
