"""Emmett55 through RSGI; its sessions in cookies are encrypted, not only signed."""

from __future__ import annotations

import json
from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from emmett55 import App, Pipe, request, response, session, websocket
from emmett55.sessions import SessionManager
from emmett55.tools import service
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")
# Its files lie in the folder `static` of the application's root, wherever that is.
app = App(__name__, root_path=str(STATIC.parent))


@app.route("/plaintext", methods="get", output="str")
async def plaintext() -> str:
    response.content_type = "text/plain; charset=utf-8"
    return HELLO


@app.route("/json", methods="get")
@service.json
async def message() -> Any:
    return MESSAGE


@app.route("/sync", methods="get")
@service.json
def sync() -> Any:
    return MESSAGE


@app.route("/users/<int:user>", methods="get")
@service.json
async def user(user: int) -> Any:
    query = request.query_params
    return {"user": user, "q": query.q, "page": int(query.page)}


@app.route("/orders", methods="post")
@service.json
async def orders() -> Any:
    try:
        order = json.loads(await request.body)
        total = sum_of(order)
    except ValueError as error:
        response.status = 400
        return {"error": str(error)}
    response.status = 201
    return {"order": order, "sum": total}


@app.route("/page", methods="get", output="str")
async def page() -> str:
    response.content_type = "text/html; charset=utf-8"
    return template.render(title="Rows", rows=ROWS)


@app.websocket("/ws")
async def echo() -> None:
    await websocket.accept()
    while True:
        await websocket.send(await websocket.receive())


async def other(name: str) -> Any:
    return MESSAGE


for number in range(OTHERS):
    app.route(f"/other{number}/<str:name>", name=f"other{number}", methods="get")(service.json(other))


class Hooks(Pipe):
    async def open_request(self) -> None:
        request.before = "1"

    async def close_request(self) -> None:
        response.headers["x-before"] = request.before


full_app = app.module(__name__, "full", url_prefix="full")
full_app.pipeline = [Hooks(), SessionManager.cookies(SECRET)]


@full_app.route("/", methods="get")
@service.json
async def full() -> Any:
    session.visits = (session.visits or 0) + 1
    return {"visits": session.visits}
