"""Messages over SMTP, several in one connection, with HTML beside the text."""

import asyncio

from flask import Flask, request
from flask_mailman import EmailMultiAlternatives, Mail

from . import _smtp

DISTRIBUTION = "Flask-Mailman"

app = Flask(__name__)
app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=_smtp.start(), MAIL_DEFAULT_SENDER="shop@shop.example")
mail = Mail(app)


def send():
    subject = request.form["subject"]
    one = EmailMultiAlternatives(subject, "plain", to=["anna@home.example"])
    one.attach_alternative(f"<b>{request.path}</b>", "text/html")
    one.send()
    return str(mail.send_mass_mail([(subject, f"text {number}", None, ["ben@home.example"]) for number in range(2)]))


@app.post("/sync/send")
def sync_send():
    return send()


@app.post("/async/send")
async def async_send():
    await asyncio.sleep(0)
    return send()


@app.get("/received")
def received():
    return [each for each in _smtp.received if request.args["subject"] in each["content"]]


def check(client, at):
    subject = f"Offer{at.replace('/', '-')}-{id(client)}"
    assert client.post(f"{at}/send", data={"subject": subject}).text == "2"
    got = client.get(f"/received?subject={subject}").json
    assert [each["to"] for each in got] == [["anna@home.example"], ["ben@home.example"], ["ben@home.example"]]
    assert f"<b>{at}/send</b>" in got[0]["content"]
    assert "text 1" in got[2]["content"]
