"""A token in a cookie that each change must repeat, in the form or in a header; exempt views."""

import asyncio

from flask import Flask, render_template_string
from flask_seasurf import SeaSurf

DISTRIBUTION = "Flask-SeaSurf"

app = Flask(__name__)
app.secret_key = "a key of this trial"
csrf = SeaSurf(app)


@app.route("/sync/form", methods=["GET", "POST"])
def sync_form():
    return render_template_string("{{ csrf_token() }}")


@app.route("/async/form", methods=["GET", "POST"])
async def async_form():
    await asyncio.sleep(0)
    return render_template_string("{{ csrf_token() }}")


@csrf.exempt
@app.post("/sync/free")
def sync_free():
    return "free"


@csrf.exempt
@app.post("/async/free")
async def async_free():
    await asyncio.sleep(0)
    return "free"


def check(client, at):
    token = client.get(f"{at}/form").text
    assert client.get_cookie("_csrf_token").value == token
    assert client.post(f"{at}/form").status_code == 403
    assert client.post(f"{at}/form", data={"_csrf_token": token + "x"}).status_code == 403
    assert client.post(f"{at}/form", data={"_csrf_token": token}).text == token
    assert client.post(f"{at}/form", headers={"X-CSRFToken": token}).text == token
    assert client.post(f"{at}/free").text == "free"
