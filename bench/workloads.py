"""What is asked of every contestant. Each workload first checks that the answers are right, then gives the headers to time it with."""

from __future__ import annotations

import html
import http.client
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rows
import sockets

ORDER = {
    "order": 17,
    "customer": "Ada Lovelace",
    "lines": [{"item": f"part-{number}", "count": number, "price": 9.95} for number in range(1, 9)],
}
BODY = json.dumps(ORDER)
TOTAL = sum(number * 9.95 for number in range(1, 9))
MANY = 20


class Wrong(Exception):
    """A contestant did not answer as it must."""


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes

    def data(self) -> Any:
        return json.loads(self.body)


def ask(port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        found = connection.getresponse()
        return Reply(found.status, found.headers, found.read())
    finally:
        connection.close()


def must(condition: object, reply: Reply, what: str) -> None:
    if not condition:
        raise Wrong(f"{what}: {reply.status} {reply.body[:200]!r}")


# -- what every application has ----------------------------------------------------------------------


def plaintext(port: int) -> dict[str, str]:
    reply = ask(port, "/plaintext")
    must(reply.status == 200 and reply.body == b"Hello, World!", reply, "the text")
    must(reply.headers["content-type"].startswith("text/plain"), reply, "text/plain")
    return {}


def message(port: int, path: str = "/json") -> dict[str, str]:
    reply = ask(port, path)
    must(reply.status == 200 and reply.data() == {"message": "Hello, World!"}, reply, "the message")
    must(reply.headers["content-type"].startswith("application/json"), reply, "application/json")
    return {}


def sync_view(port: int) -> dict[str, str]:
    return message(port, "/sync")


def params(port: int) -> dict[str, str]:
    reply = ask(port, "/users/42?q=x&page=2")
    must(reply.status == 200 and reply.data() == {"user": 42, "q": "x", "page": 2}, reply, "the parameters")
    reply = ask(port, "/users/none?q=x&page=2")
    must(400 <= reply.status < 500, reply, "an int is wanted")
    return {}


def body(port: int) -> dict[str, str]:
    kind = {"Content-Type": "application/json"}
    reply = ask(port, "/orders", "POST", kind, BODY)
    must(reply.status == 201, reply, "201")
    must(reply.data()["order"] == ORDER and abs(reply.data()["sum"] - TOTAL) < 0.01, reply, "the order")
    for wrong in ('{"order": 1}', "{", json.dumps({**ORDER, "lines": [{"item": 3}]})):
        reply = ask(port, "/orders", "POST", kind, wrong)
        must(reply.status in (400, 422), reply, "an invalid order is refused")
    return kind


def template(port: int) -> dict[str, str]:
    reply = ask(port, "/page")
    must(reply.status == 200 and reply.body.count(b"<tr>") == 12 and b"&lt;row 3&gt;" in reply.body, reply, "twelve escaped rows")
    must(reply.headers["content-type"].startswith("text/html"), reply, "text/html")
    return {}


def full(port: int) -> dict[str, str]:
    reply = ask(port, "/full")
    must(reply.status == 200 and reply.data() == {"visits": 1} and reply.headers["x-before"] == "1", reply, "a first visit")
    cookie = reply.headers["set-cookie"].partition(";")[0]
    second = ask(port, "/full", headers={"Cookie": cookie})
    must(second.data() == {"visits": 2}, second, "a second visit")
    name, _, value = cookie.partition("=")
    middle = len(value) // 2
    tampered = f"{name}={value[:middle]}{'A' if value[middle] != 'A' else 'B'}{value[middle + 1 :]}"
    third = ask(port, "/full", headers={"Cookie": tampered})
    must(third.status == 200 and third.data() == {"visits": 1}, third, "a cookie tampered with is refused")
    return {"Cookie": cookie}


def static(port: int) -> dict[str, str]:
    reply = ask(port, "/static/big.txt")
    must(reply.status == 200 and len(reply.body) == 100_000, reply, "the file")
    return {}


def not_modified(port: int) -> dict[str, str]:
    first = ask(port, "/static/big.txt")
    for name, given in (("If-None-Match", first.headers["etag"]), ("If-Modified-Since", first.headers["last-modified"])):
        if given:
            reply = ask(port, "/static/big.txt", headers={name: given})
            if reply.status == 304:
                must(not reply.body, reply, "304 has no body")
                return {name: given}
    raise Wrong(f"never 304, with ETag {first.headers['etag']} and Last-Modified {first.headers['last-modified']}")


def websocket(port: int) -> dict[str, str]:
    try:
        with sockets.opened(port, "/ws") as peer:
            for text in (b"first", b"\xc3\xa9 second"):
                found = sockets.echo(peer, text)
                if found != text:
                    raise Wrong(f"the echo of {text!r} is {found!r}")
    except sockets.Refused as error:
        raise Wrong(f"no WebSocket: {error}") from None
    return {}


# -- rows of a database: what the well-known public benchmark of web frameworks asks -----------------


def one_row(found: Any) -> bool:
    """Whether it is a row as they are in the table."""
    return set(found) == {"id", "randomNumber"} and 1 <= found["id"] <= rows.COUNT and 1 <= found["randomNumber"] <= rows.COUNT


def single_query(port: int) -> dict[str, str]:
    replies = [ask(port, "/db") for _ in range(8)]
    for reply in replies:
        must(reply.status == 200 and one_row(reply.data()), reply, "a row")
    must(len({reply.data()["id"] for reply in replies}) > 1, replies[0], "a row by chance, not always the same")
    return {}


def many_queries(port: int) -> dict[str, str]:
    reply = ask(port, f"/queries?queries={MANY}")
    must(reply.status == 200 and len(reply.data()) == MANY and all(map(one_row, reply.data())), reply, f"{MANY} rows")
    return {}


def fortunes(port: int) -> dict[str, str]:
    reply = ask(port, "/fortunes")
    must(reply.status == 200 and reply.headers["content-type"].startswith("text/html"), reply, "a page")
    texts = [html.unescape(text) for text in re.findall(r"<tr><td>\d+</td><td>(.*?)</td></tr>", reply.body.decode())]
    must(texts == sorted([*rows.FORTUNES, rows.ADDED]) and b"<script>" not in reply.body, reply, "thirteen fortunes, sorted and escaped")
    return {}


def updates(port: int) -> dict[str, str]:
    reply = ask(port, f"/updates?queries={MANY}")
    found = reply.data()
    must(reply.status == 200 and len(found) == MANY and all(map(one_row, found)), reply, f"{MANY} rows")
    kept = rows.stored([row["id"] for row in found])
    must(all(kept[row["id"]] == row["randomNumber"] for row in found), reply, "the new numbers are in the table")
    return {}


@dataclass(frozen=True)
class Workload:
    """A column of the tables.

    Attributes:
        group: which of a contestant's applications serves it: "app", "full" or "database".
        sockets: how many WebSocket connections; 0 for requests.
    """

    name: str
    path: str
    check: Callable[[int], dict[str, str]]
    method: str = "GET"
    payload: str = ""
    group: str = "app"
    sockets: int = 0


WORKLOADS = (
    Workload("plaintext", "/plaintext", plaintext),
    Workload("json", "/json", message),
    Workload("params", "/users/42?q=x&page=2", params),
    Workload("body", "/orders", body, "POST", BODY),
    Workload("template", "/page", template),
    Workload("full", "/full", full, group="full"),
    Workload("sync view", "/sync", sync_view),
    Workload("static", "/static/big.txt", static),
    Workload("304", "/static/big.txt", not_modified),
    Workload("websocket 1", "/ws", websocket, sockets=1),
    Workload("websocket 50", "/ws", websocket, sockets=50),
    Workload("database 1 query", "/db", single_query, group="database"),
    Workload("database 20 queries", f"/queries?queries={MANY}", many_queries, group="database"),
    Workload("database fortunes", "/fortunes", fortunes, group="database"),
    Workload("database 20 updates", f"/updates?queries={MANY}", updates, group="database"),
)
