"""Tokens made, required, refreshed, revoked; in headers and in cookies with their check against forgery."""

import asyncio

from flask import Flask, jsonify
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    current_user,
    get_jwt,
    get_jwt_identity,
    jwt_required,
    set_access_cookies,
)

DISTRIBUTION = "Flask-JWT-Extended"

app = Flask(__name__)
app.config.update(JWT_SECRET_KEY="a key of this trial, long enough for it", JWT_TOKEN_LOCATION=["headers", "cookies"], JWT_COOKIE_SECURE=False)
jwt = JWTManager(app)
revoked = set()
jwt.token_in_blocklist_loader(lambda header, data: data["jti"] in revoked)
jwt.user_lookup_loader(lambda header, data: {"name": data["sub"].upper()})


@app.post("/sync/login")
def sync_login():
    answer = jsonify(access=create_access_token("anna"), refresh=create_refresh_token("anna"))
    set_access_cookies(answer, create_access_token("anna"))
    return answer


@app.post("/async/login")
async def async_login():
    await asyncio.sleep(0)
    return sync_login()


@app.route("/sync/me", methods=["GET", "POST"])
@jwt_required()
def sync_me():
    return {"me": get_jwt_identity(), "user": current_user["name"]}


@app.route("/async/me", methods=["GET", "POST"])
@jwt_required()
async def async_me():
    await asyncio.sleep(0)
    return {"me": get_jwt_identity(), "user": current_user["name"]}


@app.post("/sync/refresh")
@jwt_required(refresh=True)
def sync_refresh():
    return {"access": create_access_token(get_jwt_identity())}


@app.post("/async/refresh")
@jwt_required(refresh=True)
async def async_refresh():
    return {"access": create_access_token(get_jwt_identity())}


@app.post("/sync/revoke")
@jwt_required()
def sync_revoke():
    revoked.add(get_jwt()["jti"])
    return "", 204


@app.post("/async/revoke")
@jwt_required()
async def async_revoke():
    await asyncio.sleep(0)
    revoked.add(get_jwt()["jti"])
    return "", 204


def check(client, at):
    assert client.get(f"{at}/me").status_code == 401
    tokens = client.post(f"{at}/login").json
    assert client.get(f"{at}/me").json == {"me": "anna", "user": "ANNA"}, "by cookie"
    assert client.post(f"{at}/me").status_code == 401, "a cookie alone does not allow a change"
    token = client.get_cookie("csrf_access_token").value
    assert client.post(f"{at}/me", headers={"X-CSRF-TOKEN": token}).status_code == 200
    client.delete_cookie("access_token_cookie")
    bearer = lambda which: {"Authorization": f"Bearer {which}"}  # noqa: E731
    assert client.get(f"{at}/me", headers=bearer(tokens["access"])).json == {"me": "anna", "user": "ANNA"}
    assert client.get(f"{at}/me", headers=bearer(tokens["refresh"])).status_code == 422
    assert client.get(f"{at}/me", headers=bearer(tokens["access"] + "x")).status_code == 422
    fresh = client.post(f"{at}/refresh", headers=bearer(tokens["refresh"])).json["access"]
    assert client.post(f"{at}/revoke", headers=bearer(fresh)).status_code == 204
    answer = client.get(f"{at}/me", headers=bearer(fresh))
    assert (answer.status_code, answer.json) == (401, {"msg": "Token has been revoked"})
