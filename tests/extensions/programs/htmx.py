"""What htmx says in its headers, for each request, in views and templates; answers that tell it what to do."""

import asyncio

from flask import Flask, render_template_string
from flask_htmx import HTMX, make_response

DISTRIBUTION = "Flask-HTMX"

app = Flask(__name__)
htmx = HTMX(app)


def part():
    if not htmx:
        return "whole page"
    text = render_template_string("{{ 'part' if htmx else 'whole' }} for {{ target }}", htmx=htmx, target=htmx.target)
    return make_response(text, trigger={"bottled": {"name": htmx.prompt}}, push_url="/x")


@app.get("/sync/page")
def sync_page():
    return part()


@app.get("/async/page")
async def async_page():
    await asyncio.sleep(0)
    return part()


def check(client, at):
    assert client.get(f"{at}/page").text == "whole page"
    answer = client.get(f"{at}/page", headers={"HX-Request": "true", "HX-Target": "list", "HX-Prompt": "red"})
    assert answer.text == "part for list"
    assert answer.headers["HX-Push-Url"] == "/x"
    assert answer.headers["HX-Trigger"].replace(" ", "") == '{"bottled":{"name":"red"}}'
