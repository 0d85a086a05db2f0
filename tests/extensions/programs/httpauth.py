"""Basic, Digest and token authentication, roles, and the header that asks for them."""

import asyncio
import hashlib

from flask import Flask
from flask_httpauth import HTTPBasicAuth, HTTPDigestAuth, HTTPTokenAuth
from werkzeug.http import parse_dict_header

DISTRIBUTION = "Flask-HTTPAuth"

app = Flask(__name__)
app.secret_key = "a key of this trial"
basic, digest, token = HTTPBasicAuth(), HTTPDigestAuth(), HTTPTokenAuth()
basic.verify_password(lambda name, word: name if word == "pass" else None)
basic.get_user_roles(lambda name: ["admin"] if name == "anna" else [])
digest.get_password({"anna": "pass"}.get)
token.verify_token({"t": "machine"}.get)


@app.get("/sync/basic")
@basic.login_required
def sync_basic():
    return basic.current_user()


@app.get("/async/basic")
@basic.login_required
async def async_basic():
    await asyncio.sleep(0)
    return basic.current_user()


@app.get("/sync/admin")
@basic.login_required(role="admin")
def sync_admin():
    return "admin"


@app.get("/async/admin")
@basic.login_required(role="admin")
async def async_admin():
    await asyncio.sleep(0)
    return "admin"


@app.get("/sync/digest")
@digest.login_required
def sync_digest():
    return digest.username()


@app.get("/async/digest")
@digest.login_required
async def async_digest():
    await asyncio.sleep(0)
    return digest.username()


@app.get("/sync/token")
@token.login_required
def sync_token():
    return token.current_user()


@app.get("/async/token")
@token.login_required
async def async_token():
    await asyncio.sleep(0)
    return token.current_user()


def md5(*parts):
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def check(client, at):
    asked = client.get(f"{at}/basic")
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"] == 'Basic realm="Authentication Required"'
    assert client.get(f"{at}/basic", auth=("anna", "pass")).text == "anna"
    assert client.get(f"{at}/basic", auth=("anna", "wrong")).status_code == 401
    assert client.get(f"{at}/admin", auth=("anna", "pass")).text == "admin"
    assert client.get(f"{at}/admin", auth=("ben", "pass")).status_code == 403
    assert client.get(f"{at}/token", headers={"Authorization": "Bearer t"}).text == "machine"
    assert client.get(f"{at}/token", headers={"Authorization": "Bearer x"}).status_code == 401
    scheme, _, challenge = client.get(f"{at}/digest").headers["WWW-Authenticate"].partition(" ")
    assert scheme == "Digest"
    wanted = parse_dict_header(challenge)
    a1, a2 = md5("anna", wanted["realm"], "pass"), md5("GET", f"{at}/digest")
    proof = md5(a1, wanted["nonce"], "00000001", "c", "auth", a2)
    answer = client.get(
        f"{at}/digest",
        headers={
            "Authorization": f'Digest username="anna", realm="{wanted["realm"]}", nonce="{wanted["nonce"]}", uri="{at}/digest", '
            f'response="{proof}", opaque="{wanted["opaque"]}", qop=auth, nc=00000001, cnonce="c", algorithm="MD5"'
        },
    )
    assert answer.text == "anna", answer.text
