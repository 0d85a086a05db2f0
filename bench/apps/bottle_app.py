"""Bottle (WSGI)."""

from __future__ import annotations

from typing import Any

from bottle import Bottle, HTTPResponse, request, response, static_file
from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")
app = Bottle()
full_app = Bottle()


@app.get("/plaintext")
def plaintext() -> Any:
    response.content_type = "text/plain; charset=utf-8"
    return HELLO


@app.get("/json")
@app.get("/sync")
def message(**values: str) -> Any:
    return MESSAGE


@app.get("/users/<user:int>")
def user(user: int) -> Any:
    return {"user": user, "q": request.query["q"], "page": int(request.query["page"])}


@app.post("/orders")
def orders() -> Any:
    try:
        order = request.json
        total = sum_of(order)
    except ValueError as error:
        return HTTPResponse({"error": str(error)}, 400)
    response.status = 201
    return {"order": order, "sum": total}


@app.get("/page")
def page() -> Any:
    return template.render(title="Rows", rows=ROWS)


for number in range(OTHERS):
    app.route(f"/other{number}/<name>", "GET", message)


@app.get("/static/<name:path>")
def static(name: str) -> Any:
    return static_file(name, root=str(STATIC))


@full_app.hook("before_request")
def before() -> None:
    request.before = "1"


@full_app.hook("after_request")
def after() -> None:
    response.set_header("X-Before", request.before)


@full_app.get("/full")
def full() -> Any:
    session = request.get_cookie("session", {}, secret=SECRET)
    session["visits"] = session.get("visits", 0) + 1
    response.set_cookie("session", session, secret=SECRET, httponly=True, path="/")
    return {"visits": session["visits"]}
