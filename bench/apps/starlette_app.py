"""Starlette, with pure ASGI middleware for the hooks (faster than its BaseHTTPMiddleware)."""

from __future__ import annotations

from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

templates = Jinja2Templates(directory=str(TEMPLATES))


async def plaintext(request: Any) -> Any:
    return PlainTextResponse(HELLO)


async def message(request: Any) -> Any:
    return JSONResponse(MESSAGE)


def sync(request: Any) -> Any:
    return JSONResponse(MESSAGE)


async def user(request: Any) -> Any:
    query = request.query_params
    return JSONResponse({"user": request.path_params["user"], "q": query["q"], "page": int(query["page"])})


async def orders(request: Any) -> Any:
    try:
        order = await request.json()
        return JSONResponse({"order": order, "sum": sum_of(order)}, 201)
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 400)


async def page(request: Any) -> Any:
    return templates.TemplateResponse(request, "page.html", {"title": "Rows", "rows": ROWS})


async def echo(websocket: Any) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def full(request: Any) -> Any:
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse({"visits": visits})


class Hooks:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["state"]["before"] = "1"

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-before", scope["state"]["before"].encode()))
            await send(message)

        await self.app(scope, receive, sending)


app = Starlette(
    routes=[
        Route("/plaintext", plaintext),
        Route("/json", message),
        Route("/sync", sync),
        *(Route(f"/other{number}/{{name}}", message) for number in range(OTHERS // 2)),
        Route("/users/{user:int}", user),
        *(Route(f"/other{number}/{{name}}", message) for number in range(OTHERS // 2, OTHERS)),
        Route("/orders", orders, methods=["POST"]),
        Route("/page", page),
        WebSocketRoute("/ws", echo),
        Mount("/static", StaticFiles(directory=str(STATIC))),
    ]
)
full_app = Starlette(routes=[Route("/full", full)], middleware=[Middleware(Hooks), Middleware(SessionMiddleware, secret_key=SECRET)])
