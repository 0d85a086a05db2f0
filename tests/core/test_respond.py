"""Facts of making a response of what a view returns."""

from __future__ import annotations

import asyncio
import functools

import pytest

import carboy


def plain(view):
    """A decorator that knows nothing of `async def`: it calls what it wraps, and makes a response of it."""

    @functools.wraps(view)
    def wrapped(*args, **kwargs):
        response = carboy.make_response(view(*args, **kwargs))
        response.headers["X-Wrapped"] = "yes"
        return response

    return wrapped


def test_decorator_for_def_views_may_stand_on_an_async_view(app, client):
    """A coroutine given to make_response is run, with the request at hand before and after a suspension."""

    @app.get("/<name>")
    @plain
    async def view(name):
        await asyncio.sleep(0)
        return {"name": name, "path": carboy.request.path}, 202, {"X-View": "yes"}

    answer = client.get("/anna")
    assert (answer.status_code, answer.json) == (202, {"name": "anna", "path": "/anna"})
    assert (answer.headers["X-Wrapped"], answer.headers["X-View"]) == ("yes", "yes")


def test_def_view_may_return_a_coroutine(app, client):
    """What a coroutine returns is the answer, its status may stand beside it."""

    async def later():
        await asyncio.sleep(0)
        return "later"

    app.add_url_rule("/alone", "alone", lambda: later())
    app.add_url_rule("/beside", "beside", lambda: (later(), 201))

    assert client.get("/alone").text == "later"
    answer = client.get("/beside")
    assert (answer.status_code, answer.text) == (201, "later")


def test_error_of_a_wrapped_async_view_is_handled(app, client):
    """An exception raised in the coroutine reaches the app's error handlers."""
    app.errorhandler(KeyError)(lambda error: ("no such key", 404))

    @app.get("/")
    @plain
    async def view():
        await asyncio.sleep(0)
        raise KeyError("k")

    answer = client.get("/")
    assert (answer.status_code, answer.text) == (404, "no such key")


def test_coroutine_is_refused_where_a_loop_runs(app):
    """On a loop's own thread nobody could wait for it: the error asks for the missing await."""

    async def later():
        return "later"

    async def on_the_loop():
        with app.test_request_context(), pytest.raises(TypeError, match="without await"):
            app.make_response(later())

    asyncio.run(on_the_loop())


@pytest.mark.parametrize(
    "given",
    [
        {"X-A": "1"},
        {"content-type": "text/csv"},
        {"X-A": "1", "Content-Type": "text/csv", "X-B": "2"},
        {"X-A": "1", "x-a": "2"},
        {"Content-Type": "text/csv", "content-type": "text/plain"},
        {"Location": "/there"},
        {"X-A": 1},
        {"X-A": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
        {"X-A": None},
        {},
    ],
)
@pytest.mark.parametrize("body", ["hello", b"hello", {"a": 1}, [1]])
def test_light_answer_has_the_headers_of_a_whole_response(app, client, given, body):
    """What a view's headers make of a light answer is what they make of a Response, with whatever they hold."""
    app.add_url_rule("/light", "light", lambda: (body, given))
    app.add_url_rule("/whole", "whole", lambda: app.make_response((body, given)))
    app.config["PROPAGATE_EXCEPTIONS"] = False

    light, whole = client.get("/light"), client.get("/whole")

    assert light.status == whole.status
    assert sorted(light.headers) == sorted(whole.headers)
    assert light.data == whole.data
