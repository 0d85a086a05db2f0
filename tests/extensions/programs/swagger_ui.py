"""The page that shows an API's description, with its scripts, from a blueprint."""

import asyncio

from flask import Flask
from flask_swagger_ui import get_swaggerui_blueprint

DISTRIBUTION = "flask-swagger-ui"

app = Flask(__name__)
for at in ("sync", "async"):
    app.register_blueprint(get_swaggerui_blueprint(f"/{at}/docs", f"/{at}/api.json", config={"app_name": f"{at} bottles"}, blueprint_name=at))


@app.get("/sync/api.json")
def sync_description():
    return {"openapi": "3.0.3"}


@app.get("/async/api.json")
async def async_description():
    await asyncio.sleep(0)
    return {"openapi": "3.0.3"}


def check(client, at):
    page = client.get(f"{at}/docs/").text
    assert f"{at.strip('/')} bottles" in page
    assert f"{at}/api.json" in page
    assert client.get(f"{at}/api.json").json == {"openapi": "3.0.3"}
    script = client.get(f"{at}/docs/swagger-ui-bundle.js")
    assert script.mimetype == "text/javascript"
    assert len(script.data) > 100_000
