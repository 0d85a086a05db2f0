from carboy import Carboy, EventStream
from carboy.realtime.sse import Event

app = Carboy(__name__)


@app.post("/rooms/<int:room>")
async def say(room, request):
    text = request.form["text"]
    return {"id": await app.channels.publish(f"room:{room}", {"text": text})}


@app.get("/rooms/<int:room>")
async def listen(room, request):
    who = request.args.get("who", "somebody")
    # A browser that reconnects says which event it saw last; one that is new gets the last twenty messages.
    seen = request.last_event_id or None

    async def events():
        topic = f"room:{room}"
        async with (
            app.channels.subscribe(topic, history=20, after=seen, presence=True) as messages,
            app.channels.present(topic, who=who),
        ):
            async for message in messages:
                if message.missed:
                    yield Event("some messages are missing here", event="gap")
                yield Event(message.text, event=message.event, id=message.id)

    return EventStream(events())


@app.get("/rooms/<int:room>/people")
async def people(room):
    return [person.who for person in await app.channels.presence(f"room:{room}")]


@app.post("/announcements")
def announce(request):
    # A view that is `def`: the same verbs, on `app.channels.sync`.
    app.channels.sync.publish("room:1", {"text": request.form["text"]})
    return "", 204
