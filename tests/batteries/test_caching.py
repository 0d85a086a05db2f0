"""Cache-Control by route, tags for a CDN, 304 for what has not changed. Every door, both colours."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import pytest

import carboy
from carboy.batteries.caching import Caching, add_surrogate_keys, cache_control, cdn_cache_control, etag, surrogate_key
from carboy.batteries.compress import Compression
from carboy.wire.response import Answer

RETURNS: dict[str, Any] = {
    "text": lambda: "x",
    "mapping": lambda: {"a": 1},
    "list": lambda: [1],
    "bytes": lambda: b"x",
    "status": lambda: ("x", 201),
    "headers": lambda: ("x", {"X-Own": "1"}),
    "pairs": lambda: ("x", [("X-Own", "1")]),
    "all": lambda: ("x", "202 ACCEPTED", {"X-Own": "1"}),
    "response": lambda: carboy.Response("x"),
    "response in a tuple": lambda: (carboy.Response("x"), 203),
    "answer": lambda: Answer(200, [("Content-Type", "text/plain")], b"x"),
    "redirect": lambda: carboy.redirect("/"),
    "stream": lambda: (piece for piece in ("x", "y")),
}


@pytest.mark.parametrize("name", RETURNS)
def test_whatever_a_view_returns_says_how_long_it_is_fresh(client: Any, app: Any, coloured: Any, name: str) -> None:
    """The header is added, and nothing else is changed."""
    plain = coloured(RETURNS[name])
    app.add_url_rule("/plain", view_func=plain, endpoint="plain")
    app.add_url_rule("/", view_func=cache_control(public=True, max_age=60, stale_while_revalidate=600)(plain), endpoint="view")

    expected, response = client.get("/plain"), client.get("/")

    assert response.headers["Cache-Control"] == "public, max-age=60, stale-while-revalidate=600"
    assert (response.status, response.data) == (expected.status, expected.data)
    assert {pair for pair in response.headers if pair[0].lower() != "cache-control"} == set(expected.headers)


@pytest.mark.parametrize(
    "view",
    [
        lambda: ("x", 404),
        lambda: ("x", "503 SERVICE UNAVAILABLE", {}),
        lambda: carboy.Response("x", 500),
        lambda: Answer(404, [], b"x"),
        lambda: carboy.abort(404),
        lambda: (carboy.Response("x"), 404),
    ],
)
def test_errors_are_not_kept(client: Any, app: Any, coloured: Any, view: Any) -> None:
    """A cache would go on giving them out."""
    app.add_url_rule("/", view_func=cache_control(public=True, max_age=60)(coloured(view)), endpoint="view")

    response = client.get("/")

    assert response.status_code >= 400
    assert "Cache-Control" not in response.headers


@pytest.mark.parametrize(
    "view",
    [
        lambda: ("x", {"Cache-Control": "no-store"}),
        lambda: carboy.Response("x", headers={"cache-control": "no-store"}),
        lambda: (carboy.Response("x"), {"cache-control": "no-store"}),
        lambda: Answer(200, [("cache-control", "no-store")], b"x"),
    ],
)
def test_view_knows_better(client: Any, app: Any, coloured: Any, view: Any) -> None:
    """What an answer says itself is left."""
    app.add_url_rule("/", view_func=cache_control(public=True, max_age=60)(coloured(view)), endpoint="view")

    assert client.get("/").headers.getlist("Cache-Control") == ["no-store"]


def test_decorated_view_keeps_colour_and_signature(coloured: Any, colour: str) -> None:
    """So its plan is the one it would have, and its parameters are found."""

    @cache_control(max_age=1)
    @surrogate_key("a")
    @coloured
    def view(id: int, *, page: str = "1") -> str:
        return ""

    assert inspect.iscoroutinefunction(view) is (colour == "async")
    assert str(inspect.signature(view)) == "(id: 'int', *, page: 'str' = '1') -> 'str'"
    assert view.__name__ == "view"


def test_view_of_a_blueprint_keeps_its_parameters(client: Any, app: Any, coloured: Any) -> None:
    """Those of the URL, and those filled by type."""
    pages = carboy.Blueprint("pages", __name__, url_prefix="/pages")

    @pages.get("/<int:id>")
    @cache_control(private=True, max_age=timedelta(minutes=1))
    @coloured
    def page(id: int, request: carboy.Request) -> str:
        return f"{id} {request.method}"

    app.register_blueprint(pages)

    response = client.get("/pages/7")

    assert (response.text, response.headers["Cache-Control"]) == ("7 GET", "private, max-age=60")


def test_view_that_returns_nothing_is_told_so(client: Any, app: Any) -> None:
    """As without the decorator."""
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = None
    app.add_url_rule("/", view_func=cache_control(no_store=True)(lambda: None), endpoint="view")

    with pytest.raises(TypeError, match="did not return a valid response"):
        client.get("/")


@pytest.mark.parametrize(
    "options", [{}, {"public": True, "private": True}, {"no_store": True, "max_age": 1}, {"max_age": -1}], ids=str
)
def test_contradictions_are_refused_where_they_are_written(options: Any) -> None:
    """At import, not in a cache."""
    with pytest.raises(ValueError, match=r"\w"):
        cache_control(**options)


# -- CDN ------------------------------------------------------------------------------------------


def test_cdn_is_told_apart_from_browsers(client: Any, app: Any, coloured: Any) -> None:
    """Three decorators on one view; tags are filled from its arguments, without spaces."""

    @app.get("/posts/<name>")
    @cdn_cache_control(max_age=timedelta(days=1), stale_if_error=60)
    @cache_control(no_cache=True)
    @surrogate_key("posts", "post-{name}")
    @coloured
    def post(name: str) -> str:
        return name

    headers = client.get("/posts/a b").headers

    assert headers["CDN-Cache-Control"] == "max-age=86400, stale-if-error=60"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["Surrogate-Key"] == "posts post-a%20b"


def test_tags_of_view_and_decorator_add_up(client: Any, app: Any) -> None:
    """Each once."""

    @app.get("/")
    @surrogate_key("feed")
    def feed() -> Any:
        response = carboy.Response("x")
        add_surrogate_keys(response, "post-1", "post-2")
        add_surrogate_keys(response, "post-2", "post 3")
        return response

    assert client.get("/").headers["Surrogate-Key"] == "post-1 post-2 post%203 feed"


def test_tag_with_a_space_is_refused() -> None:
    """It would be two."""
    with pytest.raises(ValueError, match="without spaces"):
        surrogate_key("a b")


# -- validators -----------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True], ids=["light", "response"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_unchanged_content_is_not_sent_again(client: Any, app: Any, coloured: Any, whole: bool, method: str) -> None:
    """200 with a tag, then 304 without content but with what caches need, then 200 for what has changed."""
    app.fit(Caching())
    content = ["one"]

    @app.get("/")
    @cache_control(max_age=60)
    @etag
    @coloured
    def view() -> Any:
        return carboy.Response(content[0]) if whole else Answer(200, [("Content-Type", "text/plain")], content[0].encode())

    first = client.open("/", method=method)
    second = client.open("/", method=method, headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
    content[0] = "two"
    third = client.open("/", method=method, headers={"If-None-Match": first.headers["ETag"]})

    assert first.status_code == 200
    assert second.status_code == 304
    assert second.data == b""
    assert second.headers["ETag"] == first.headers["ETag"]
    assert second.headers["Cache-Control"] == "max-age=60"
    assert "Content-Type" not in second.headers
    assert third.status_code == 200
    assert third.headers["ETag"] != first.headers["ETag"]


def test_validators_of_the_view_are_used(client: Any, app: Any, coloured: Any) -> None:
    """A version that the view knows, a date, both in its headers; no decorator needed."""
    app.fit(Caching())
    app.add_url_rule("/tag", view_func=coloured(lambda: ("x", {"ETag": '"v7"'})), endpoint="tag")
    date = "Mon, 02 Nov 2026 10:00:00 GMT"
    app.add_url_rule("/date", view_func=coloured(lambda: ("x", {"Last-Modified": date})), endpoint="date")

    assert client.get("/tag", headers={"If-None-Match": '"v7"'}).status_code == 304
    assert client.get("/tag", headers={"If-None-Match": '"v6"'}).status_code == 200
    assert client.get("/tag", headers={"If-Match": '"v6"'}).status_code == 412
    assert client.get("/date", headers={"If-Modified-Since": date}).status_code == 304
    assert client.get("/date", headers={"If-Modified-Since": "Mon, 02 Nov 2026 09:00:00 GMT"}).status_code == 200


def test_without_the_decorator_or_setting_no_tag_is_made(client: Any, app: Any) -> None:
    """A hash is work; who wants it says so."""
    app.fit(Caching())
    app.add_url_rule("/", view_func=lambda: "x", endpoint="view")

    assert "ETag" not in client.get("/").headers


def test_setting_gives_every_page_a_tag(client: Any, app: Any) -> None:
    """But streams, errors, writes, and what nobody may keep."""
    app.config["HTTP_CACHE_ETAGS"] = True
    app.fit(Caching())
    app.add_url_rule("/", view_func=lambda: "x", methods=["GET", "POST"], endpoint="view")
    app.add_url_rule("/stream", view_func=lambda: (piece for piece in "xy"), endpoint="stream")
    app.add_url_rule("/error", view_func=lambda: ("x", 404), endpoint="error")
    app.add_url_rule("/secret", view_func=lambda: ("x", {"Cache-Control": "no-store"}), endpoint="secret")

    assert client.get("/").headers["ETag"].startswith('W/"')
    for method, path in (("POST", "/"), ("GET", "/stream"), ("GET", "/error"), ("GET", "/secret")):
        assert "ETag" not in client.open(path, method=method).headers


@pytest.mark.parametrize("order", [(Caching, Compression), (Compression, Caching)], ids=["caching first", "compression first"])
def test_tag_is_of_the_content_whatever_its_coding(client: Any, app: Any, coloured: Any, order: Any) -> None:
    """Fitted in either order: a page fetched with one coding is unchanged for a client that takes another."""
    for battery in order:
        app.fit(battery())
    app.add_url_rule("/", view_func=etag(coloured(lambda: "words " * 500)), endpoint="view")

    tags = {client.get("/", headers={"Accept-Encoding": coding}).headers["ETag"] for coding in ("br", "gzip", "identity")}
    again = client.get("/", headers={"Accept-Encoding": "zstd", "If-None-Match": next(iter(tags))})

    assert len(tags) == 1
    assert again.status_code == 304
    assert again.headers["Vary"] == "Accept-Encoding"
