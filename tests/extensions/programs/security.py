"""Registering, logging in by form, by JSON and by token, roles, changing the password, logging out."""

import asyncio
import os
from uuid import uuid4

from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore, auth_required, current_user, hash_password, roles_required
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy

DISTRIBUTION = "Flask-Security"

app = Flask(__name__)
app.config.update(
    SECRET_KEY="a key of this trial",
    SECURITY_PASSWORD_SALT="146585145368132386173505678016728509634",
    SECURITY_REGISTERABLE=True,
    SECURITY_CHANGEABLE=True,
    SECURITY_SEND_REGISTER_EMAIL=False,
    SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
    SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
    SECURITY_PASSWORD_HASH="pbkdf2_sha512",
    SECURITY_USE_REGISTER_V2=True,
    WTF_CSRF_ENABLED=False,
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['PROGRAM_DIR']}/security.db",
)
db = SQLAlchemy(app)
fsqla_v3.FsModels.set_db_info(db)


class Role(db.Model, fsqla_v3.FsRoleMixin):
    pass


class User(db.Model, fsqla_v3.FsUserMixin):
    pass


security = Security(app, SQLAlchemyUserDatastore(db, User, Role))
with app.app_context():
    db.create_all()
    store = security.datastore
    if not store.find_user(email="boss@shop.example"):
        store.create_user(email="boss@shop.example", password=hash_password("a long password"), roles=[store.find_or_create_role("boss")])
        db.session.commit()


@app.get("/sync/me")
@auth_required("token", "session")
def sync_me():
    return {"me": current_user.email}


@app.get("/async/me")
@auth_required("token", "session")
async def async_me():
    await asyncio.sleep(0)
    return {"me": current_user.email}


@app.get("/sync/boss")
@auth_required()
@roles_required("boss")
def sync_boss():
    return {"boss": current_user.email}


@app.get("/async/boss")
@auth_required()
@roles_required("boss")
async def async_boss():
    await asyncio.sleep(0)
    return {"boss": current_user.email}


def check(client, at):
    json = {"Accept": "application/json"}
    assert client.get(f"{at}/me", headers=json).status_code == 401
    assert client.get(f"{at}/me").location.startswith("/login")
    email = f"{uuid4().hex}@home.example"
    form = {"email": email, "password": "a long password", "password_confirm": "a long password"}
    assert client.post("/register", data=form).status_code == 302
    assert client.get(f"{at}/me", headers=json).json == {"me": email}
    assert client.get(f"{at}/boss", headers=json).status_code == 403
    changed = {"password": "a long password", "new_password": "a longer password", "new_password_confirm": "a longer password"}
    assert client.post("/change", json=changed, headers=json).status_code == 200
    client.post("/logout")
    assert client.get(f"{at}/me", headers=json).status_code == 401
    assert client.post("/login", json={"email": email, "password": "a long password"}).status_code == 400
    login = client.post("/login?include_auth_token", json={"email": email, "password": "a longer password"})
    token = login.json["response"]["user"]["authentication_token"]
    other = type(client)(client.application)
    assert other.get(f"{at}/me", headers={**json, "Authentication-Token": token}).json == {"me": email}
    other.post("/login", json={"email": "boss@shop.example", "password": "a long password"})
    assert other.get(f"{at}/boss", headers=json).json == {"boss": "boss@shop.example"}
