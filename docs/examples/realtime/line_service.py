from carboy import Carboy, current_app, g

app = Carboy(__name__)


async def handle(reader, writer):
    """A line protocol: SET key value, GET key."""
    g.values = {}
    async for line in reader:
        match line.decode().split():
            case ["SET", key, value]:
                g.values[key] = value
                answer = "OK"
            case ["GET", key]:
                answer = g.values.get(key, "nothing")
            case _:
                answer = f"{current_app.name} knows SET and GET"
        writer.write(f"{answer}\n".encode())
        await writer.drain()


app.listen_tcp("127.0.0.1:7000", handle, name="values", idle_timeout=300)


@app.get("/")
async def index():
    service = app.listeners["values"]
    return {"connections": service.connections, "accepted": service.accepted}
