"""Flask: the questions to a database."""

from __future__ import annotations

from typing import Any

import rows_psycopg
from common import TEMPLATES, number_of
from flask import Flask, render_template, request

app = Flask("bench-rows", template_folder=str(TEMPLATES), static_folder=None)


@app.get("/db")
def one() -> Any:
    return rows_psycopg.one()


@app.get("/queries")
def many() -> Any:
    return rows_psycopg.many(number_of(request.args["queries"]))


@app.get("/fortunes")
def fortunes() -> Any:
    return render_template("fortunes.html", fortunes=rows_psycopg.fortunes())


@app.get("/updates")
def updates() -> Any:
    return rows_psycopg.updates(number_of(request.args["queries"]))
