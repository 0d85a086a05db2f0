"""Starlette: the questions to a database."""

from __future__ import annotations

from typing import Any

import rows_asyncpg
from common import TEMPLATES, number_of
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

templates = Jinja2Templates(directory=str(TEMPLATES))


async def one(request: Any) -> Any:
    return JSONResponse(await rows_asyncpg.one())


async def many(request: Any) -> Any:
    return JSONResponse(await rows_asyncpg.many(number_of(request.query_params["queries"])))


async def fortunes(request: Any) -> Any:
    return templates.TemplateResponse(request, "fortunes.html", {"fortunes": await rows_asyncpg.fortunes()})


async def updates(request: Any) -> Any:
    return JSONResponse(await rows_asyncpg.updates(number_of(request.query_params["queries"])))


app = Starlette(routes=[Route("/db", one), Route("/queries", many), Route("/fortunes", fortunes), Route("/updates", updates)])
