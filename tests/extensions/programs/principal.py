"""Identities kept in the session, needs given by a signal, permissions as decorators and as context managers."""

import asyncio

from flask import Flask, session
from flask_principal import (
    Identity,
    Permission,
    PermissionDenied,
    Principal,
    RoleNeed,
    identity_changed,
    identity_loaded,
)

DISTRIBUTION = "Flask-Principal"

app = Flask(__name__)
app.secret_key = "a key of this trial"
Principal(app)
admin = Permission(RoleNeed("admin"))


@identity_loaded.connect_via(app)
def give(sender, identity):
    if identity.id == "anna":
        identity.provides.add(RoleNeed("admin"))


@app.errorhandler(PermissionDenied)
def denied(error):
    return "denied", 403


@app.post("/login/<name>")
def login(name):
    identity_changed.send(app, identity=Identity(name))
    return name


@app.get("/sync/decorated")
@admin.require()
def sync_decorated():
    return "admin"


@app.get("/async/decorated")
@admin.require()
async def async_decorated():
    await asyncio.sleep(0)
    return "admin"


@app.get("/sync/block")
def sync_block():
    with admin.require(http_exception=401):
        return session["identity.id"]


@app.get("/async/block")
async def async_block():
    with admin.require(http_exception=401):
        await asyncio.sleep(0)
        return session["identity.id"]


def check(client, at):
    assert client.get(f"{at}/decorated").status_code == 403
    assert client.get(f"{at}/block").status_code == 401
    client.post("/login/ben")
    assert client.get(f"{at}/decorated").text == "denied"
    client.post("/login/anna")
    assert client.get(f"{at}/decorated").text == "admin"
    assert client.get(f"{at}/block").text == "anna"
