"""Litestar, with its own validation (msgspec) and its cookie sessions left out: they need another library."""

from typing import Any

import msgspec
from common import HELLO, MESSAGE, OTHERS, ROWS, STATIC, TEMPLATES
from litestar import Litestar, MediaType, get, post
from litestar.contrib.jinja import JinjaTemplateEngine
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


app = Litestar(
    [plaintext, message, sync, other, user, orders, page, create_static_files_router("/static", directories=[STATIC])],
    template_config=TemplateConfig(directory=TEMPLATES, engine=JinjaTemplateEngine),
    openapi_config=None,
)
