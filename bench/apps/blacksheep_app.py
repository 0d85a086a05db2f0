"""BlackSheep."""

from typing import Any

from blacksheep import Application, Request, Response, Router, WebSocket, WebSocketDisconnectError, json, text
from blacksheep.server.responses import html
from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from jinja2 import Environment, FileSystemLoader

template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("page.html")
app = Application()
full_app = Application(router=Router())
full_app.use_sessions(SECRET)


@app.router.get("/plaintext")
async def plaintext() -> Response:
    return text(HELLO)


@app.router.get("/json")
async def message() -> Response:
    return json(MESSAGE)


@app.router.get("/sync")
def sync() -> Response:
    return json(MESSAGE)


@app.router.get("/users/{int:user}")
async def user(user: int, q: str, page: int) -> Response:
    return json({"user": user, "q": q, "page": page})


@app.router.post("/orders")
async def orders(request: Request) -> Response:
    try:
        order = await request.json()
        return json({"order": order, "sum": sum_of(order)}, 201)
    except ValueError as error:
        return json({"error": str(error)}, 400)


@app.router.get("/page")
async def page() -> Response:
    return html(template.render(title="Rows", rows=ROWS))


@app.router.ws("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError:
        pass


for number in range(OTHERS):
    app.router.add_get(f"/other{number}/{{name}}", message)
app.serve_files(str(STATIC), root_path="static", extensions={".css", ".txt"})


async def hooks(request: Request, handler: Any) -> Response:
    request.before = b"1"
    response = await handler(request)
    response.add_header(b"x-before", request.before)
    return response


full_app.middlewares.append(hooks)


@full_app.router.get("/full")
async def full(request: Request) -> Response:
    visits = request.session["visits"] = (request.session.get("visits") or 0) + 1
    return json({"visits": visits})
