"""The bare callables with a database: what a framework adds nothing to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import rows_asyncpg
import rows_psycopg
from common import TEMPLATES, number_of
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("fortunes.html")
JSON, HTML = "application/json", "text/html; charset=utf-8"


def count_of(query: str) -> int:
    return number_of(dict(parse_qsl(query))["queries"])


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    path, query, kind, status = environ["PATH_INFO"], environ["QUERY_STRING"], JSON, "200 OK"
    if path == "/db":
        body = json.dumps(rows_psycopg.one()).encode()
    elif path == "/queries":
        body = json.dumps(rows_psycopg.many(count_of(query))).encode()
    elif path == "/updates":
        body = json.dumps(rows_psycopg.updates(count_of(query))).encode()
    elif path == "/fortunes":
        kind, body = HTML, template.render(fortunes=rows_psycopg.fortunes()).encode()
    else:
        status, body = "404 Not Found", b"{}"
    start_response(status, [("content-type", kind), ("content-length", str(len(body)))])
    return [body]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    path, kind, status = scope["path"], JSON, 200
    if path == "/db":
        body = json.dumps(await rows_asyncpg.one()).encode()
    elif path == "/queries":
        body = json.dumps(await rows_asyncpg.many(count_of(scope["query_string"].decode()))).encode()
    elif path == "/updates":
        body = json.dumps(await rows_asyncpg.updates(count_of(scope["query_string"].decode()))).encode()
    elif path == "/fortunes":
        kind, body = HTML, template.render(fortunes=await rows_asyncpg.fortunes()).encode()
    else:
        status, body = 404, b"{}"
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
