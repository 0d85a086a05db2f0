"""Cross-origin headers and preflight answers for the allowed origin, none for others."""

import asyncio

from flask import Flask
from flask_cors import CORS, cross_origin

DISTRIBUTION = "Flask-Cors"

app = Flask(__name__)
CORS(app, resources={r"/(sync|async)/all": {"origins": ["https://shop.example"], "supports_credentials": True, "max_age": 60}})


@app.get("/sync/all")
def sync_all():
    return "all"


@app.get("/async/all")
async def async_all():
    await asyncio.sleep(0)
    return "all"


@app.get("/sync/one")
@cross_origin(origins="https://one.example")
def sync_one():
    return {"one": 1}


@app.get("/async/one")
@cross_origin(origins="https://one.example")
async def async_one():
    await asyncio.sleep(0)
    return {"one": 1}


def check(client, at):
    answer = client.get(f"{at}/all", headers={"Origin": "https://shop.example"})
    assert answer.text == "all"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Access-Control-Allow-Origin" not in client.get(f"{at}/all", headers={"Origin": "https://other.example"}).headers
    preflight = client.options(
        f"{at}/all", headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    )
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert preflight.headers["Access-Control-Max-Age"] == "60"
    answer = client.get(f"{at}/one", headers={"Origin": "https://one.example"})
    assert answer.json == {"one": 1}
    assert answer.headers["Access-Control-Allow-Origin"] == "https://one.example"
