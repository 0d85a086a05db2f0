"""Cookies, one by one."""

from __future__ import annotations

from carboy import make_response, request


def test_cookie_goes_and_comes_back(app, client, coloured):
    """A cookie that a view sets is in the requests that follow."""

    @app.get("/set")
    @coloured
    def put():
        response = make_response("ok")
        response.set_cookie("taste", "chocolate & cream; ä")
        return response

    @app.get("/get")
    @coloured
    def get():
        return request.cookies.get("taste", "none")

    assert client.get("/get").text == "none"
    client.get("/set")
    assert client.get("/get").text == "chocolate & cream; ä"


def test_several_cookies_are_sent_each_on_its_own(app, client, coloured):
    """Each cookie has a header of its own, with its attributes."""

    @app.get("/")
    @coloured
    def index():
        response = make_response("ok")
        response.set_cookie("a", "1", max_age=60, secure=True, httponly=True, samesite="Strict", path="/p")
        response.set_cookie("b", "2")
        return response

    first, second = client.get("/").headers.getlist("Set-Cookie")

    parts = {part.strip() for part in first.split(";")}
    assert {"a=1", "Max-Age=60", "Secure", "HttpOnly", "SameSite=Strict", "Path=/p"} <= parts
    assert second == "b=2; Path=/"


def test_several_cookies_are_received(app, client, coloured):
    """All cookies of a request are there, though a server may have got them line by line."""

    @app.get("/")
    @coloured
    def index():
        return dict(request.cookies)

    for name in "abc":
        client.set_cookie(name, name.upper())

    assert client.get("/").json == {"a": "A", "b": "B", "c": "C"}


def test_cookie_is_deleted(app, client, coloured):
    """A deleted cookie does not come back."""

    @app.get("/delete")
    @coloured
    def delete():
        response = make_response("ok")
        response.delete_cookie("taste")
        return response

    @app.get("/")
    @coloured
    def index():
        return request.cookies.get("taste", "none")

    client.set_cookie("taste", "salt")

    assert client.get("/").text == "salt"
    client.get("/delete")
    assert client.get("/").text == "none"
