"""Carboy: the questions to a database, in `app` with async views, in `sync_app` with `def` views."""

from __future__ import annotations

from typing import Any

import rows_asyncpg
import rows_psycopg
from common import TEMPLATES, number_of

from carboy import Carboy, render_template, request


def make(name: str, is_async: bool) -> Any:
    """asyncpg behind async views, psycopg behind `def` views."""
    app = Carboy(name, template_folder=str(TEMPLATES), static_folder=None)

    if is_async:
        @app.get("/db")
        async def one() -> Any:
            return await rows_asyncpg.one()

        @app.get("/queries")
        async def many() -> Any:
            return await rows_asyncpg.many(number_of(request.args["queries"]))

        @app.get("/fortunes")
        async def fortunes() -> Any:
            return render_template("fortunes.html", fortunes=await rows_asyncpg.fortunes())

        @app.get("/updates")
        async def updates() -> Any:
            return await rows_asyncpg.updates(number_of(request.args["queries"]))

    else:
        @app.get("/db")
        def one_sync() -> Any:
            return rows_psycopg.one()

        @app.get("/queries")
        def many_sync() -> Any:
            return rows_psycopg.many(number_of(request.args["queries"]))

        @app.get("/fortunes")
        def fortunes_sync() -> Any:
            return render_template("fortunes.html", fortunes=rows_psycopg.fortunes())

        @app.get("/updates")
        def updates_sync() -> Any:
            return rows_psycopg.updates(number_of(request.args["queries"]))

    return app


app = make("bench-rows", True)
sync_app = make("bench-rows-sync", False)
