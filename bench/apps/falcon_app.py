"""Falcon (ASGI); it has no sessions of its own: a middleware signs a cookie with itsdangerous."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from itsdangerous import BadSignature, URLSafeTimedSerializer
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")
signer = URLSafeTimedSerializer(SECRET)


class Plaintext:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = HELLO


class Message:
    async def on_get(self, req: Any, resp: Any, **values: str) -> None:
        resp.media = MESSAGE


class Sync:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = await falcon.util.sync_to_async(lambda: MESSAGE)


class User:
    async def on_get(self, req: Any, resp: Any, user: int) -> None:
        resp.media = {"user": user, "q": req.get_param("q"), "page": req.get_param_as_int("page")}


class Orders:
    async def on_post(self, req: Any, resp: Any) -> None:
        order = await req.get_media()
        try:
            resp.media = {"order": order, "sum": sum_of(order)}
            resp.status = falcon.HTTP_201
        except ValueError as error:
            raise falcon.HTTPBadRequest(description=str(error)) from None


class Page:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_HTML
        resp.text = template.render(title="Rows", rows=ROWS)


class Echo:
    async def on_websocket(self, req: Any, ws: Any) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except falcon.WebSocketDisconnected:
            pass


class Full:
    async def on_get(self, req: Any, resp: Any) -> None:
        session = req.context.session
        session["visits"] = session.get("visits", 0) + 1
        resp.media = {"visits": session["visits"]}


class Hooks:
    async def process_request(self, req: Any, resp: Any) -> None:
        req.context.before = "1"
        try:
            req.context.session = signer.loads(req.cookies.get("session", ""))
        except BadSignature:
            req.context.session = {}

    async def process_response(self, req: Any, resp: Any, resource: Any, ok: bool) -> None:
        resp.set_header("x-before", req.context.before)
        resp.set_cookie("session", signer.dumps(req.context.session), secure=False, http_only=True)


app = falcon.asgi.App()
for path, resource in (
    ("/plaintext", Plaintext()),
    ("/json", Message()),
    ("/sync", Sync()),
    ("/users/{user:int}", User()),
    ("/orders", Orders()),
    ("/page", Page()),
    ("/ws", Echo()),
):
    app.add_route(path, resource)
for number in range(OTHERS):
    app.add_route(f"/other{number}/{{name}}", Message())
app.add_static_route("/static", str(STATIC))
full_app = falcon.asgi.App(middleware=[Hooks()])
full_app.add_route("/full", Full())
