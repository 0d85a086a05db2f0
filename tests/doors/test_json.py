"""JSON in and out."""

from __future__ import annotations

import datetime
import decimal
import uuid
from dataclasses import dataclass

import pytest

from carboy import request


@dataclass
class Point:
    x: int
    y: int


class Markup:
    def __repr__(self):
        # Test runners that share the work need the same name in each process.
        return 'Markup()'

    def __html__(self):
        return "<b>"


def test_json_is_read_and_returned(app, client, coloured):
    """What a client sends as JSON comes back the same."""

    @app.post("/")
    @coloured
    def echo():
        return {"got": request.get_json(), "same": request.json, "is": request.is_json}

    value = {"text": "Ünï\u2028", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}}

    assert client.post("/", json=value).json == {"got": value, "same": value, "is": True}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.date(2024, 2, 29), '"Thu, 29 Feb 2024 00:00:00 GMT"'),
        (datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC), '"Thu, 29 Feb 2024 12:30:00 GMT"'),
        (decimal.Decimal("1.50"), '"1.50"'),
        (uuid.UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (Point(1, 2), '{"x":1,"y":2}'),
        (Markup(), '"<b>"'),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ({1: "number"}, '{"1":"number"}'),
        ("é", '"\\u00e9"'),
        ((1, 2), "[1,2]"),
    ],
    ids=repr,
)
def test_value_is_written(app, client, coloured, value, text):
    """Dates, numbers, ids, data classes and markup have their form in JSON."""

    @app.get("/")
    @coloured
    def index():
        return {"value": value}

    assert client.get("/").text == f'{{"value":{text}}}\n'


def test_provider_may_be_configured(app, client, coloured):
    """The app's provider says whether keys are sorted and text is kept as it is."""
    app.json.sort_keys = False
    app.json.ensure_ascii = False

    @app.get("/")
    @coloured
    def index():
        return {"ü": 1, "a": 2}

    assert client.get("/").text == '{"ü":1,"a":2}\n'


def test_debug_json_is_laid_out(app, client, coloured):
    """In debug mode JSON is indented."""
    app.debug = True

    @app.get("/")
    @coloured
    def index():
        return {"a": [1]}

    assert client.get("/").text == '{\n  "a": [\n    1\n  ]\n}\n'


def test_body_of_another_type_is_unsupported(app, client, coloured):
    """Asking for JSON where something else was sent is answered with 415, unless forced or silent."""

    @app.post("/<how>")
    @coloured
    def index(how):
        if how == "plain":
            return {"got": request.get_json()}
        return {"got": request.get_json(**{how: True})}

    assert client.post("/plain", data="{}", content_type="text/plain").status_code == 415
    assert client.post("/force", data="[1]", content_type="text/plain").json == {"got": [1]}
    assert client.post("/silent", data="[1]", content_type="text/plain").json == {"got": None}


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"[1,]", b"nope", b'"\xff"'])
def test_broken_json_is_a_bad_request(app, client, coloured, body):
    """A body that is no JSON is answered with 400, or is None where the view asked for silence."""

    @app.post("/")
    @coloured
    def loud():
        return {"got": request.get_json()}

    @app.post("/silent")
    @coloured
    def silent():
        return {"got": request.get_json(silent=True)}

    assert client.post("/", data=body, content_type="application/json").status_code == 400
    assert client.post("/silent", data=body, content_type="application/json").json == {"got": None}


def test_json_subtypes_are_json(app, client, coloured):
    """A type that ends in +json is JSON too."""

    @app.post("/")
    @coloured
    def index():
        return {"got": request.json}

    assert client.post("/", data="[1]", content_type="application/vnd.api+json; charset=utf-8").json == {"got": [1]}
