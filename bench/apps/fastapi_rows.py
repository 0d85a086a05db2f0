"""FastAPI: the questions to a database."""

from typing import Annotated, Any

import rows_asyncpg
from common import TEMPLATES
from fastapi import FastAPI, Query, Request
from fastapi.templating import Jinja2Templates

templates = Jinja2Templates(directory=str(TEMPLATES))
app = FastAPI(openapi_url=None)
Queries = Annotated[int, Query(ge=1, le=500)]


@app.get("/db")
async def one() -> Any:
    return await rows_asyncpg.one()


@app.get("/queries")
async def many(queries: Queries = 1) -> Any:
    return await rows_asyncpg.many(queries)


@app.get("/fortunes")
async def fortunes(request: Request) -> Any:
    return templates.TemplateResponse(request, "fortunes.html", {"fortunes": await rows_asyncpg.fortunes()})


@app.get("/updates")
async def updates(queries: Queries = 1) -> Any:
    return await rows_asyncpg.updates(queries)
