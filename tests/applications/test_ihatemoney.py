"""I Hate Money: a database with migrations, projects with passwords, forms with tokens, languages, an API."""

from __future__ import annotations

import re
import sqlite3

import pytest

pytestmark = pytest.mark.slow


def fields(page):
    """Give what a browser would send back of a page's hidden fields."""
    return {"csrf_token": re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]}


def test_ihatemoney_keeps_a_project(serve, tmp_path):
    """A project is made, people and bills are added, changed and settled; who does not know its code stays outside."""
    database = tmp_path / "money.db"
    settings = tmp_path / "ihatemoney.cfg"
    settings.write_text(
        f'SQLALCHEMY_DATABASE_URI = "sqlite:///{database}"\nSECRET_KEY = "a key of this trial"\nSESSION_COOKIE_SECURE = False\n'
        "MAIL_SUPPRESS_SEND = True\n"
    )
    app = serve("ihatemoney", "ihatemoney.wsgi:application", environ={"IHATEMONEY_SETTINGS_FILE_PATH": str(settings)})
    assert sqlite3.connect(database).execute("select count(*) from alembic_version").fetchone() == (1,), "the migrations have run"

    client = app.client()
    front = client.get("/")
    assert front.headers["Content-Security-Policy"].startswith("default-src")
    made = client.post(
        "/create",
        data={
            "name": "Party", "id": "party", "password": "the code", "contact_email": "anna@home.example", "default_currency": "XXX",
            **fields(client.get("/create")),
        },
    )
    assert made.status_code == 302, made.text[:3000]
    assert client.get("/party/").status_code == 200

    for name in ("Anna", "Ben"):
        added = client.post("/party/members/add", data={"name": name, "weight": "1", **fields(client.get("/party/members/add"))})
        assert added.status_code == 302, name
    form = client.get("/party/add")
    people = dict(re.findall(r'<option[^>]* value="(\d+)">(Anna|Ben)</option>', form.text))
    keys = {name: key for key, name in people.items()}
    bill = {
        "date": "2026-05-01", "what": "Bread & wine", "payer": keys["Anna"], "amount": "30", "payed_for": list(keys.values()),
        "bill_type": "Expense", "original_currency": "XXX",
    }
    assert client.post("/party/add", data={**bill, **fields(form)}).status_code == 302
    bills = client.get("/party/").text
    assert "Bread &amp; wine" in bills
    number = re.search(r"/party/edit/(\d+)", bills)[1]
    assert client.post(f"/party/edit/{number}", data={**bill, "amount": "50", **fields(client.get(f"/party/edit/{number}"))}).status_code == 302
    settle = client.get("/party/settle_bills").text
    assert re.search(r"Ben.*Anna.*25", settle, re.DOTALL)
    assert client.get("/party/export/bills.json").json[0]["amount"] == 50.0

    other = app.client()
    outside = other.get("/party/")
    assert (outside.status_code, "/authenticate" in outside.location) == (303, True)
    wrong = other.post("/authenticate", data={"id": "party", "password": "wrong", **fields(other.get("/authenticate?project_id=party"))})
    assert "the code" not in wrong.text
    assert other.get("/party/").status_code == 303
    right = other.post("/authenticate", data={"id": "party", "password": "the code", **fields(other.get("/authenticate?project_id=party"))})
    assert right.status_code == 302
    assert "Bread" in other.get("/party/").text

    assert other.get("/api/projects/party/members").status_code == 401
    people = other.get("/api/projects/party/members", auth=("party", "the code")).json
    assert [person["name"] for person in people] == ["Anna", "Ben"]
    german = other.get("/lang/de", follow_redirects=False)
    assert german.status_code == 302
    assert "Rechnung" in other.get("/party/").text
    assert client.post(f"/party/delete/{number}", data=fields(client.get("/party/"))).status_code == 302
    assert "Bread" not in client.get("/party/").text
