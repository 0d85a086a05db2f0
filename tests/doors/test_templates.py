"""Templates: what they know, where they are found, and how they are streamed."""

from __future__ import annotations

from carboy import (
    Blueprint,
    g,
    render_template,
    render_template_string,
    session,
    stream_template,
    stream_template_string,
)


def test_template_is_rendered(app, client, coloured, root):
    """A template gets what the view gives it; HTML is escaped."""
    (root / "templates" / "page.html").write_text("{% for item in items %}<li>{{ item }}</li>{% endfor %}")

    @app.get("/")
    @coloured
    def index():
        return render_template("page.html", items=["a", "<b>"])

    assert client.get("/").text == "<li>a</li><li>&lt;b&gt;</li>"


def test_only_markup_is_escaped(app, client, coloured, root):
    """A text template is not escaped; a template from a string is."""
    (root / "templates" / "mail.txt").write_text("{{ value }}")

    @app.get("/text")
    @coloured
    def text():
        return render_template("mail.txt", value="<&>")

    @app.get("/string")
    @coloured
    def string():
        return render_template_string("{{ value }}", value="<&>")

    assert client.get("/text").text == "<&>"
    assert client.get("/string").text == "&lt;&amp;&gt;"


def test_templates_inherit(app, client, coloured, root):
    """Templates extend, include and import each other."""
    (root / "templates" / "base.html").write_text("[{% block body %}{% endblock %}]")
    (root / "templates" / "macros.html").write_text("{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}")
    (root / "templates" / "foot.html").write_text("foot")
    (root / "templates" / "page.html").write_text(
        '{% extends "base.html" %}{% from "macros.html" import bold %}'
        '{% block body %}{{ bold("x") }}{% include "foot.html" %}{% endblock %}'
    )

    @app.get("/")
    @coloured
    def index():
        return render_template("page.html")

    assert client.get("/").text == "[<b>x</b>foot]"


def test_template_knows_the_request(app, client, coloured):
    """Request, session, g, config, url_for and flashed messages are there in every template."""

    @app.get("/here")
    @coloured
    def index():
        g.word = "g"
        session["word"] = "session"
        return render_template_string(
            "{{ request.path }} {{ session.word }} {{ g.word }} {{ config.DEBUG }}"
            " {{ url_for('index') }} {{ get_flashed_messages()|length }}"
        )

    assert client.get("/here").text == "/here session g False /here 0"


def test_context_processors_add_to_templates(app, client, coloured):
    """Context processors give templates more to know; what the view says wins; a blueprint's are for its own views."""
    shop = Blueprint("shop", __name__)
    app.context_processor(coloured(lambda: {"a": "app", "b": "app"}))
    shop.context_processor(coloured(lambda: {"c": "shop"}))

    @shop.get("/shop")
    @coloured
    def inside():
        return render_template_string("{{ a }} {{ b }} {{ c }}", b="view")

    @app.get("/")
    @coloured
    def outside():
        return render_template_string("{{ a }} {{ b }} {{ c }}")

    app.register_blueprint(shop)

    assert client.get("/shop").text == "app view shop"
    assert client.get("/").text == "app app "


def test_filters_tests_and_globals_are_registered(app, client, coloured):
    """An app may add filters, tests and globals to its templates."""
    app.template_filter("shout")(lambda text: text.upper())
    app.template_test("short")(lambda text: len(text) < 3)
    app.template_global("twice")(lambda text: text * 2)

    @app.get("/")
    @coloured
    def index():
        return render_template_string("{{ 'a'|shout }} {{ 'ab' is short }} {{ twice('ab') }}")

    assert client.get("/").text == "A True abab"


def test_app_overrides_a_blueprints_templates(app, client, coloured, root):
    """A template of the app hides one of the same name in a blueprint."""
    folder = root / "shop"
    folder.mkdir()
    for name in ("mine.html", "both.html"):
        (folder / name).write_text("shop")
    (root / "templates" / "both.html").write_text("app")
    shop = Blueprint("shop", __name__, template_folder=str(folder))

    @shop.get("/<name>")
    @coloured
    def show(name):
        return render_template(name)

    app.register_blueprint(shop)

    assert client.get("/mine.html").text == "shop"
    assert client.get("/both.html").text == "app"


def test_first_template_that_exists_is_taken(app, client, coloured, root):
    """Of several names, the first template that is there is rendered."""
    (root / "templates" / "default.html").write_text("default")

    @app.get("/")
    @coloured
    def index():
        return render_template(["special.html", "default.html"])

    assert client.get("/").text == "default"


def test_missing_template_is_an_error_that_names_it(app, client, coloured, caplog):
    """A template that is nowhere is an error, in the log by name, and 500 for the client."""

    @app.get("/")
    @coloured
    def index():
        return render_template("nowhere.html")

    assert client.get("/").status_code == 500
    assert "nowhere.html" in str(caplog.records[0].exc_info[1])


def test_template_is_streamed(app, client, coloured, root):
    """A template may be streamed as it is rendered, with the request at hand."""
    (root / "templates" / "long.html").write_text("{{ request.path }}{% for n in range(3) %} {{ n }}{% endfor %}")

    @app.get("/file")
    @coloured
    def file():
        return stream_template("long.html")

    @app.get("/string")
    @coloured
    def string():
        return stream_template_string("{{ request.path }} {{ word }}", word="x")

    assert client.get("/file").text == "/file 0 1 2"
    assert client.get("/string").text == "/string x"
