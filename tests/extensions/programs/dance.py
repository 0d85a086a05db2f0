"""A blueprint that logs in at an OAuth 2 provider, keeps the token in the session, and a client for views."""

import asyncio
import os
from urllib.parse import parse_qs, urlsplit

from flask import Flask, redirect
from flask_dance.consumer import OAuth2ConsumerBlueprint, oauth_authorized

from . import _provider

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
DISTRIBUTION = "Flask-Dance"

app = Flask(__name__)
app.secret_key = "a key of this trial"
provider = _provider.start()
shop = OAuth2ConsumerBlueprint(
    "shop", __name__, client_id="c", client_secret="s", base_url=provider,
    token_url=f"{provider}/token", authorization_url=f"{provider}/authorize", scope="profile", redirect_url="/done",
)
app.register_blueprint(shop, url_prefix="/login")
seen = []
oauth_authorized.connect(lambda blueprint, token: seen.append(token["access_token"]), sender=shop, weak=False)


@app.get("/done")
def done():
    return seen[-1]


@app.get("/sync/me")
def sync_me():
    return shop.session.get("/me").json() if shop.session.authorized else redirect("/login/shop")


@app.get("/async/me")
async def async_me():
    await asyncio.sleep(0)
    return shop.session.get("/me").json() if shop.session.authorized else redirect("/login/shop")


def check(client, at):
    assert client.get(f"{at}/me").location == "/login/shop"
    away = urlsplit(client.get("/login/shop").location)
    [state] = parse_qs(away.query)["state"]
    back = client.get(f"/login/shop/authorized?code=the-code&state={state}", headers={"Host": "localhost"})
    assert back.location == "/done", back.text
    assert client.get("/done").text == "the-token"
    assert client.get(f"{at}/me").json == {"name": "anna"}
