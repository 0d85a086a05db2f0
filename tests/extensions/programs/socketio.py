"""Events both ways by long polling, rooms, the session of the connection; HTTP views that send to everybody in a room."""

import asyncio
import json
from uuid import uuid4

from flask import Flask, request, session
from flask_socketio import SocketIO, emit, join_room

DISTRIBUTION = "Flask-SocketIO"
NOTE = "`async_mode='threading'`; long polling."

app = Flask(__name__)
app.secret_key = "a key of this trial"
socketio = SocketIO(app, async_mode="threading")


@socketio.on("connect")
def connected(auth):
    session["name"] = auth["name"]


@socketio.on("join")
def join(room):
    join_room(room)
    emit("joined", {"room": room, "name": session["name"], "path": request.path})
    return "done"


@app.post("/sync/push/<room>")
def sync_push(room):
    socketio.emit("news", {"text": request.form["text"]}, to=room)
    return "sent"


@app.post("/async/push/<room>")
async def async_push(room):
    await asyncio.sleep(0)
    socketio.emit("news", {"text": request.form["text"]}, to=room)
    return "sent"


class Connection:
    """Socket.IO's protocol by long polling, as a browser speaks it."""

    def __init__(self, client, name):
        self.client = client
        self.path = "/socket.io/?EIO=4&transport=polling"
        opened = client.get(self.path)
        assert opened.text[0] == "0", opened.text
        self.path += "&sid=" + json.loads(opened.text[1:])["sid"]
        self.send("40" + json.dumps({"name": name}))
        assert self.receive()[0].startswith("40")

    def send(self, packet):
        assert self.client.post(self.path, data=packet, content_type="text/plain").text == "OK"

    def receive(self):
        return self.client.get(self.path).text.split("\x1e")


def check(client, at):
    room = uuid4().hex
    one = Connection(client, "anna")
    one.send("421" + json.dumps(["join", room]))
    got = one.receive()
    while len(got) < 2:
        got += one.receive()
    assert "42" + json.dumps(["joined", {"room": room, "name": "anna", "path": "/socket.io/"}], separators=(",", ":")) in got
    assert '431["done"]' in got, "the acknowledgement"
    assert client.post(f"{at}/push/{room}", data={"text": "hello"}).text == "sent"
    assert one.receive() == ['42["news",{"text":"hello"}]']
    client.post(f"{at}/push/{uuid4().hex}", data={"text": "not for us"})
    client.post(f"{at}/push/{room}", data={"text": "for us"})
    assert one.receive() == ['42["news",{"text":"for us"}]']
