"""Descriptions in docstrings become OpenAPI and a page to try them; bodies are checked against them."""

import asyncio

from flasgger import Swagger, swag_from
from flask import Flask, request

DISTRIBUTION = "flasgger"

app = Flask(__name__)
Swagger(app)
SPEC = {
    "parameters": [{"in": "body", "name": "bottle", "schema": {"id": "Bottle", "required": ["name"], "properties": {"name": {"type": "string"}}}}],
    "responses": {"200": {"description": "The bottle"}},
}


@app.get("/sync/bottle/<key>")
def sync_bottle(key):
    """A bottle.
    ---
    parameters: [{name: key, in: path, type: string, required: true}]
    responses: {200: {description: One bottle}}
    """
    return {"key": key}


@app.get("/async/bottle/<key>")
async def async_bottle(key):
    """A bottle.
    ---
    parameters: [{name: key, in: path, type: string, required: true}]
    responses: {200: {description: One bottle}}
    """
    await asyncio.sleep(0)
    return {"key": key}


@app.post("/sync/bottle")
@swag_from(SPEC, validation=True)
def sync_add():
    return request.json


@app.post("/async/bottle")
@swag_from(SPEC, validation=True)
async def async_add():
    await asyncio.sleep(0)
    return request.json


def check(client, at):
    assert client.get(f"{at}/bottle/k").json == {"key": "k"}
    assert client.post(f"{at}/bottle", json={"name": "red"}).json == {"name": "red"}
    assert client.post(f"{at}/bottle", json={"name": 5}).status_code == 400
    described = client.get("/apispec_1.json").json
    assert described["paths"][f"{at}/bottle/{{key}}"]["get"]["summary"] == "A bottle."
    assert described["definitions"]["Bottle"]["required"] == ["name"]
    assert "swagger-ui" in client.get("/apidocs/").text
    assert client.get("/flasgger_static/swagger-ui.css").status_code == 200
