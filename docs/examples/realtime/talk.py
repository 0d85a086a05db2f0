from carboy import Carboy

app = Carboy(__name__)


@app.websocket("/talk/<room>")
async def talk(ws, room):
    await ws.join(room, history=20)
    async for text in ws:
        await app.channels.publish(room, text)
