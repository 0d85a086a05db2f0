"""Views that say what they need: the request and its like as parameters, beside the values of the URL."""

from __future__ import annotations

import asyncio
import functools

from carboy import Carboy, Request, current_app
from carboy import g as the_g
from carboy import request as the_request
from carboy import session as the_session


def test_decorated_view_is_not_given_names(app, client, door):
    """Behind a decorator names are the decorator's own affair: it may pass something else under them."""

    def passing(view):
        @functools.wraps(view)
        def wrapper(**values):
            return view(request="the decorator's", **values)

        return wrapper

    @app.get("/")
    @passing
    def view(request):
        return request

    assert client.get("/").text == "the decorator's"


def test_view_gets_what_it_names(app, client, colour):
    """request, session, g and app are given by name, and are the objects that the proxies stand for."""

    def answer(number, request, session, g, app):
        g.word = "g"
        session["word"] = "session"
        return {
            "number": number,
            "path": request.path,
            "same": [
                request is the_request._get_current_object(),
                session is the_session._get_current_object(),
                g is the_g._get_current_object(),
                app is current_app._get_current_object(),
            ],
        }

    if colour == "sync":
        app.add_url_rule("/<int:number>", view_func=answer)
    else:

        @app.get("/<int:number>")
        async def view(number, request, session, g, app):
            await asyncio.sleep(0)
            return answer(number, request, session, g, app)

    assert client.get("/7").json == {"number": 7, "path": "/7", "same": [True] * 4}
    with client.session_transaction() as session:
        assert session["word"] == "session"


def test_view_gets_what_it_annotates(app, client, coloured):
    """A parameter annotated with Request or Carboy gets it, whatever its name."""

    @app.get("/<name>")
    @coloured
    def view(asked: Request, name: str, board: Carboy):
        return f"{asked.path} {name} {board.name}"

    assert client.get("/jam").text == "/jam jam board"


def test_url_variable_wins_over_a_given_name(app, client, coloured):
    """A rule that has a variable called request gives that to the view."""

    @app.get("/<request>/<session>")
    @coloured
    def view(request, session):
        return f"{request} {session}"

    assert client.get("/a/b").text == "a b"


def test_default_of_a_parameter_is_kept(app, client, coloured):
    """A parameter with a default that nothing fills keeps it."""

    @app.get("/")
    @coloured
    def view(asked: Request, page=7, session=None):
        return f"{asked.method} {page} {session}"

    assert client.get("/").text == "GET 7 None"
