"""Security headers on every answer, a nonce in the content policy, and the redirect to https."""

import asyncio
import re

from flask import Flask, render_template_string
from flask_talisman import ALLOW_FROM, Talisman

DISTRIBUTION = "Flask-Talisman"

app = Flask(__name__)
talisman = Talisman(app, content_security_policy={"script-src": "'self'"}, content_security_policy_nonce_in=["script-src"])
PAGE = "<script nonce='{{ csp_nonce() }}'></script>"


@app.get("/sync/page")
def sync_page():
    return render_template_string(PAGE)


@app.get("/async/page")
async def async_page():
    await asyncio.sleep(0)
    return render_template_string(PAGE)


@app.get("/sync/framed")
@talisman(frame_options=ALLOW_FROM, frame_options_allow_from="https://shop.example", force_https=False)
def sync_framed():
    return "framed"


@app.get("/async/framed")
@talisman(frame_options=ALLOW_FROM, frame_options_allow_from="https://shop.example", force_https=False)
async def async_framed():
    await asyncio.sleep(0)
    return "framed"


def check(client, at):
    plain = client.get(f"{at}/page")
    assert plain.status_code == 302
    assert plain.location == f"https://localhost{at}/page"
    secure = client.get(f"{at}/page", headers={"X-Forwarded-Proto": "https"})
    assert secure.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "max-age=" in secure.headers["Strict-Transport-Security"]
    policy = secure.headers["Content-Security-Policy"]
    nonce = re.search(r"nonce='([^']+)'", secure.text)[1]
    assert f"'nonce-{nonce}'" in policy
    assert client.get(f"{at}/page", headers={"X-Forwarded-Proto": "https"}).headers["Content-Security-Policy"] != policy
    framed = client.get(f"{at}/framed")
    assert framed.text == "framed"
    assert framed.headers["X-Frame-Options"] == "ALLOW-FROM https://shop.example"
