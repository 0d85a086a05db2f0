"""Schemas of models with addresses in them, dumped, loaded and refused."""

import asyncio
import os

from flask import Flask, request
from flask_marshmallow import Marshmallow
from flask_sqlalchemy import SQLAlchemy
from marshmallow import ValidationError

DISTRIBUTION = "Flask-Marshmallow"

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.environ['PROGRAM_DIR']}/marshmallow.db"
db = SQLAlchemy(app)
ma = Marshmallow(app)


class Bottle(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(5), nullable=False)


with app.app_context():
    db.create_all()


class BottleSchema(ma.SQLAlchemyAutoSchema):
    class Meta:
        model = Bottle
        load_instance = True
        sqla_session = db.session

    links = ma.Hyperlinks({"self": ma.URLFor("one", values={"key": "<id>"}), "all": ma.AbsoluteURLFor("everything")})


schema = BottleSchema()


@app.errorhandler(ValidationError)
def refused(error):
    return error.messages, 422


@app.get("/bottles/<int:key>")
def one(key):
    return schema.dump(db.get_or_404(Bottle, key))


@app.get("/bottles")
def everything():
    return {"bottles": schema.dump(db.session.scalars(db.select(Bottle)), many=True)}


def add():
    bottle = schema.load(request.get_json())
    db.session.add(bottle)
    db.session.commit()
    return schema.jsonify(bottle), 201


@app.post("/sync/bottles")
def sync_add():
    return add()


@app.post("/async/bottles")
async def async_add():
    await asyncio.sleep(0)
    return add()


def check(client, at):
    made = client.post(f"{at}/bottles", json={"name": "red"})
    assert made.status_code == 201, made.text
    key = made.json["id"]
    assert made.json["links"] == {"self": f"/bottles/{key}", "all": "http://localhost/bottles"}
    assert client.get(f"/bottles/{key}").json == made.json
    wrong = client.post(f"{at}/bottles", json={"name": "much too long", "odd": 1})
    assert wrong.status_code == 422
    assert set(wrong.json) == {"name", "odd"}
