"""Logging in and out, `current_user`, `login_required` with its redirect, the remember-me cookie, a request loader."""

import asyncio

from flask import Flask, request
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user

DISTRIBUTION = "Flask-Login"

app = Flask(__name__)
app.secret_key = "a key of this trial"
manager = LoginManager(app)
manager.login_view = "login"


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@manager.user_loader
def load(name):
    return User(name) if name == "anna" else None


@manager.request_loader
def by_header(request):
    return User("machine") if request.headers.get("X-Key") == "k" else None


@app.get("/login")
def login():
    return "please log in"


@app.post("/sync/login")
def sync_login():
    return str(login_user(User(request.form["name"]), remember="remember" in request.form))


@app.post("/async/login")
async def async_login():
    await asyncio.sleep(0)
    return str(login_user(User(request.form["name"]), remember="remember" in request.form))


@app.get("/sync/me")
@login_required
def sync_me():
    return current_user.id


@app.get("/async/me")
@login_required
async def async_me():
    await asyncio.sleep(0)
    return current_user.id


@app.post("/sync/logout")
def sync_logout():
    logout_user()
    return "bye"


@app.post("/async/logout")
async def async_logout():
    logout_user()
    await asyncio.sleep(0)
    return "bye"


def check(client, at):
    answer = client.get(f"{at}/me")
    assert answer.status_code == 302
    assert answer.location.startswith("/login?next=")
    assert client.get(f"{at}/me", headers={"X-Key": "k"}).text == "machine"
    assert client.post(f"{at}/login", data={"name": "anna", "remember": "1"}).text == "True"
    assert client.get(f"{at}/me").text == "anna"
    client.delete_cookie("session")
    assert client.get(f"{at}/me").text == "anna", "remembered"
    client.post(f"{at}/logout")
    assert client.get(f"{at}/me").status_code == 302
    assert client.get_cookie("remember_token") is None
