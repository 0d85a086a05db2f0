"""Robyn on its own server, one process with one thread of Python; run as a program, for it has its own command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from jinja2 import Environment, FileSystemLoader
from robyn import Headers, Request, Response, Robyn
from robyn.ws import WebSocketDisconnect

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")
port, wanted = int(sys.argv[1]), sys.argv[2]
sys.argv[1:] = ["--processes", "1", "--workers", "1", "--log-level", "ERROR", "--disable-openapi"]
app = Robyn(__file__)
full_app = Robyn(__file__)
JSON = Headers({"Content-Type": "application/json"})
full_app.configure_sessions(SECRET)


@app.get("/plaintext")
async def plaintext() -> str:
    return HELLO


@app.get("/json")
async def message() -> Any:
    return MESSAGE


@app.get("/sync")
def sync() -> Any:
    return MESSAGE


@app.get("/users/:user")
async def user(request: Request) -> Any:
    try:
        number = int(request.path_params["user"])
    except ValueError:
        return Response(404, {}, "an int is wanted")
    query = request.query_params
    return {"user": number, "q": query.get("q", None), "page": int(query.get("page", None))}


@app.post("/orders")
async def orders(request: Request) -> Any:
    try:
        order = request.json()
        return Response(201, JSON, json.dumps({"order": order, "sum": sum_of(order)}))
    except ValueError as error:
        return Response(400, JSON, json.dumps({"error": str(error)}))


@app.get("/page")
async def page() -> Response:
    return Response(200, Headers({"Content-Type": "text/html; charset=utf-8"}), template.render(title="Rows", rows=ROWS))


@app.websocket("/ws")
async def echo(websocket: Any) -> None:
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


async def other() -> Any:
    return MESSAGE


for number in range(OTHERS):
    app.get(f"/other{number}/:name")(other)
app.serve_directory("/static", str(Path(STATIC)))


@full_app.after_request()
async def after(request: Request, response: Response) -> Response:
    response.headers.set("x-before", "1")
    return response


@full_app.before_request()
async def before(request: Request) -> Request:
    request.headers.set("x-seen", "1")
    return request


@full_app.get("/full")
async def full(request: Request) -> Any:
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}


if __name__ == "__main__":
    globals()[wanted].start("127.0.0.1", port, _check_port=False)
