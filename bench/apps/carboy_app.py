"""Carboy: `app` has async views, `sync_app` has `def` views."""

from __future__ import annotations

from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of

from carboy import Carboy, render_template, request, session

TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def make(name: str, is_async: bool) -> Any:
    app = Carboy(name, template_folder=str(TEMPLATES), static_folder=str(STATIC), static_url_path="/static")

    def plaintext() -> Any:
        return HELLO, TEXT

    def message() -> Any:
        return MESSAGE

    def user(user: int) -> Any:
        return {"user": user, "q": request.args["q"], "page": int(request.args["page"])}

    def orders() -> Any:
        order = request.get_json()
        try:
            return {"order": order, "sum": sum_of(order)}, 201
        except ValueError as error:
            return {"error": str(error)}, 400

    def page() -> Any:
        return render_template("page.html", title="Rows", rows=ROWS)

    def coloured(view: Any) -> Any:
        if not is_async:
            return view

        async def asynchronous(**values: Any) -> Any:
            return view(**values)

        return asynchronous

    for rule, view in (("/plaintext", plaintext), ("/json", message), ("/users/<int:user>", user), ("/page", page)):
        app.add_url_rule(rule, view.__name__, coloured(view))
    app.add_url_rule("/orders", "orders", coloured(orders), methods=["POST"])
    app.add_url_rule("/sync", "sync", message)
    for number in range(OTHERS):
        app.add_url_rule(f"/other{number}/<name>", f"other{number}", lambda name: MESSAGE)
    if is_async:

        @app.websocket("/ws")
        async def echo(ws):
            async for message in ws:
                await ws.send(message)

    return app


def make_full(name: str, is_async: bool) -> Any:
    """Hooks and a session stand in an app of their own, as in the other frameworks."""
    app = Carboy(name, static_folder=None)
    app.secret_key = SECRET

    if is_async:

        @app.before_request
        async def before() -> None:
            request.before = "1"  # type: ignore[attr-defined]

        @app.after_request
        async def after(response: Any) -> Any:
            response.headers["X-Before"] = request.before  # type: ignore[attr-defined]
            return response

        @app.get("/full")
        async def full() -> Any:
            session["visits"] = session.get("visits", 0) + 1
            return {"visits": session["visits"]}

    else:

        @app.before_request
        def before_sync() -> None:
            request.before = "1"  # type: ignore[attr-defined]

        @app.after_request
        def after_sync(response: Any) -> Any:
            response.headers["X-Before"] = request.before  # type: ignore[attr-defined]
            return response

        @app.get("/full")
        def full_sync() -> Any:
            session["visits"] = session.get("visits", 0) + 1
            return {"visits": session["visits"]}

    return app


app = make("bench", True)
sync_app = make("bench-sync", False)
full_app = make_full("bench-full", True)
full_sync_app = make_full("bench-full-sync", False)
