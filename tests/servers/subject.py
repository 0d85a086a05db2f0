"""The application that every server serves: a view for each kind of answer. Told by nobody which server it is."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import os
import threading
from pathlib import Path

from carboy import (
    Carboy,
    Response,
    abort,
    after_this_request,
    g,
    make_response,
    redirect,
    request,
    send_from_directory,
    session,
    stream_with_context,
    url_for,
)

MEGABYTE = 1 << 20

app = Carboy("served", root_path=str(Path(__file__).parent))
app.config.update(SECRET_KEY="the same for every server", MAX_CONTENT_LENGTH=64 * MEGABYTE, SEND_FILE_MAX_AGE_DEFAULT=60)

word = contextvars.ContextVar("word", default="none")


@app.before_request
def note_in_sync():
    g.notes = ["sync hook"]


@app.before_request
async def note_in_async():
    await asyncio.sleep(0)
    word.set("set by an async hook")
    g.notes.append("async hook")


@app.before_request
def gate():
    if request.path.startswith("/closed"):
        return {"closed": request.path}, 403
    return None


@app.after_request
def stamp(response):
    # A body in chunks is found too long before the hooks, or when the view reads it: that is the door's matter.
    if response.status_code != 413:
        response.headers["X-Notes"] = ", ".join(g.get("notes", []))
    return response


class OutOfStock(Exception):
    """A mistake of this application's own, with a handler of its own."""


@app.errorhandler(OutOfStock)
def out_of_stock(error):
    return {"sold out": str(error)}, 409


@app.errorhandler(404)
async def nowhere(error):
    await asyncio.sleep(0)
    return f"nothing at {request.path!r}", 404


@app.get("/")
def text():
    return "Grüße, Welt"


@app.get("/bytes")
def raw():
    return bytes(range(256)), {"Content-Type": "application/octet-stream"}


@app.get("/json")
def json():
    return {"list": [1, 2.5, None, True], "text": "naïve ☃", "nested": {"b": 1, "a": 2}}


@app.get("/async/json")
async def async_json():
    await asyncio.sleep(0.001)
    return {"word": word.get(), "notes": g.notes, "user": request.headers.get("X-User")}


@app.get("/empty")
def empty():
    return "", 204


@app.get("/teapot")
def teapot():
    return "short and stout", 418, {"X-Handle": "left"}


@app.get("/to")
def to():
    return redirect(url_for("echo", path="there", q="ä b"), 303)


@app.get("/slash/")
def slash():
    return "with a slash"


@app.route("/echo/<path:path>", methods=["GET", "POST", "PUT", "DELETE"])
def echo(path):
    return {
        "path": path,
        "request.path": request.path,
        "query": request.args.to_dict(flat=False),
        "query_string": request.query_string.decode("latin-1"),
        "method": request.method,
        "root": request.script_root,
        "host": request.host,
        "scheme": request.scheme,
        "body": request.get_data(as_text=True),
        "type": request.content_type,
        "length": request.content_length,
    }


@app.get("/async/echo/<name>")
async def async_echo(name):
    return {"name": name, "path": request.path, "query": request.args.to_dict(flat=False), "url": request.url}


@app.get("/headers")
def headers():
    # WSGI servers join what came twice, some with a space; either way it is one value.
    return {name: request.headers[name].replace(", ", ",") for name in ("X-Long", "X-Twice", "Accept-Language", "User-Agent")}


@app.get("/headers/out")
def headers_out():
    response = Response("many")
    response.headers["X-Long"] = "l" * 2500
    for number in range(3):
        response.headers.add("X-Many", str(number))
    response.headers.add("Link", "</a>; rel=next")
    response.headers.add("Link", "</b>; rel=prev")
    return response


@app.get("/cookies")
def cookies():
    response = make_response({"got": request.cookies.to_dict(flat=False)})
    response.set_cookie("first", "one", max_age=60)
    response.set_cookie("second", "zwei ä", httponly=True, samesite="Lax")
    response.delete_cookie("third")
    return response


@app.get("/visit")
def visit():
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}


@app.get("/async/visit")
async def async_visit():
    session["visits"] = session.get("visits", 0) + 10
    return {"visits": session["visits"]}


@app.post("/json")
def take_json():
    return {"read": request.get_json()}


@app.post("/async/json")
async def async_take_json():
    return {"read": request.get_json()}


def form_read():
    files = {}
    for name, file in request.files.items(multi=True):
        content = file.read()
        files[name] = [file.filename, file.content_type, len(content), hashlib.sha256(content).hexdigest()]
    return {"form": request.form.to_dict(flat=False), "files": files}


@app.post("/form")
def form():
    return form_read()


@app.post("/async/form")
async def async_form():
    return form_read()


def hash_of_body():
    digest = hashlib.sha256()
    size = 0
    while chunk := request.stream.read(MEGABYTE):
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "hash": digest.hexdigest()}


@app.post("/hash")
def hash_sync():
    return hash_of_body()


@app.post("/hash/as-it-comes", stream=True)
def hash_as_it_comes():
    return hash_of_body()


@app.post("/async/hash")
async def hash_async():
    return hash_of_body()


@app.post("/small", max_body=1000)
def small():
    return {"size": len(request.get_data())}


@app.post("/async/small", max_body=1000)
async def async_small():
    return {"size": len(request.get_data())}


@app.get("/file")
def file():
    return send_from_directory("static", "notes.txt", as_attachment=True, download_name="Notizen ä.txt")


@app.get("/flow")
def stream():
    name = request.args.get("name", "nobody")

    @stream_with_context
    def lines():
        for number in range(20):
            yield f"{number} {name} {request.path}\n"

    return lines(), {"Content-Type": "text/plain; charset=utf-8"}


@app.get("/async/flow")
async def async_stream():
    @stream_with_context
    async def lines():
        for number in range(20):
            await asyncio.sleep(0)
            yield f"{number} {request.args['name']} {request.path}\n"

    return lines(), {"Content-Type": "text/plain; charset=utf-8"}


@app.get("/flow/large")
def large_stream():
    return (bytes([number]) * 100_000 for number in range(50)), {"Content-Type": "application/octet-stream"}


@app.get("/large")
def large():
    return b"0123456789abcdef" * 200_000, {"Content-Type": "application/octet-stream"}


@app.get("/later")
async def later():
    @after_this_request
    async def add(response):
        await asyncio.sleep(0)
        response.headers["X-Later"] = "yes"
        return response

    return "later"


@app.get("/stock")
def stock():
    raise OutOfStock("apples")


@app.get("/async/stock")
async def async_stock():
    raise OutOfStock("pears")


@app.get("/broken")
def broken():
    raise ZeroDivisionError("nobody outside may read this")


@app.get("/async/broken")
async def async_broken():
    raise ZeroDivisionError("nobody outside may read this")


@app.get("/gone")
def gone():
    abort(410)


@app.get("/inline", blocking=False)
def inline():
    return "never blocks"


# -- not compared: what tells one process from another -----------------------------------------------


@app.get("/pid")
def pid():
    return {"pid": os.getpid(), "thread": threading.current_thread().name}


@app.get("/second")
async def second():
    await asyncio.sleep(1)
    return {"pid": os.getpid()}
