"""Models, queries and the session of the request, removed at its end; a page of a query; 404 of `get_or_404`."""

import asyncio
import os
from uuid import uuid4

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

DISTRIBUTION = "Flask-SQLAlchemy"

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.environ['PROGRAM_DIR']}/sqlalchemy.db"
db = SQLAlchemy(app)


class Note(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf: Mapped[str]
    text: Mapped[str]


with app.app_context():
    db.create_all()


def add():
    note = Note(**request.get_json())
    db.session.add(note)
    db.session.flush()
    if request.args.get("forget"):
        return {"id": note.id}  # not committed: the session's removal at the end of the request rolls it back
    db.session.commit()
    return {"id": note.id}, 201


def page(shelf):
    found = db.paginate(db.select(Note).filter_by(shelf=shelf).order_by(Note.id), per_page=2)
    return {"total": found.total, "texts": [note.text for note in found], "next": found.has_next}


def one(number):
    return db.get_or_404(Note, number).text


async def async_add():
    await asyncio.sleep(0)
    return add()


async def async_page(shelf):
    await asyncio.sleep(0)
    return page(shelf)


async def async_one(number):
    note = db.get_or_404(Note, number)
    await asyncio.sleep(0)  # the session is the same one afterwards
    assert note in db.session
    return note.text


app.post("/sync/notes")(add)
app.get("/sync/shelf/<shelf>")(page)
app.get("/sync/notes/<int:number>")(one)
app.post("/async/notes")(async_add)
app.get("/async/shelf/<shelf>")(async_page)
app.get("/async/notes/<int:number>")(async_one)


def check(client, at):
    shelf = uuid4().hex
    for text in ("one", "two", "three"):
        answer = client.post(f"{at}/notes", json={"shelf": shelf, "text": text})
        assert answer.status_code == 201, answer.text
    assert client.get(f"{at}/notes/{answer.json['id']}").text == "three"
    lost = client.post(f"{at}/notes?forget=1", json={"shelf": shelf, "text": "lost"}).json["id"]
    assert client.get(f"{at}/notes/{lost}").status_code == 404
    assert client.get(f"{at}/shelf/{shelf}").json == {"total": 3, "texts": ["one", "two"], "next": True}
    assert client.get(f"{at}/shelf/{shelf}?page=2").json == {"total": 3, "texts": ["three"], "next": False}
    assert client.get(f"{at}/shelf/{shelf}?page=9").status_code == 404
