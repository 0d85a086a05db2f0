"""The toolbar put into pages of HTML, with the request's panels, the database queries, and pages of its own."""

import asyncio
import os
import re

from flask import Flask, render_template_string, session
from flask_debugtoolbar import DebugToolbarExtension
from flask_sqlalchemy import SQLAlchemy

DISTRIBUTION = "Flask-DebugToolbar"

app = Flask(__name__)
app.debug = True
app.config.update(
    SECRET_KEY="a key of this trial",
    DEBUG_TB_INTERCEPT_REDIRECTS=True,
    SQLALCHEMY_RECORD_QUERIES=True,
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['PROGRAM_DIR']}/toolbar.db",
)
db = SQLAlchemy(app)
DebugToolbarExtension(app)
PAGE = "<html><body>{{ word }}</body></html>"


def page(word):
    session["word"] = word
    db.session.execute(db.text("select 'told by the panel'"))
    return render_template_string(PAGE, word=word)


@app.get("/sync/page/<word>")
def sync_page(word):
    return page(word)


@app.get("/async/page/<word>")
async def async_page(word):
    await asyncio.sleep(0)
    return page(word)


@app.get("/sync/moved")
def sync_moved():
    return "", 302, {"Location": "/sync/page/x"}


@app.get("/async/moved")
async def async_moved():
    await asyncio.sleep(0)
    return "", 302, {"Location": "/async/page/x"}


@app.get("/sync/data")
def sync_data():
    return {"data": "<body></body>"}


@app.get("/async/data")
async def async_data():
    return {"data": "<body></body>"}


def check(client, at):
    text = client.get(f"{at}/page/bottle").text
    assert "bottle" in text
    assert 'id="flDebug"' in text
    assert re.search(r"1 quer(y|ies)", text), "the queries' panel"
    assert "told by the panel" in text
    assert f"{at.strip('/')}_page" in text, "the view in the request's panel"
    static = re.search(r'src="(/_debug_toolbar/static/[^"]+toolbar\.js)"', text)[1]
    assert client.get(static).status_code == 200
    moved = client.get(f"{at}/moved")
    assert moved.status_code == 200
    assert f"{at}/page/x" in moved.text
    assert client.get(f"{at}/data").json == {"data": "<body></body>"}
