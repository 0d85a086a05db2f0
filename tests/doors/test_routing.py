"""Which view a request comes to, and what is answered where there is none."""

from __future__ import annotations

from uuid import UUID

import pytest
from werkzeug.routing import BaseConverter

from carboy import Carboy, request, url_for


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ("/<word>", "/jam", "jam"),
        ("/<string(length=2):word>", "/de", "de"),
        ("/<int:word>", "/007", 7),
        ("/<int(signed=True):word>", "/-7", -7),
        ("/<float:word>", "/1.5", 1.5),
        ("/<path:word>", "/a/b/c", "a/b/c"),
        ("/<any(tea, milk):word>", "/milk", "milk"),
        ("/<uuid:word>", "/12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
    ],
)
def test_variable_of_a_rule_is_converted(app, client, coloured, rule, path, value):
    """Each of the built-in converters gives the view a value of its kind."""
    seen = []

    @app.get(rule)
    @coloured
    def view(word):
        seen.append(word)
        return "ok"

    response = client.get(path)

    assert response.status_code == 200
    assert seen == [value]
    assert type(seen[0]) is type(value)


def test_value_that_the_converter_refuses_is_not_found(app, client, coloured):
    """A path whose part is no number does not match a rule that wants one."""

    @app.get("/<int:number>")
    @coloured
    def view(number):
        return "ok"

    assert client.get("/seven").status_code == 404
    assert client.get("/-7").status_code == 404


def test_own_converter_reads_and_builds(app, client, coloured):
    """A converter of the app's own turns text into a value, and the value into text again."""

    class Words(BaseConverter):
        def to_python(self, value):
            return value.split("+")

        def to_url(self, value):
            return "+".join(value)

    app.url_map.converters["words"] = Words

    @app.get("/<words:words>")
    @coloured
    def view(words):
        return f"{len(words)} {url_for('view', words=words)}"

    assert client.get("/a+b+c").text == "3 /a+b+c"


def test_path_without_a_rule_is_not_found(client):
    """A path that no rule matches is answered with 404 and a page."""
    response = client.get("/nowhere")

    assert response.status_code == 404
    assert response.mimetype == "text/html"
    assert "Not Found" in response.text


def test_method_that_no_rule_takes_is_not_allowed(app, client, coloured):
    """A known path with another method is answered with 405, and Allow names the methods it has."""

    @app.post("/")
    @coloured
    def create():
        return "ok"

    response = client.get("/")

    assert response.status_code == 405
    assert response.allow == {"POST", "OPTIONS"}


def test_head_runs_the_view_of_get_without_its_body(app, client, coloured):
    """HEAD is answered by the view of GET: same status and headers, no body."""
    methods = []

    @app.get("/")
    @coloured
    def index():
        methods.append(request.method)
        return "Hello"

    response = client.head("/")

    assert response.status_code == 200
    assert response.data == b""
    assert response.content_length == 5
    assert methods == ["HEAD"]


def test_options_is_answered_for_the_view(app, client, coloured):
    """OPTIONS of a path is answered with its methods; the view does not run."""

    @app.route("/", methods=["GET", "PUT"])
    @coloured
    def index():
        raise AssertionError("not for OPTIONS")

    response = client.options("/")

    assert response.status_code == 200
    assert response.allow == {"GET", "HEAD", "PUT", "OPTIONS"}
    assert response.data == b""


def test_options_that_a_view_asks_for_are_its_own(app, client, coloured):
    """A view that names OPTIONS among its methods answers it."""

    @app.route("/", methods=["OPTIONS"])
    @coloured
    def index():
        return "mine"

    assert client.options("/").text == "mine"


def test_one_rule_has_a_view_for_each_method(app, client, coloured):
    """Two views of one rule are told apart by the method."""

    @app.get("/")
    @coloured
    def read():
        return "read"

    @app.post("/")
    @coloured
    def write():
        return "write"

    assert client.get("/").text == "read"
    assert client.post("/").text == "write"
    assert client.put("/").allow == {"GET", "HEAD", "POST", "OPTIONS"}


def test_fixed_rule_wins_over_a_variable(app, client, coloured):
    """The more exact rule is taken, whichever was declared first."""

    @app.get("/<name>")
    @coloured
    def anyone(name):
        return "anyone"

    @app.get("/me")
    @coloured
    def me():
        return "me"

    assert client.get("/me").text == "me"
    assert client.get("/you").text == "anyone"


def test_missing_slash_is_redirected(app, client, coloured):
    """A rule that ends with a slash is reached without it by a 308, which keeps the query."""

    @app.get("/posts/")
    @coloured
    def posts():
        return "posts"

    response = client.get("/posts?page=2&q=%C3%A9")

    assert response.status_code == 308
    assert response.location == "http://localhost/posts/?page=2&q=%C3%A9"
    assert client.get("/posts", follow_redirects=True).text == "posts"


def test_superfluous_slash_is_not_found(app, client, coloured):
    """A rule without a slash at its end does not match with one."""

    @app.get("/about")
    @coloured
    def about():
        return "about"

    assert client.get("/about/").status_code == 404


def test_slash_may_be_left_to_the_client(app, client, coloured):
    """With strict_slashes off, a rule answers with and without the slash."""

    @app.get("/posts/", strict_slashes=False)
    @coloured
    def posts():
        return "posts"

    assert client.get("/posts").text == "posts"
    assert client.get("/posts/").text == "posts"


def test_double_slashes_are_merged(app, client, coloured):
    """A path with doubled slashes is redirected to the one without."""

    @app.get("/a/b")
    @coloured
    def view():
        return "ok"

    response = client.get("/a//b")

    assert response.status_code == 308
    assert response.location == "http://localhost/a/b"


def test_rule_may_give_defaults(app, client, coloured):
    """A rule's defaults reach the view, and the longer path that says the same is redirected to it."""

    @app.get("/page/", defaults={"number": 1})
    @app.get("/page/<int:number>")
    @coloured
    def page(number):
        return str(number)

    assert client.get("/page/").text == "1"
    assert client.get("/page/2").text == "2"
    assert client.get("/page/1").status_code == 308
    assert client.get("/page/1").location == "http://localhost/page/"


def test_rule_may_redirect(app, client, coloured):
    """A rule with redirect_to sends the client on and has its variables filled in."""

    @app.get("/new/<int:number>")
    @coloured
    def new(number):
        return f"new {number}"

    app.add_url_rule("/old/<int:number>", endpoint="old", redirect_to="/new/<number>")

    response = client.get("/old/7", follow_redirects=True)

    assert response.text == "new 7"
    assert response.history[0].status_code == 308


def test_encoded_characters_reach_the_view_decoded(app, client, coloured):
    """Percent-escapes and UTF-8 in a path are text by the time the view has them."""

    @app.get("/<name>/end")
    @coloured
    def view(name):
        return name

    assert client.get("/%C3%A9t%C3%A9%20%25/end").text == "été %"


def test_encoded_slash_is_a_slash(app, client, coloured):
    """Servers decode a path before routing, so that %2F separates like a slash, on every door alike."""

    @app.get("/<name>")
    @coloured
    def one(name):
        return f"one {name}"

    @app.get("/<name>/<other>")
    @coloured
    def two(name, other):
        return f"two {name} {other}"

    assert client.get("/a%2Fb").text == "two a b"


def test_query_is_decoded(app, client, coloured):
    """The query gives each value of a name, in order, decoded."""

    @app.get("/")
    @coloured
    def index():
        return {"all": request.args.getlist("a"), "one": request.args.get("b", type=int), "raw": request.query_string.decode()}

    assert client.get("/?a=1&a=%C3%A9+x&b=7").json == {"all": ["1", "é x"], "one": 7, "raw": "a=1&a=%C3%A9+x&b=7"}


def test_subdomain_chooses_the_view(root, make_client, coloured):
    """With subdomain matching, a rule may belong to a subdomain and take its variables from it."""
    app = Carboy("board", root_path=str(root), subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.com"

    @app.get("/")
    @coloured
    def index():
        return "main"

    @app.get("/", subdomain="<tenant>")
    @coloured
    def tenant(tenant):
        return f"tenant {tenant}"

    client = make_client(app)

    assert client.get("/", base_url="http://example.com").text == "main"
    assert client.get("/", base_url="http://acme.example.com").text == "tenant acme"


def test_host_chooses_the_view(root, make_client, coloured):
    """With host matching, a rule belongs to a host."""
    app = Carboy("board", root_path=str(root), host_matching=True, static_host="static.example")

    @app.get("/", host="a.example")
    @coloured
    def a():
        return "a"

    @app.get("/", host="b.example")
    @coloured
    def b():
        return "b"

    client = make_client(app)

    assert client.get("/", base_url="http://a.example").text == "a"
    assert client.get("/", base_url="http://b.example").text == "b"
    assert client.get("/", base_url="http://c.example").status_code == 404


def test_prefix_of_the_server_is_not_part_of_the_path(app, client, coloured, door):
    """Behind a prefix the path is what follows it, and URLs are built with it."""
    if door == "rsgi":
        pytest.skip("RSGI has no root path")

    @app.get("/here")
    @coloured
    def here():
        return {"root": request.script_root, "path": request.path, "url": request.url, "built": url_for("here")}

    response = client.get("/here", base_url="http://localhost/pre/fix")

    assert response.json == {
        "root": "/pre/fix",
        "path": "/here",
        "url": "http://localhost/pre/fix/here",
        "built": "/pre/fix/here",
    }


def test_request_knows_its_rule(app, client, coloured):
    """A view, and the hooks before it, can ask which rule and endpoint were matched, and with what values."""
    seen = []

    @app.before_request
    @coloured
    def note():
        seen.append((request.endpoint, request.url_rule.rule, request.view_args))

    @app.get("/<int:number>", endpoint="the_one")
    @coloured
    def view(number):
        return "ok"

    client.get("/7")

    assert seen == [("the_one", "/<int:number>", {"number": 7})]


def test_unmatched_request_has_no_rule(app, client, coloured):
    """Where nothing matched, the hooks see no rule, and the error that is to come."""
    seen = []

    @app.before_request
    @coloured
    def note():
        seen.append((request.endpoint, request.url_rule, request.view_args, type(request.routing_exception).__name__))

    client.get("/nowhere")

    assert seen == [(None, None, None, "NotFound")]
