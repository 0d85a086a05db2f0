"""A message with text, HTML and an attachment sent over SMTP; nothing is sent when testing, but recorded."""

import asyncio

from flask import Flask, render_template_string, request
from flask_mail import Mail, Message

from . import _smtp

DISTRIBUTION = "Flask-Mail"

app = Flask(__name__)
app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=_smtp.start(), MAIL_DEFAULT_SENDER=("Shop", "shop@shop.example"))
mail = Mail(app)


def message():
    made = Message(request.form["subject"], recipients=["anna@home.example"], body="plain", bcc=["boss@shop.example"])
    made.html = render_template_string("<b>{{ request.path }}</b>")
    made.attach("list.csv", "text/csv", "a;b")
    return made


@app.post("/sync/send")
def sync_send():
    mail.send(message())
    with mail.record_messages() as outbox:
        mail.state.suppress = True
        mail.send(message())
        mail.state.suppress = False
    return {"recorded": [each.subject for each in outbox]}


@app.post("/async/send")
async def async_send():
    await asyncio.sleep(0)
    return sync_send()


@app.get("/received")
def received():
    return [each for each in _smtp.received if request.args["subject"] in each["content"]]


def check(client, at):
    subject = f"Offer{at.replace('/', '-')}-{id(client)}"
    assert client.post(f"{at}/send", data={"subject": subject}).json == {"recorded": [subject]}
    [got] = client.get(f"/received?subject={subject}").json
    assert got["from"] == "shop@shop.example"
    assert set(got["to"]) == {"anna@home.example", "boss@shop.example"}
    assert f"<b>{at}/send</b>" in got["content"]
    assert "list.csv" in got["content"]
    assert "boss" not in got["content"]
