"""Litestar, with its own validation (msgspec); its sessions in cookies are encrypted, not only signed."""

from typing import Any

import msgspec
from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES
from litestar import Litestar, MediaType, Request, Response, get, post, websocket_listener
from litestar.contrib.jinja import JinjaTemplateEngine
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.response import Template
from litestar.static_files import create_static_files_router
from litestar.template.config import TemplateConfig


class Line(msgspec.Struct):
    item: str
    count: int
    price: float


class Order(msgspec.Struct):
    order: int
    customer: str
    lines: list[Line]


@get("/plaintext", media_type=MediaType.TEXT)
async def plaintext() -> str:
    return HELLO


@get("/json")
async def message() -> dict[str, str]:
    return MESSAGE


@get("/sync", sync_to_thread=True)
def sync() -> dict[str, str]:
    return MESSAGE


@get([f"/other{number}/{{name:str}}" for number in range(OTHERS)])
async def other(name: str) -> dict[str, str]:
    return MESSAGE


@get("/users/{user:int}")
async def user(user: int, q: str, page: int) -> dict[str, Any]:
    return {"user": user, "q": q, "page": page}


@post("/orders")
async def orders(data: Order) -> dict[str, Any]:
    return {"order": data, "sum": sum(line.count * line.price for line in data.lines)}


@get("/page")
async def page() -> Template:
    return Template("page.html", context={"title": "Rows", "rows": ROWS})


@websocket_listener("/ws")
async def echo(data: str) -> str:
    return data


app = Litestar(
    [plaintext, message, sync, other, user, orders, page, echo, create_static_files_router("/static", directories=[STATIC])],
    template_config=TemplateConfig(directory=TEMPLATES, engine=JinjaTemplateEngine),
    openapi_config=None,
)


@get("/full")
async def full(request: Request[Any, Any, Any]) -> dict[str, int]:
    visits = request.session.get("visits", 0) + 1
    request.set_session({"visits": visits})
    return {"visits": visits}


async def before(request: Request[Any, Any, Any]) -> None:
    request.state.before = "1"


async def after(response: Response[Any]) -> Response[Any]:
    response.headers["x-before"] = "1"
    return response


full_app = Litestar(
    [full],
    before_request=before,
    after_request=after,
    middleware=[CookieBackendConfig(secret=SECRET.encode()[:32]).middleware],
    openapi_config=None,
)
