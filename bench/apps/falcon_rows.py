"""Falcon: the questions to a database."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
import rows_asyncpg
from common import TEMPLATES
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("fortunes.html")


class One:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = await rows_asyncpg.one()


class Many:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = await rows_asyncpg.many(req.get_param_as_int("queries", min_value=1, max_value=500, default=1))


class Fortunes:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_HTML
        resp.text = template.render(fortunes=await rows_asyncpg.fortunes())


class Updates:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = await rows_asyncpg.updates(req.get_param_as_int("queries", min_value=1, max_value=500, default=1))


app = falcon.asgi.App()
for path, resource in (("/db", One()), ("/queries", Many()), ("/fortunes", Fortunes()), ("/updates", Updates())):
    app.add_route(path, resource)
