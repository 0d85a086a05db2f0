"""Quart."""

from __future__ import annotations

from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from quart import Quart, render_template, request, session, websocket

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
app = Quart("bench", template_folder=str(TEMPLATES), static_folder=str(STATIC), static_url_path="/static")
full_app = Quart("bench-full", static_folder=None)
full_app.secret_key = SECRET


@app.get("/plaintext")
async def plaintext() -> Any:
    return HELLO, TEXT


@app.get("/json")
async def message() -> Any:
    return MESSAGE


@app.get("/sync")
def sync() -> Any:
    return MESSAGE


@app.get("/users/<int:user>")
async def user(user: int) -> Any:
    return {"user": user, "q": request.args["q"], "page": int(request.args["page"])}


@app.post("/orders")
async def orders() -> Any:
    order = await request.get_json()
    try:
        return {"order": order, "sum": sum_of(order)}, 201
    except ValueError as error:
        return {"error": str(error)}, 400


@app.get("/page")
async def page() -> Any:
    return await render_template("page.html", title="Rows", rows=ROWS)


@app.websocket("/ws")
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


async def other(name: str) -> Any:
    return MESSAGE


for number in range(OTHERS):
    app.add_url_rule(f"/other{number}/<name>", f"other{number}", other)


@full_app.before_request
async def before() -> None:
    request.before = "1"


@full_app.after_request
async def after(response: Any) -> Any:
    response.headers["X-Before"] = request.before
    return response


@full_app.get("/full")
async def full() -> Any:
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}
