"""Bodies, queries and path parameters checked by models, answers made of models, errors listed."""

import asyncio

from flask import Flask
from flask_pydantic import validate
from pydantic import BaseModel, Field

DISTRIBUTION = "Flask-Pydantic"

app = Flask(__name__)


class Bottle(BaseModel):
    name: str
    litres: float = Field(gt=0)


class Search(BaseModel):
    size: int = 10


@app.post("/sync/bottles/<shelf>")
@validate(on_success_status=201)
def sync_add(shelf: int, body: Bottle, query: Search):
    return Bottle(name=f"{body.name} {shelf} {query.size}", litres=body.litres)


@app.post("/async/bottles/<shelf>")
@validate(on_success_status=201)
async def async_add(shelf: int, body: Bottle, query: Search):
    await asyncio.sleep(0)
    return Bottle(name=f"{body.name} {shelf} {query.size}", litres=body.litres)


def check(client, at):
    made = client.post(f"{at}/bottles/3?size=5", json={"name": "red", "litres": 0.7})
    assert (made.status_code, made.json) == (201, {"name": "red 3 5", "litres": 0.7}), made.text
    wrong = client.post(f"{at}/bottles/3", json={"litres": -1})
    assert wrong.status_code == 400
    assert {error["loc"][0] for error in wrong.json["validation_error"]["body_params"]} == {"name", "litres"}
    assert "query_params" in client.post(f"{at}/bottles/3?size=x", json={"name": "red", "litres": 1}).json["validation_error"]
    assert "path_params" in client.post(f"{at}/bottles/x", json={"name": "red", "litres": 1}).json["validation_error"]
