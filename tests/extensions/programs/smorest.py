"""Arguments and answers by schema, pages, ETags, errors in one shape, and the OpenAPI description of it."""

import asyncio

import marshmallow as ma
from flask import Flask
from flask.views import MethodView
from flask_smorest import Api, Blueprint, abort

DISTRIBUTION = "Flask-Smorest"

app = Flask(__name__)
app.config.update(API_TITLE="Bottles", API_VERSION="1", OPENAPI_VERSION="3.0.3", OPENAPI_URL_PREFIX="/docs", OPENAPI_SWAGGER_UI_PATH="/ui", OPENAPI_SWAGGER_UI_URL="/never/")
api = Api(app)


class Bottle(ma.Schema):
    id = ma.fields.Int(dump_only=True)
    name = ma.fields.String(required=True)


class Search(ma.Schema):
    name = ma.fields.String(load_default="red")


sync_blp, async_blp = Blueprint("sync", "sync", url_prefix="/sync"), Blueprint("async", "async", url_prefix="/async")


@sync_blp.route("/bottles")
class SyncBottles(MethodView):
    @sync_blp.etag
    @sync_blp.arguments(Search, location="query")
    @sync_blp.response(200, Bottle(many=True))
    @sync_blp.paginate()
    def get(self, search, pagination_parameters):
        pagination_parameters.item_count = 25
        first = pagination_parameters.first_item
        return [{"id": number, "name": search["name"]} for number in range(first, pagination_parameters.last_item + 1)]

    @sync_blp.arguments(Bottle)
    @sync_blp.response(201, Bottle)
    def post(self, data):
        if data["name"] == "taken":
            abort(409, message="there is one")
        return {"id": 7, **data}


@async_blp.route("/bottles")
class AsyncBottles(MethodView):
    @async_blp.etag
    @async_blp.arguments(Search, location="query")
    @async_blp.response(200, Bottle(many=True))
    @async_blp.paginate()
    async def get(self, search, pagination_parameters):
        await asyncio.sleep(0)
        pagination_parameters.item_count = 25
        first = pagination_parameters.first_item
        return [{"id": number, "name": search["name"]} for number in range(first, pagination_parameters.last_item + 1)]

    @async_blp.arguments(Bottle)
    @async_blp.response(201, Bottle)
    async def post(self, data):
        await asyncio.sleep(0)
        if data["name"] == "taken":
            abort(409, message="there is one")
        return {"id": 7, **data}


api.register_blueprint(sync_blp)
api.register_blueprint(async_blp)


def check(client, at):
    answer = client.get(f"{at}/bottles?name=white&page=2&page_size=10")
    assert [bottle["id"] for bottle in answer.json] == list(range(10, 20)), answer.text
    assert answer.json[0]["name"] == "white"
    assert '"total_pages": 3' in answer.headers["X-Pagination"]
    etag = answer.headers["ETag"]
    again = client.get(f"{at}/bottles?name=white&page=2&page_size=10", headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    made = client.post(f"{at}/bottles", json={"name": "red"})
    assert (made.status_code, made.json) == (201, {"id": 7, "name": "red"})
    wrong = client.post(f"{at}/bottles", json={"id": 1})
    assert (wrong.status_code, set(wrong.json["errors"]["json"])) == (422, {"id", "name"})
    taken = client.post(f"{at}/bottles", json={"name": "taken"})
    assert (taken.status_code, taken.json["message"]) == (409, "there is one")
    assert client.get("/nothing").json["code"] == 404
    described = client.get("/docs/openapi.json").json
    assert set(described["paths"][f"{at}/bottles"]) >= {"get", "post"}
    assert "Bottle" in described["components"]["schemas"]
