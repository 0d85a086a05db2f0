"""aiohttp on its own server; the session is a cookie signed by hand, for it has none."""

from __future__ import annotations

import sys
from typing import Any

import uvloop
from aiohttp import web
from common import HELLO, MESSAGE, OTHERS, ROWS, STATIC, TEMPLATES, sign, sum_of, unsign
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")


async def plaintext(request: web.Request) -> web.Response:
    return web.Response(text=HELLO)


async def message(request: web.Request) -> web.Response:
    return web.json_response(MESSAGE)


async def user(request: web.Request) -> web.Response:
    query = request.query
    return web.json_response({"user": int(request.match_info["user"]), "q": query["q"], "page": int(query["page"])})


async def orders(request: web.Request) -> web.Response:
    try:
        order = await request.json()
        return web.json_response({"order": order, "sum": sum_of(order)}, status=201)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)


async def page(request: web.Request) -> web.Response:
    return web.Response(text=template.render(title="Rows", rows=ROWS), content_type="text/html")


async def echo(request: web.Request) -> web.WebSocketResponse:
    peer = web.WebSocketResponse()
    await peer.prepare(request)
    async for message in peer:
        await peer.send_str(message.data)
    return peer


async def full(request: web.Request) -> web.Response:
    session = request["session"]
    session["visits"] = session.get("visits", 0) + 1
    return web.json_response({"visits": session["visits"]})


@web.middleware
async def hooks(request: web.Request, handler: Any) -> web.StreamResponse:
    request["before"] = "1"
    cookie = request.cookies.get("session")
    request["session"] = (unsign(cookie) if cookie else None) or {}
    response = await handler(request)
    response.headers["x-before"] = request["before"]
    response.set_cookie("session", sign(request["session"]), httponly=True)
    return response


app = web.Application()
app.add_routes(
    [
        web.get("/plaintext", plaintext),
        web.get("/json", message),
        web.get("/sync", message),
        web.get(r"/users/{user:\d+}", user),
        *(web.get(f"/other{number}/{{name}}", message) for number in range(OTHERS)),
        web.post("/orders", orders),
        web.get("/page", page),
        web.get("/ws", echo),
        web.static("/static", STATIC),
    ]
)
full_app = web.Application(middlewares=[hooks])
full_app.add_routes([web.get("/full", full)])

if __name__ == "__main__":
    web.run_app(globals()[sys.argv[2]], host="127.0.0.1", port=int(sys.argv[1]), access_log=None, loop=uvloop.new_event_loop())
