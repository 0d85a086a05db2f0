"""socketify on its own server; it has no sessions and no hooks of its own kind: they are functions around the handler, the cookie is signed by hand."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import unquote_plus

from common import HELLO, MESSAGE, OTHERS, ROWS, STATIC, TEMPLATES, sign, sum_of, unsign
from jinja2 import Environment, FileSystemLoader
from socketify import App, OpCode

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")


waiting: set[Any] = set()


def plaintext(res: Any, req: Any) -> None:
    res.send(HELLO, content_type=b"text/plain; charset=utf-8")


def message(res: Any, req: Any) -> None:
    res.send(json.dumps(MESSAGE), content_type=b"application/json")


def user(res: Any, req: Any) -> None:
    try:
        number = int(req.get_parameter(0))
    except ValueError:
        res.write_status(404).end("an int is wanted")
        return
    found = {"user": number, "q": req.get_query("q"), "page": int(req.get_query("page"))}
    res.send(json.dumps(found), content_type=b"application/json")


def orders(res: Any, req: Any) -> None:
    parts: list[bytes] = []
    waiting.add(res)  # nobody else holds it until the body is there; its own `get_data` crashes for that reason

    def more(res: Any, chunk: bytes | None, is_end: bool) -> None:
        if chunk is not None:
            parts.append(chunk)
        if is_end:
            waiting.discard(res)
            try:
                order = json.loads(b"".join(parts))
                status, found = b"201 Created", {"order": order, "sum": sum_of(order)}
            except ValueError as error:
                status, found = b"400 Bad Request", {"error": str(error)}
            res.send(json.dumps(found), content_type=b"application/json", status=status)

    res.on_aborted(waiting.discard)
    res.on_data(more)


def page(res: Any, req: Any) -> None:
    res.send(template.render(title="Rows", rows=ROWS), content_type=b"text/html; charset=utf-8")


def echo(ws: Any, sent: Any, opcode: Any) -> None:
    ws.send(sent, OpCode.TEXT)


def full(res: Any, req: Any) -> None:
    before = "1"
    cookie = req.get_cookie("session")
    session = (unsign(unquote_plus(cookie)) if cookie else None) or {}
    session["visits"] = session.get("visits", 0) + 1
    res.write_header("x-before", before)
    res.set_cookie("session", sign(session), {"path": "/", "httponly": True})
    res.send(json.dumps({"visits": session["visits"]}), content_type=b"application/json")


def app() -> Any:
    made = App()
    made.get("/plaintext", plaintext)
    made.get("/json", message)
    made.get("/sync", message)
    made.get("/users/:user", user)
    for number in range(OTHERS):
        made.get(f"/other{number}/:name", message)
    made.post("/orders", orders)
    made.get("/page", page)
    made.ws("/ws", {"message": echo})
    made.static("/static", str(STATIC))
    return made


def full_app() -> Any:
    made = App()
    made.get("/full", full)
    return made


if __name__ == "__main__":
    served = globals()[sys.argv[2]]()
    served.any("/*", lambda res, req: res.write_status(404).end("not found"))
    served.listen({"port": int(sys.argv[1]), "host": "127.0.0.1"}, lambda config: None)
    served.run()
