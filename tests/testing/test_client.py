"""The test client: what it adds to Werkzeug's, through every door."""

from __future__ import annotations

from importlib.metadata import version

import click
import pytest
from werkzeug.test import Client as PlainClient
from werkzeug.wrappers import Request as PlainRequest

from carboy import Carboy, appcontext_popped, g, has_request_context, jsonify, redirect, request, session
from carboy.core.commands import ScriptInfo
from carboy.testing.client import Client, EnvironBuilder
from carboy.testing.runner import CliRunner


@pytest.fixture
def echo(app):
    """Views which say what they were asked."""

    @app.route("/url", methods=["GET", "POST"])
    def url():
        return request.url

    @app.get("/who")
    def who():
        return f"{request.remote_addr} {request.user_agent.string}"

    @app.post("/json")
    def as_json():
        return jsonify(request.get_json())


def test_client_is_werkzeugs(app, client):
    """The client is a Werkzeug client of the app, which answers with the app's own response class."""
    response = client.get("/")

    assert isinstance(client, PlainClient)
    assert client.application is app
    assert isinstance(response, app.response_class)


def test_request_has_the_defaults_of_the_config(app, client, echo, door):
    """SERVER_NAME, APPLICATION_ROOT and PREFERRED_URL_SCHEME say where a request without a base URL goes."""
    app.config.update(SERVER_NAME="board.example:1234", PREFERRED_URL_SCHEME="https")
    if door != "rsgi":  # it has no root path
        app.config["APPLICATION_ROOT"] = "/root"

    root = app.config["APPLICATION_ROOT"].rstrip("/")
    assert client.get("/url").text == f"https://board.example:1234{root}/url"


@pytest.mark.parametrize(
    ("kwargs", "url"),
    [
        ({"path": "/url"}, "http://localhost/url"),
        ({"path": "/url", "url_scheme": "https"}, "https://localhost/url"),
        ({"path": "/url", "base_url": "https://other:8080/"}, "https://other:8080/url"),
        ({"path": "https://whole.example/url?x=1"}, "https://whole.example/url?x=1"),
        ({"path": "/url?x=1"}, "http://localhost/url?x=1"),
        ({"path": "/url", "query_string": {"x": "1"}}, "http://localhost/url?x=1"),
    ],
)
def test_request_goes_where_it_is_told(client, echo, kwargs, url):
    """Path, scheme, base URL, or a whole URL in place of the path, decide where a request goes."""
    assert client.get(**kwargs).text == url


def test_client_has_an_address_and_an_agent(client, echo):
    """Requests come from 127.0.0.1 and Werkzeug, or from whoever environ_base says."""
    assert client.get("/who").text == f"127.0.0.1 Werkzeug/{version('werkzeug')}"
    client.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    client.environ_base["HTTP_USER_AGENT"] = "Board"
    assert client.get("/who").text == "192.0.2.1 Board"


def test_request_may_be_ready_made(app, client, echo):
    """A builder, an environ or a request may be opened as it is; the client's defaults fill its gaps."""
    builder = EnvironBuilder(app, "/who")
    client.environ_base["REMOTE_ADDR"] = "192.0.2.1"

    for ready in (builder, builder.get_environ(), PlainRequest(builder.get_environ())):
        assert client.open(ready).text.startswith("192.0.2.1 ")


def test_json_is_the_apps(app, client, echo):
    """JSON of requests is written, and of responses read, by the app's own provider."""
    seen = []

    class Provider(type(app.json)):
        def dumps(self, obj, **kwargs):
            seen.append("dumps")
            return super().dumps(obj, **kwargs)

        def loads(self, s, **kwargs):
            seen.append("loads")
            return super().loads(s, **kwargs)

    app.json = Provider(app)
    response = client.post("/json", json={"a": [1]})
    seen.clear()

    assert response.json == {"a": [1]}
    assert seen == ["loads"]
    assert EnvironBuilder(app, json={"a": 1}).input_stream.read() == b'{"a":1}'.replace(b":", b": ")


def test_builder_refuses_what_contradicts_itself(app, door):
    """A base URL has a scheme and a host: no others may be given beside it."""
    with pytest.raises(AssertionError, match="base_url"):
        EnvironBuilder(app, base_url="http://a", subdomain="b")


def test_session_needs_cookies_and_a_key(app, client, make_client):
    """Opening the session is refused where it could not be kept, and says why."""
    with pytest.raises(TypeError, match="Cookies are disabled"), make_client(app, use_cookies=False).session_transaction():
        pass
    app.secret_key = None
    with pytest.raises(RuntimeError, match="did not open a session"), client.session_transaction():
        pass


def test_session_transaction_leaves_the_callers_context(app, client):
    """In the block, the request of the caller is the current one."""
    with app.test_request_context("/mine"):
        with client.session_transaction() as opened:
            assert request.path == "/mine"
            opened["word"] = "kept"
        assert request.path == "/mine"

    with client.session_transaction() as opened:
        assert opened["word"] == "kept"


def test_kept_contexts_end_with_the_block(app, client):
    """In a with block the context of the last request is current; each ends once, and none is left."""
    popped = []

    @app.get("/<word>")
    def index(word):
        g.word = word
        session["word"] = word
        return redirect("/b") if word == "a" else "ok"

    with appcontext_popped.connected_to(lambda sender, **_: popped.append(sender), app), client:
        client.get("/a", follow_redirects=True)
        assert (request.path, g.word, session["word"]) == ("/b", "b", "b")
        client.get("/c")
        assert (request.path, g.word) == ("/c", "c")

    assert not has_request_context()
    assert len(popped) >= 3


def test_kept_context_shows_a_failed_request(app, client):
    """A request that failed is kept as well, with what its view had left."""

    @app.get("/")
    def index():
        g.word = "before"
        raise ZeroDivisionError

    with client:
        assert client.get("/").status_code == 500
        assert g.word == "before"


def test_client_does_not_nest(client):
    """A with block of a client inside its own is refused."""
    with client, pytest.raises(RuntimeError, match="nest"), client:
        pass


def test_client_class_of_the_app_is_used(app, door):
    """An app may have a client class of its own, which is given what test_client is given."""

    class Mine(Client):
        def __init__(self, *args, **kwargs):
            self.word = kwargs.pop("word")
            super().__init__(*args, **kwargs)

    app.test_client_class = Mine
    client = app.test_client(word="mine", door=door)

    assert (client.word, client.door) == ("mine", door)
    assert client.get("/").status_code == 404


def test_subclass_may_change_the_arguments(app, door):
    """A client may override how a request is built from its arguments."""

    class Versioned(Client):
        def _request_from_builder_args(self, args, kwargs):
            kwargs.setdefault("headers", {})["X-Version"] = "2"
            return super()._request_from_builder_args(args, kwargs)

    app.add_url_rule("/", view_func=lambda: request.headers["X-Version"], endpoint="index")
    app.test_client_class = Versioned

    assert app.test_client(door=door).get("/").text == "2"


@pytest.fixture
def hello(app):
    """A command of the app."""

    @app.cli.command("hello")
    @click.option("--name", default="World")
    def command(name):
        click.echo(f"Hello, {name}!")

    return command


def test_runner_invokes_commands_of_the_app(app, hello):
    """A command is invoked by its name, or as an object, with its arguments."""
    runner = app.test_cli_runner()

    assert isinstance(runner, CliRunner)
    assert runner.invoke(args=["hello"]).output == "Hello, World!\n"
    assert runner.invoke(args="hello --name Board").output == "Hello, Board!\n"
    assert runner.invoke(hello, ["--name", "You"]).output == "Hello, You!\n"


def test_runner_takes_another_script_info(app, hello):
    """The object that commands get may be given, for instance to see the app made."""
    made = []

    def create_app():
        made.append(True)
        return app

    assert app.test_cli_runner().invoke(hello, obj=ScriptInfo(create_app=create_app)).exit_code == 0
    assert made == [True]


def test_runner_class_of_the_app_is_used(app):
    """An app may have a runner class of its own."""

    class Mine(CliRunner):
        pass

    app.test_cli_runner_class = Mine

    assert isinstance(app.test_cli_runner(), Mine)


def test_two_apps_do_not_share_their_contexts(root, make_client):
    """Requests of two apps, one from inside the other, each keep to their own."""
    inner, outer = Carboy("inner", root_path=str(root)), Carboy("outer", root_path=str(root))
    inner.add_url_rule("/", view_func=lambda: f"{request.path}{g.get('word')}", endpoint="index")

    @outer.get("/out")
    def out():
        g.word = "outer"
        return f"{make_client(inner).get('/').text} {request.path} {g.word}"

    assert make_client(outer).get("/out").text == "/None /out outer"
