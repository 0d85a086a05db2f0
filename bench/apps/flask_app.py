"""Flask."""

from __future__ import annotations

from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from flask import Flask, render_template, request, session

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
app = Flask("bench", template_folder=str(TEMPLATES), static_folder=str(STATIC), static_url_path="/static")
full_app = Flask("bench-full", static_folder=None)
full_app.secret_key = SECRET


@app.get("/plaintext")
def plaintext() -> Any:
    return HELLO, TEXT


@app.get("/json")
@app.get("/sync", endpoint="sync")
def message() -> Any:
    return MESSAGE


@app.get("/users/<int:user>")
def user(user: int) -> Any:
    return {"user": user, "q": request.args["q"], "page": int(request.args["page"])}


@app.post("/orders")
def orders() -> Any:
    order = request.get_json()
    try:
        return {"order": order, "sum": sum_of(order)}, 201
    except ValueError as error:
        return {"error": str(error)}, 400


@app.get("/page")
def page() -> Any:
    return render_template("page.html", title="Rows", rows=ROWS)


for number in range(OTHERS):
    app.add_url_rule(f"/other{number}/<name>", f"other{number}", lambda name: MESSAGE)


@full_app.before_request
def before() -> None:
    request.before = "1"


@full_app.after_request
def after(response: Any) -> Any:
    response.headers["X-Before"] = request.before
    return response


@full_app.get("/full")
def full() -> Any:
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}
