"""The links of a paged list, with the page of the request and its other arguments."""

import asyncio

from flask import Flask, render_template_string
from flask_paginate import Pagination, get_page_args

DISTRIBUTION = "flask-paginate"

app = Flask(__name__)


def page():
    number, size, offset = get_page_args()
    pagination = Pagination(page=number, per_page=size, total=95, record_name="bottles", css_framework="bootstrap4")
    return render_template_string("{{ offset }};{{ pagination.info }}{{ pagination.links }}", pagination=pagination, offset=offset)


@app.get("/sync/list")
def sync_list():
    return page()


@app.get("/async/list")
async def async_list():
    await asyncio.sleep(0)
    return page()


def check(client, at):
    text = client.get(f"{at}/list?page=3&colour=red").text
    assert text.startswith("20;")
    assert "bottles" in text
    assert f'href="{at}/list?page=4&colour=red"' in text, text
    assert "page=10" in text
