"""Bootstrap's files served by the application, and macros that write a form, a pager and messages in its style."""

import asyncio
import re

from flask import Flask, flash, render_template_string
from flask_bootstrap import Bootstrap5
from flask_wtf import FlaskForm
from wtforms import StringField, SubmitField
from wtforms.validators import DataRequired

DISTRIBUTION = "Bootstrap-Flask"

app = Flask(__name__)
app.config.update(SECRET_KEY="a key of this trial", BOOTSTRAP_SERVE_LOCAL=True)
Bootstrap5(app)
PAGE = """{% from 'bootstrap5/form.html' import render_form %}{% from 'bootstrap5/utils.html' import render_messages %}
{{ bootstrap.load_css() }}{{ render_messages() }}{{ render_form(form) }}"""


class Bottle(FlaskForm):
    name = StringField(validators=[DataRequired()])
    send = SubmitField()


def page():
    form = Bottle()
    form.validate_on_submit()
    flash("Welcome", "success")
    return render_template_string(PAGE, form=form)


@app.route("/sync/page", methods=["GET", "POST"])
def sync_page():
    return page()


@app.route("/async/page", methods=["GET", "POST"])
async def async_page():
    await asyncio.sleep(0)
    return page()


def check(client, at):
    text = client.get(f"{at}/page").text
    address = re.search(r'href="(/bootstrap/static/[^"]+bootstrap\.min\.css[^"]*)"', text)[1]
    assert b"Bootstrap" in client.get(address).data[:200]
    assert re.search(r'<input class="form-control"[^>]*name="name"', text)
    assert 'class="alert alert-success' in text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', text)[1]
    assert "is-invalid" in client.post(f"{at}/page", data={"csrf_token": token}).text
