"""Tornado on its own server."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from jinja2 import Environment, FileSystemLoader
from tornado.web import Application, RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketHandler

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")


class Plaintext(RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(HELLO)


class Message(RequestHandler):
    async def get(self, *values: str) -> None:
        self.write(MESSAGE)


class User(RequestHandler):
    async def get(self, user: str) -> None:
        self.write({"user": int(user), "q": self.get_query_argument("q"), "page": int(self.get_query_argument("page"))})


class Orders(RequestHandler):
    async def post(self) -> None:
        try:
            order = json.loads(self.request.body)
            total = sum_of(order)
        except ValueError as error:
            self.set_status(400)
            self.write({"error": str(error)})
        else:
            self.set_status(201)
            self.write({"order": order, "sum": total})


class Page(RequestHandler):
    async def get(self) -> None:
        self.write(template.render(title="Rows", rows=ROWS))


class Echo(WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message)


class Full(RequestHandler):
    def prepare(self) -> None:
        self.set_header("x-before", "1")

    async def get(self) -> None:
        cookie = self.get_signed_cookie("session")
        visits = (json.loads(cookie)["visits"] if cookie else 0) + 1
        self.set_signed_cookie("session", json.dumps({"visits": visits}), httponly=True)
        self.write({"visits": visits})


app: Any = Application(
    [
        (r"/plaintext", Plaintext),
        (r"/json", Message),
        (r"/sync", Message),
        *((rf"/other{number}/([^/]+)", Message) for number in range(OTHERS // 2)),
        (r"/users/(\d+)", User),
        *((rf"/other{number}/([^/]+)", Message) for number in range(OTHERS // 2, OTHERS)),
        (r"/orders", Orders),
        (r"/page", Page),
        (r"/ws", Echo),
        (r"/static/(.*)", StaticFileHandler, {"path": str(STATIC)}),
    ]
)
full_app: Any = Application([(r"/full", Full)], cookie_secret=SECRET)


async def main() -> None:
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    globals()[sys.argv[2]].listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
