"""FastAPI, with its own validation."""

from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware
from starlette_app import Hooks

templates = Jinja2Templates(directory=str(TEMPLATES))
app = FastAPI(openapi_url=None)
full_app = FastAPI(openapi_url=None)
full_app.add_middleware(SessionMiddleware, secret_key=SECRET)
full_app.add_middleware(Hooks)


class Line(BaseModel):
    item: str
    count: int
    price: float


class Order(BaseModel):
    order: int
    customer: str
    lines: list[Line]


@app.get("/plaintext", response_class=PlainTextResponse)
async def plaintext() -> Any:
    return HELLO


@app.get("/json")
async def message() -> Any:
    return MESSAGE


@app.get("/sync")
def sync() -> Any:
    return MESSAGE


def add_others(numbers: range) -> None:
    for number in numbers:
        app.add_api_route(f"/other{number}/{{name}}", message)


add_others(range(OTHERS // 2))


@app.get("/users/{user}")
async def user(user: int, q: str, page: int) -> Any:
    return {"user": user, "q": q, "page": page}


add_others(range(OTHERS // 2, OTHERS))


@app.post("/orders", status_code=201)
async def orders(order: Order) -> Any:
    return {"order": order, "sum": sum(line.count * line.price for line in order.lines)}


@app.get("/page")
async def page(request: Request) -> Any:
    return templates.TemplateResponse(request, "page.html", {"title": "Rows", "rows": ROWS})


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


app.mount("/static", StaticFiles(directory=str(STATIC)))


@full_app.get("/full")
async def full(request: Request) -> Any:
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    return {"visits": visits}
