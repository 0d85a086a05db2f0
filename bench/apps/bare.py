"""The bare callables: what a framework cannot be faster than on the same server."""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.parse import parse_qsl

from common import HELLO, MESSAGE, ROWS, STATIC, TEMPLATES, cookie_of, sign, sum_of
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")
USER = re.compile(r"/users/(\d+)")
TEXT, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"


def answer(path: str, query: str, cookie: str) -> tuple[int, str, bytes, list[tuple[str, str]]]:
    """Status, content type, body, further headers of a GET."""
    if path == "/plaintext":
        return 200, TEXT, HELLO.encode(), []
    if path == "/json" or path == "/sync":
        return 200, JSON, json.dumps(MESSAGE).encode(), []
    found = USER.fullmatch(path)
    if found:
        values = dict(parse_qsl(query))
        body = {"user": int(found[1]), "q": values["q"], "page": int(values["page"])}
        return 200, JSON, json.dumps(body).encode(), []
    if path == "/page":
        return 200, HTML, template.render(title="Rows", rows=ROWS).encode(), []
    if path == "/full":
        session = cookie_of(cookie) or {}
        session["visits"] = session.get("visits", 0) + 1
        more = [("x-before", "1"), ("set-cookie", f"session={sign(session)}; HttpOnly; Path=/"), ("vary", "Cookie")]
        return 200, JSON, json.dumps({"visits": session["visits"]}).encode(), more
    return 404, TEXT, b"not found", []


def file_of(path: str, if_none_match: str) -> tuple[int, str, str, os.stat_result]:
    """Status, path on disk, ETag and status of a static file."""
    full = os.path.join(STATIC, path.removeprefix("/static/"))
    found = os.stat(full)
    etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    return (304 if if_none_match == etag else 200), full, etag, found


def order(body: bytes) -> tuple[int, bytes]:
    try:
        data = json.loads(body)
        return 201, json.dumps({"order": data, "sum": sum_of(data)}).encode()
    except (ValueError, TypeError) as error:
        return 400, json.dumps({"error": str(error)}).encode()


LINES = {304: "304 Not Modified", 200: "200 OK", 201: "201 Created", 400: "400 Bad Request", 404: "404 Not Found"}


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["REQUEST_METHOD"] == "POST":
        status, body = order(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        kind, more = JSON, []
    elif environ["PATH_INFO"].startswith("/static/"):
        status, full, etag, _ = file_of(environ["PATH_INFO"], environ.get("HTTP_IF_NONE_MATCH", ""))
        if status == 304:
            start_response(LINES[304], [("etag", etag)])
            return []
        kind, more = "text/plain", [("etag", etag)]
        with open(full, "rb") as file:
            body = file.read()
    else:
        status, kind, body, more = answer(environ["PATH_INFO"], environ.get("QUERY_STRING", ""), environ.get("HTTP_COOKIE", ""))
    start_response(LINES[status], [("content-type", kind), ("content-length", str(len(body))), *more])
    return [body]


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    if scope["type"] != "http":
        return
    if scope["method"] == "POST":
        body = b""
        more_body = True
        while more_body:
            message = await receive()
            body += message.get("body", b"")
            more_body = message.get("more_body", False)
        status, body = order(body)
        kind, more = JSON, []
    elif scope["path"].startswith("/static/"):
        wanted = next((value.decode() for name, value in scope["headers"] if name == b"if-none-match"), "")
        status, full, etag, found = file_of(scope["path"], wanted)
        headers = [(b"etag", etag.encode())]
        if status == 200:
            headers += [(b"content-type", b"text/plain"), (b"content-length", str(found.st_size).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if status == 304:
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.pathsend", "path": full})
        return
    else:
        cookie = ""
        if scope["path"] == "/full":
            cookie = next((value.decode() for name, value in scope["headers"] if name == b"cookie"), "")
        status, kind, body, more = answer(scope["path"], scope["query_string"].decode(), cookie)
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Rsgi:
    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if scope.proto == "ws":
            peer = await protocol.accept()
            while (message := await peer.receive()).kind:
                await peer.send_str(message.data)
            protocol.close()
            return
        if scope.method == "POST":
            status, body = order(await protocol())
            kind, more = JSON, []
        elif scope.path.startswith("/static/"):
            status, full, etag, found = file_of(scope.path, scope.headers.get("if-none-match", ""))
            if status == 304:
                protocol.response_empty(304, [("etag", etag)])
            else:
                length = ("content-length", str(found.st_size))
                protocol.response_file(200, [("etag", etag), ("content-type", "text/plain"), length], full)
            return
        else:
            path = scope.path
            cookie = scope.headers.get("cookie", "") if path == "/full" else ""
            status, kind, body, more = answer(path, scope.query_string, cookie)
        protocol.response_bytes(status, [("content-type", kind), ("content-length", str(len(body))), *more], body)


rsgi = Rsgi()
