"""Times that the browser writes in its own zone and language: the script in the head and the marked times."""

import asyncio
from datetime import UTC, datetime

from flask import Flask, render_template_string
from flask_moment import Moment

DISTRIBUTION = "Flask-Moment"

app = Flask(__name__)
moment = Moment(app)
PAGE = "{{ moment.include_moment() }}{{ moment.locale('de') }}{{ moment(when).format('LLL') }}"
WHEN = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


@app.get("/sync/page")
def sync_page():
    return render_template_string(PAGE, when=WHEN)


@app.get("/async/page")
async def async_page():
    await asyncio.sleep(0)
    return render_template_string(PAGE, when=WHEN) + str(moment.create(WHEN).fromNow())


def check(client, at):
    text = client.get(f"{at}/page").text
    assert "moment-with-locales.min.js" in text
    assert 'data-timestamp="2026-05-01T12:30:00Z"' in text
    assert 'data-format="LLL"' in text
    assert 'moment.locale("de")' in text
