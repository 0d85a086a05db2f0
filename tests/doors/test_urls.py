"""URLs that are built."""

from __future__ import annotations

import pytest
from werkzeug.routing import Rule, UnicodeConverter

from carboy import url_for


@pytest.fixture
def urls(app, client, coloured):
    """Build a URL inside of a request for /start, and give its text."""

    @app.get("/posts/<int:number>")
    @coloured
    def post(number):
        return "post"

    @app.post("/posts")
    @coloured
    def create():
        return "create"

    def build(endpoint, base_url="http://localhost", **values):
        app.add_url_rule("/start", view_func=coloured(lambda: url_for(endpoint, **values)), endpoint="start")
        return client.get("/start", base_url=base_url)

    return build


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"number": 7}, "/posts/7"),
        ({"number": 7, "page": 2, "q": "ä &"}, "/posts/7?page=2&q=%C3%A4+%26"),
        ({"number": 7, "tag": ["a", "b"]}, "/posts/7?tag=a&tag=b"),
        ({"number": 7, "none": None}, "/posts/7"),
        ({"number": 7, "_anchor": "top ä"}, "/posts/7#top%20%C3%A4"),
        ({"number": 7, "_external": True}, "http://localhost/posts/7"),
        ({"number": 7, "_external": True, "_scheme": "https"}, "https://localhost/posts/7"),
    ],
)
def test_url_is_built(urls, values, url):
    """Variables go into the path, what is left over into the query; anchor, host and scheme as asked for."""
    assert urls("post", **values).text == url


def test_url_knows_the_host_of_the_request(urls):
    """An external URL has the scheme, host and port that the client used."""
    assert urls("post", "https://board.example:8443", number=1, _external=True).text == "https://board.example:8443/posts/1"


def test_url_of_an_unknown_endpoint_is_an_error(app, urls, caplog):
    """A URL that cannot be built is an error that names the endpoint."""
    assert urls("nothing").status_code == 500
    assert "nothing" in str(caplog.records[0].exc_info[1])


def test_build_errors_may_be_handled(app, urls):
    """An app may build what the rules do not know."""
    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/elsewhere/{endpoint}")

    assert urls("nothing").text == "/elsewhere/nothing"




@pytest.mark.parametrize(
    "values",
    [{"id": 7}, {"id": "7"}, {"id": 7, "q": "a b&c"}, {"id": True}, {"id": 7, "tags": ["a", "b"]}, {"id": 7, "none": None}, {"id": 7, "long": "x" * 300}],
)
def test_a_path_built_the_short_way_is_that_of_the_adapter(app, values):
    """What is kept of paths changes nothing: the adapter, once it is there, is asked and says the same."""
    app.add_url_rule("/posts/<int:id>", "post", lambda id: "")

    with app.test_request_context("/below/", base_url="http://localhost/root") as ctx:
        short = [app.url_for("post", **values) for _ in range(2)]
        ctx.url_adapter = ctx.url_adapter
        by_adapter = app.url_for("post", **values)

    assert short == [by_adapter, by_adapter]
    assert by_adapter.startswith("/root/posts/")


def test_a_path_follows_its_rule(app):
    """A rule added later, a converter of one's own, a default: nothing that is kept outlives what it was made of."""

    class Shouting(UnicodeConverter):
        word = "a"

        def to_url(self, value):
            return value.upper() + self.word

    app.url_map.converters["shout"] = Shouting
    app.add_url_rule("/x/<shout:name>", "shout", lambda name: "")
    app.add_url_rule("/y/<name>", "plain", lambda name: "")

    with app.test_request_context("/"):
        first = app.url_for("shout", name="a"), app.url_for("plain", name="a")
        Shouting.word = "b"
        app.url_map.add(Rule("/z/", endpoint="plain", defaults={"name": "a"}))
        second = app.url_for("shout", name="a"), app.url_for("plain", name="a")

    assert first == ("/x/Aa", "/y/a")
    assert second == ("/x/Ab", "/z/")
