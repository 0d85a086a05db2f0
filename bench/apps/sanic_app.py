"""Sanic on its own server, one process; it has no sessions: a cookie is signed by hand."""

from __future__ import annotations

import sys
from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, STATIC, TEMPLATES, sign, sum_of, unsign
from jinja2 import Environment, FileSystemLoader
from sanic import Request, Sanic, Websocket
from sanic.response import HTTPResponse, html, json, text

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")
app = Sanic("bench", configure_logging=False)
full_app = Sanic("bench-full", configure_logging=False)
for each in (app, full_app):
    each.config.ACCESS_LOG = False


@app.get("/plaintext")
async def plaintext(request: Request) -> HTTPResponse:
    return text(HELLO)


@app.get("/json", name="json")
@app.get("/sync", name="sync")
async def message(request: Request) -> HTTPResponse:
    return json(MESSAGE)


@app.get("/users/<user:int>")
async def user(request: Request, user: int) -> HTTPResponse:
    return json({"user": user, "q": request.args.get("q"), "page": int(request.args.get("page"))})


@app.post("/orders")
async def orders(request: Request) -> HTTPResponse:
    order = request.json
    try:
        return json({"order": order, "sum": sum_of(order)}, 201)
    except ValueError as error:
        return json({"error": str(error)}, 400)


@app.get("/page")
async def page(request: Request) -> HTTPResponse:
    return html(template.render(title="Rows", rows=ROWS))


@app.websocket("/ws")
async def echo(request: Request, ws: Websocket) -> None:
    async for sent in ws:
        await ws.send(sent)


async def other(request: Request, name: str) -> HTTPResponse:
    return json(MESSAGE)


for number in range(OTHERS):
    app.add_route(other, f"/other{number}/<name>", methods=["GET"], name=f"other{number}")
app.static("/static", STATIC, name="static")


@full_app.on_request
async def before(request: Request) -> None:
    request.ctx.before = "1"
    cookie = request.cookies.get("session")
    request.ctx.session = (unsign(cookie) if cookie else None) or {}


@full_app.on_response
async def after(request: Request, response: Any) -> None:
    response.headers["x-before"] = request.ctx.before
    response.add_cookie("session", sign(request.ctx.session), httponly=True, secure=False)


@full_app.get("/full")
async def full(request: Request) -> HTTPResponse:
    session = request.ctx.session
    session["visits"] = session.get("visits", 0) + 1
    return json({"visits": session["visits"]})


if __name__ == "__main__":
    globals()[sys.argv[2]].run("127.0.0.1", int(sys.argv[1]), single_process=True, access_log=False, motd=False, debug=False)
