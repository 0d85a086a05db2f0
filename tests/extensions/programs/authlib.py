"""Logging in at an OAuth 2 provider: away with a state, back with a code, the token fetched and used."""

import asyncio
from urllib.parse import parse_qs, urlsplit

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, session, url_for

from . import _provider

DISTRIBUTION = "Authlib"

app = Flask(__name__)
app.secret_key = "a key of this trial"
provider = _provider.start()
oauth = OAuth(app)
oauth.register(
    "shop",
    client_id="c",
    client_secret="s",
    authorize_url=f"{provider}/authorize",
    access_token_url=f"{provider}/token",
    api_base_url=provider,
    client_kwargs={"scope": "profile", "code_challenge_method": "S256"},
)


@app.errorhandler(OAuthError)
def refused(error):
    return error.error, 401


@app.get("/sync/login")
def sync_login():
    return oauth.shop.authorize_redirect(url_for("sync_back", _external=True))


@app.get("/async/login")
async def async_login():
    await asyncio.sleep(0)
    return oauth.shop.authorize_redirect(url_for("async_back", _external=True))


def back():
    token = oauth.shop.authorize_access_token()
    session["name"] = oauth.shop.get("/me", token=token).json()["name"]
    return session["name"]


@app.get("/sync/back")
def sync_back():
    return back()


@app.get("/async/back")
async def async_back():
    await asyncio.sleep(0)
    return back()


def check(client, at):
    away = urlsplit(client.get(f"{at}/login").location)
    query = parse_qs(away.query)
    assert f"{away.scheme}://{away.netloc}" .startswith("http://127.0.0.1:")
    assert query["redirect_uri"] == [f"http://localhost{at}/back"]
    assert query["code_challenge_method"] == ["S256"]
    [state] = query["state"]
    assert client.get(f"{at}/back?code=the-code&state={state}x").status_code == 401
    assert client.get(f"{at}/back?code=the-code&state={state}").text == "anna"
