import msgspec

from carboy import Carboy, WebSocket

app = Carboy(__name__)


class Line(msgspec.Struct, tag=True):
    x: int
    y: int


class Clear(msgspec.Struct, tag=True):
    pass


class Drawing(msgspec.Struct):
    lines: list[Line]


@app.websocket("/draw", max_message=10_000, receive_timeout=600)
async def draw(ws: WebSocket):
    drawing = Drawing([])
    async for message in ws.messages(Line | Clear):
        match message:
            case Line():
                drawing.lines.append(message)
            case Clear():
                drawing.lines.clear()
        await ws.send(drawing)
