"""An application of its subclass: checked input, shaped output, authentication, errors as JSON, OpenAPI."""

import asyncio

from apiflask import APIBlueprint, APIFlask, HTTPTokenAuth, Schema, abort
from apiflask.fields import Integer, String
from apiflask.validators import Length

DISTRIBUTION = "APIFlask"

app = APIFlask(__name__, title="Bottles")
auth = HTTPTokenAuth()
auth.verify_token({"t": {"name": "anna"}}.get)


class BottleIn(Schema):
    name = String(required=True, validate=Length(max=5))


class BottleOut(Schema):
    id = Integer()
    name = String()


sync_blp, async_blp = APIBlueprint("sync", __name__, url_prefix="/sync"), APIBlueprint("async", __name__, url_prefix="/async")


@sync_blp.post("/bottles")
@sync_blp.input(BottleIn)
@sync_blp.output(BottleOut, status_code=201)
def sync_add(json_data):
    return {"id": 7, "secret": 1, **json_data}


@async_blp.post("/bottles")
@async_blp.input(BottleIn)
@async_blp.output(BottleOut, status_code=201)
async def async_add(json_data):
    await asyncio.sleep(0)
    return {"id": 7, "secret": 1, **json_data}


@sync_blp.get("/me")
@app.auth_required(auth)
def sync_me():
    return auth.current_user


@async_blp.get("/me")
@app.auth_required(auth)
async def async_me():
    await asyncio.sleep(0)
    return auth.current_user


@sync_blp.get("/gone")
def sync_gone():
    abort(410, "all drunk", detail={"when": "yesterday"})


@async_blp.get("/gone")
async def async_gone():
    await asyncio.sleep(0)
    abort(410, "all drunk", detail={"when": "yesterday"})


app.register_blueprint(sync_blp)
app.register_blueprint(async_blp)


def check(client, at):
    made = client.post(f"{at}/bottles", json={"name": "red"})
    assert (made.status_code, made.json) == (201, {"id": 7, "name": "red"}), made.text
    wrong = client.post(f"{at}/bottles", json={"name": "much too long"})
    assert (wrong.status_code, wrong.json["detail"]) == (422, {"json": {"name": ["Longer than maximum length 5."]}})
    assert client.get(f"{at}/me").status_code == 401
    assert client.get(f"{at}/me", headers={"Authorization": "Bearer t"}).json == {"name": "anna"}
    gone = client.get(f"{at}/gone")
    assert (gone.status_code, gone.json) == (410, {"message": "all drunk", "detail": {"when": "yesterday"}})
    assert client.get("/nothing").json["message"] == "Not Found"
    described = client.get("/openapi.json").json
    assert described["info"]["title"] == "Bottles"
    assert "201" in described["paths"][f"{at}/bottles"]["post"]["responses"]
    assert "openapi.json" in client.get("/docs").text
