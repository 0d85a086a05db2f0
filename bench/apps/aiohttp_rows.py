"""aiohttp on its own server: the questions to a database."""

from __future__ import annotations

import sys

import rows_asyncpg
import uvloop
from aiohttp import web
from common import TEMPLATES, number_of
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("fortunes.html")


async def one(request: web.Request) -> web.Response:
    return web.json_response(await rows_asyncpg.one())


async def many(request: web.Request) -> web.Response:
    return web.json_response(await rows_asyncpg.many(number_of(request.query["queries"])))


async def fortunes(request: web.Request) -> web.Response:
    return web.Response(text=template.render(fortunes=await rows_asyncpg.fortunes()), content_type="text/html")


async def updates(request: web.Request) -> web.Response:
    return web.json_response(await rows_asyncpg.updates(number_of(request.query["queries"])))


app = web.Application()
app.add_routes([web.get("/db", one), web.get("/queries", many), web.get("/fortunes", fortunes), web.get("/updates", updates)])

if __name__ == "__main__":
    web.run_app(globals()[sys.argv[2]], host="127.0.0.1", port=int(sys.argv[1]), access_log=None, loop=uvloop.new_event_loop())
