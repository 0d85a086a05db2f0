from carboy import Carboy, abort

app = Carboy(__name__)
app.secret_key = "change me, and keep it out of the code"


@app.post("/login/<name>")
async def login(name, session):
    session["name"] = name
    return {"hello": name}


@app.websocket("/chat/<room>")
async def chat(ws, room, session):
    if "name" not in session:
        abort(401)
    await ws.join(f"chat:{room}")
    async for text in ws:
        await app.channels.publish(f"chat:{room}", f"{session['name']}: {text}")
