"""What a view may return, and what the client then gets."""

from __future__ import annotations

import pytest
from werkzeug.wrappers import Response as PlainResponse

from carboy import Response, jsonify, make_response, redirect


@pytest.mark.parametrize(
    ("value", "status", "body", "mimetype"),
    [
        ("Hällo", 200, "Hällo".encode(), "text/html"),
        (b"raw", 200, b"raw", "text/html"),
        (bytearray(b"raw"), 200, b"raw", "text/html"),
        (("made", 201), 201, b"made", "text/html"),
        (("teapot", "418 I'M A TEAPOT"), 418, b"teapot", "text/html"),
        (("", 204), 204, b"", "text/html"),
        (("text", {"Content-Type": "text/plain"}), 200, b"text", "text/plain"),
        (("text", 201, [("Content-Type", "text/plain")]), 201, b"text", "text/plain"),
        ({"a": 1}, 200, b'{"a":1}\n', "application/json"),
        ([1, 2], 200, b"[1,2]\n", "application/json"),
        (({"a": 1}, 202), 202, b'{"a":1}\n', "application/json"),
    ],
    ids=repr,
)
def test_return_value_becomes_a_response(app, client, coloured, value, status, body, mimetype):
    """Text, bytes, JSON values, and tuples with a status or headers, all make a response."""

    @app.get("/")
    @coloured
    def index():
        return value

    response = client.get("/")

    assert (response.status_code, response.data, response.mimetype) == (status, body, mimetype)


def test_length_is_told(app, client, coloured):
    """A whole answer carries its length in bytes."""

    @app.get("/")
    @coloured
    def index():
        return "Hällo"

    response = client.get("/")

    assert response.headers.getlist("Content-Length") == ["6"]


def test_response_object_is_sent_as_it_is(app, client, coloured):
    """A response object is sent as made; a tuple may still change its status and headers."""

    @app.get("/")
    @coloured
    def index():
        return Response("x", 202, mimetype="text/plain"), {"X-More": "1"}

    response = client.get("/")

    assert (response.status_code, response.mimetype, response.headers["X-More"]) == (202, "text/plain", "1")


def test_wsgi_application_may_be_returned(app, client, coloured):
    """A view may hand on to another WSGI application, Werkzeug's plain response among them."""

    def application(environ, start_response):
        start_response("299 Custom", [("Content-Type", "text/x"), ("X-Path", environ["PATH_INFO"])])
        return [b"from ", b"wsgi"]

    @app.get("/wsgi")
    @coloured
    def wsgi():
        return application

    @app.get("/plain")
    @coloured
    def plain():
        return PlainResponse("plain", 203)

    response = client.get("/wsgi")
    assert (response.status_code, response.text, response.headers["X-Path"]) == (299, "from wsgi", "/wsgi")
    response = client.get("/plain")
    assert (response.status_code, response.text) == (203, "plain")


@pytest.mark.parametrize("value", [None, 7, pytest.param(object(), id="object"), (), ("a", 200, {}, "more"), (None, 200)], ids=repr)
def test_value_that_is_no_response_is_an_error(app, client, coloured, value):
    """A view that returns what cannot be sent is in error."""

    @app.get("/")
    @coloured
    def index():
        return value

    assert client.get("/").status_code == 500


def test_header_may_come_several_times(app, client, coloured):
    """Headers of one name are all sent, in order."""

    @app.get("/")
    @coloured
    def index():
        response = make_response("ok")
        response.headers.add("Link", "</a>; rel=preload")
        response.headers.add("Link", "</b>; rel=preload")
        return response

    assert client.get("/").headers.getlist("Link") == ["</a>; rel=preload", "</b>; rel=preload"]


def test_redirect_names_its_target(app, client, coloured):
    """A redirect sends status and location, and is followed with GET."""

    @app.post("/form")
    @coloured
    def form():
        return redirect("/done?x=1")

    @app.get("/done")
    @coloured
    def done():
        return "done"

    response = client.post("/form", data={"a": "b"})

    assert (response.status_code, response.location) == (302, "/done?x=1")
    assert client.post("/form", follow_redirects=True).text == "done"


def test_jsonify_takes_what_dict_takes(app, client, coloured):
    """jsonify makes an object of keywords, and a list of several arguments."""

    @app.get("/object")
    @coloured
    def an_object():
        return jsonify(b=2, a=1)

    @app.get("/list")
    @coloured
    def a_list():
        return jsonify(1, "two")

    assert client.get("/object").data == b'{"a":1,"b":2}\n'
    assert client.get("/list").json == [1, "two"]


def test_response_class_of_the_app_is_used(app, make_client, coloured):
    """Text and JSON become responses of the app's own class."""

    class Plain(app.response_class):
        default_mimetype = "text/x-plain"

    app.response_class = Plain

    @app.get("/")
    @coloured
    def index():
        return "ok"

    assert make_client(app).get("/").mimetype == "text/x-plain"


def test_call_on_close_runs_after_the_answer(app, client, coloured):
    """What a view leaves to be called at the end of its response is called, once."""
    seen = []

    @app.get("/")
    @coloured
    def index():
        response = make_response("ok")
        response.call_on_close(lambda: seen.append("closed"))
        return response

    client.get("/").close()

    assert seen == ["closed"]


def test_header_with_a_line_break_is_refused(app, client, coloured):
    """A value with a line break does not become another header: it is an error of the view."""

    @app.get("/")
    @coloured
    def index():
        response = make_response("ok")
        response.headers["X-Name"] = "a\r\nSet-Cookie: b=c"
        return response

    response = client.get("/")

    assert response.status_code == 500
    assert "Set-Cookie" not in response.headers


def test_headers_may_be_replaced_by_a_dict(app, client, coloured):
    """A response whose `headers` a guest has set to a plain dict is sent with them, and with its length."""

    @app.get("/")
    @coloured
    def view():
        response = make_response("short and stout", 418)
        response.headers = {"x-more-info": "http://tools.ietf.org/html/rfc2324"}
        return response

    answer = client.get("/")
    assert (answer.status_code, answer.text) == (418, "short and stout")
    assert answer.headers["X-More-Info"] == "http://tools.ietf.org/html/rfc2324"
