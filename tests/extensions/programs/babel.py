"""Dates, numbers and texts in the language of the request, chosen by the locale selector; also in templates."""

import asyncio
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from flask import Flask, render_template_string, request
from flask_babel import Babel, force_locale, format_datetime, format_decimal, get_locale, gettext, ngettext

DISTRIBUTION = "Flask-Babel"

catalog = Catalog("de")
catalog.add("Hello", "Hallo")
catalog.add(("%(num)s bottle", "%(num)s bottles"), ("%(num)s Flasche", "%(num)s Flaschen"))
place = Path(os.environ["PROGRAM_DIR"]) / "translations" / "de" / "LC_MESSAGES"
place.mkdir(parents=True, exist_ok=True)
with (place / "messages.mo").open("wb") as out:
    write_mo(out, catalog)

app = Flask(__name__)
app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(place.parents[1])
Babel(
    app,
    locale_selector=lambda: request.accept_languages.best_match(["en", "de"]),
    timezone_selector=lambda: request.args.get("zone"),
)
MOMENT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def answer():
    return {
        "locale": str(get_locale()),
        "hello": gettext("Hello"),
        "bottles": ngettext("%(num)s bottle", "%(num)s bottles", 3),
        "number": format_decimal(1234.5),
        "time": format_datetime(MOMENT, "HH:mm"),
        "template": render_template_string("{{ _('Hello') }} {{ 0.5|percentformat }} {% trans %}Hello{% endtrans %}"),
    }


@app.get("/sync/text")
def sync_text():
    return answer()


@app.get("/async/text")
async def async_text():
    await asyncio.sleep(0)
    found = answer()
    with force_locale("en"):
        await asyncio.sleep(0)
        found["forced"] = gettext("Hello")
    return found


def check(client, at):
    german = client.get(f"{at}/text?zone=Europe/Berlin", headers={"Accept-Language": "de"}).json
    english = client.get(f"{at}/text", headers={"Accept-Language": "en"}).json
    assert german.pop("forced", "Hello") == "Hello"
    assert german == {
        "locale": "de", "hello": "Hallo", "bottles": "3 Flaschen", "number": "1.234,5", "time": "14:30", "template": "Hallo 50\xa0% Hallo",
    }
    assert english["hello"] == "Hello"
    assert english["number"] == "1,234.5"
    assert english["time"] == "12:30"
    # Languages of requests at the same time do not mix.
    wrong = []

    def ask(language, word):
        got = type(client)(client.application).get(f"{at}/text", headers={"Accept-Language": language}).json["hello"]
        wrong.extend([] if got == word else [(language, got)])

    threads = [threading.Thread(target=ask, args=each) for each in [("de", "Hallo"), ("en", "Hello")] * 4]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong
