"""A form with validators, its token against forgery, a file field; requests without the token are refused."""

import asyncio
import io
import re

from flask import Flask, render_template_string
from flask_wtf import CSRFProtect, FlaskForm
from flask_wtf.file import FileAllowed, FileField, FileRequired
from wtforms import StringField
from wtforms.validators import Length

DISTRIBUTION = "Flask-WTF"

app = Flask(__name__)
app.secret_key = "a key of this trial"
CSRFProtect(app)
PAGE = "<form>{{ form.csrf_token }}{{ form.name }}{{ form.picture }}</form>{{ form.errors|tojson }}"


class Upload(FlaskForm):
    name = StringField(validators=[Length(min=3)])
    picture = FileField(validators=[FileRequired(), FileAllowed(["png"])])


def answer():
    form = Upload()
    if form.validate_on_submit():
        return {"name": form.name.data, "size": len(form.picture.data.read())}
    return render_template_string(PAGE, form=form)


@app.route("/sync/form", methods=["GET", "POST"])
def sync_form():
    return answer()


@app.route("/async/form", methods=["GET", "POST"])
async def async_form():
    await asyncio.sleep(0)
    return answer()


def check(client, at):
    page = client.get(f"{at}/form").text
    token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', page)[1]
    picture = lambda name: (io.BytesIO(b"x" * 100_000), name)  # noqa: E731
    refused = client.post(f"{at}/form", data={"name": "anna", "picture": picture("a.png")})
    assert refused.status_code == 400
    assert "CSRF token is missing" in refused.text
    taken = client.post(f"{at}/form", data={"name": "anna", "picture": picture("a.png"), "csrf_token": token})
    assert taken.json == {"name": "anna", "size": 100_000}
    wrong = client.post(f"{at}/form", data={"name": "x", "picture": picture("a.exe"), "csrf_token": token})
    assert "at least 3 characters" in wrong.text
    assert "approved extension" in wrong.text
    by_header = client.post(f"{at}/form", data={"name": "anna", "picture": picture("a.png")}, headers={"X-CSRFToken": token})
    assert by_header.json == {"name": "anna", "size": 100_000}
    forged = client.post(f"{at}/form", data={"name": "anna", "picture": picture("a.png"), "csrf_token": token + "x"})
    assert forged.status_code == 400
