"""Templates: whose they are, what they see, when signals are sent, and what a missing one says."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import DictLoader, TemplateNotFound, TemplatesNotFound, pass_context, pass_environment
from markupsafe import Markup

from carboy.app import Carboy
from carboy.core.blueprint import Blueprint
from carboy.core.ctx import app_var, request_var
from carboy.pipeline.signals import before_render_template, template_rendered
from carboy.standard import templating


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "templates/page.html": "<p>{{ value }}",
        "templates/mail.txt": "Hi {{ value }}",
        "templates/both.html": "app's",
        "templates/macros.html": "{% macro hello(who) %}Hello {{ who }}{% endmacro %}{% macro path() %}{{ request.path }}{% endmacro %}",
        "templates/uses.html": "{% from 'macros.html' import path %}{{ path() }}",
        "templates/optional.html": "[{% include 'nowhere.html' ignore missing %}]",
        "shop/both.html": "shop's",
        "shop/cart/list.html": "cart of {{ owner }}",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def app(root: Path) -> Carboy:
    app = Carboy("shopping", root_path=str(root))
    app.secret_key = "key"
    shop = Blueprint("shop", "shopping.shop", root_path=str(root), template_folder="shop")

    @shop.get("/cart")
    def cart():
        return render("cart/list.html")

    shop.context_processor(lambda: {"owner": "me"})
    app.register_blueprint(shop)
    return app


def render(name: Any, /, **values: Any) -> str:
    return templating.render(app_var.get(), name, values)


def render_string(source: str, /, **values: Any) -> str:
    return templating.render_string(app_var.get(), source, values)


@contextmanager
def received(app: Any, signal: Any) -> Iterator[list[tuple[str | None, dict[str, Any]]]]:
    seen: list[tuple[str | None, dict[str, Any]]] = []

    def receive(sender: Any, template: Any, context: dict[str, Any], **extra: Any) -> None:
        seen.append((template.name, context))

    with signal.connected_to(receive, app):
        yield seen


# ── the environment ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["a.html", "a.htm", "a.xml", "a.xhtml", "a.svg", None])
def test_markup_is_escaped(name):
    """HTML, XML, SVG and strings are escaped."""
    assert templating.select_autoescape(name)


@pytest.mark.parametrize("name", ["a.txt", "a", "html", "a.html.txt"])
def test_other_files_are_not_escaped(name):
    """Mail and plain text keep what they are given."""
    assert not templating.select_autoescape(name)


def test_values_are_escaped_by_the_templates_name(app):
    """The same value in a page and in a mail."""
    with app.app_context():
        assert render("page.html", value="<b>") == "<p>&lt;b&gt;"
        assert render("page.html", value=Markup("<b>")) == "<p><b>"
        assert render("mail.txt", value="<b>") == "Hi <b>"
        assert render_string("{{ value }}", value="<b>") == "&lt;b&gt;"


@pytest.mark.parametrize(
    ("debug", "setting", "expected"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_templates_are_reloaded_in_debug_or_as_told(app, root, debug, setting, expected):
    """TEMPLATES_AUTO_RELOAD outranks debug, and an edit is seen where it is on."""
    app.config.update(DEBUG=debug, TEMPLATES_AUTO_RELOAD=setting)
    with app.app_context():
        before = render("page.html", value=1)
        (root / "templates/page.html").write_text("edited")
        after = render("page.html", value=1)

    assert app.jinja_env.auto_reload is expected
    assert (after == "edited") is expected
    assert before == "<p>1"


def test_options_of_the_app_reach_jinja(root):
    """jinja_options are Jinja's own, and outrank what the framework would choose."""

    class Tight(Carboy):
        jinja_options = {"trim_blocks": True, "autoescape": False, "auto_reload": True}  # noqa: RUF012  # Flask's shape

    app = Tight("tight", root_path=str(root))

    assert (app.jinja_env.trim_blocks, app.jinja_env.autoescape, app.jinja_env.auto_reload) == (True, False, True)
    assert app.jinja_env.is_async is False


def test_tojson_is_the_apps_json(app):
    """The filter knows what the app's provider knows."""
    app.json.dumps = lambda value, **options: '"own"'  # type: ignore[method-assign]

    with app.app_context():
        assert render_string("{{ 1|tojson }}") == '"own"'


def test_an_environment_may_be_replaced(root):
    """jinja_environment is a class that a subclass of the app may name; create_global_jinja_loader gives the loader."""

    class Own(templating.Environment):
        pass

    class App(Carboy):
        jinja_environment = Own

        def create_global_jinja_loader(self):
            return DictLoader({"index.html": "from a dict"})

    app = App("own", root_path=str(root))

    assert type(app.jinja_env) is Own
    with app.app_context():
        assert render("index.html") == "from a dict"
        with pytest.raises(TemplateNotFound) as caught:
            render("other.html")
    assert str(caught.value) == "other.html"


# ── loaders ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_app_wins_over_its_blueprints(app):
    """A blueprint's template can be overridden by the app, and is found where it is not."""
    with app.app_context():
        assert render("both.html") == "app's"
        assert render("cart/list.html") == "cart of "


def test_all_templates_are_listed(app):
    """Names of the app and the blueprints, each once."""
    names = app.jinja_env.list_templates()

    assert "cart/list.html" in names
    assert names.count("both.html") == 1


def test_the_first_template_there_is_gets_rendered(app):
    """A list is a wish list; a template object is taken as it is."""
    with app.app_context():
        assert render(["none.html", "page.html"], value=2) == "<p>2"
        assert render(app.jinja_env.get_template("page.html"), value=3) == "<p>3"


def test_a_missing_template_says_where_it_was_looked_for(app, root):
    """Jinja's class and name, and a text with the places and the nearest name."""
    with app.app_context(), pytest.raises(TemplateNotFound) as caught:
        render("pagee.html")
    error = caught.value

    assert (error.name, error.templates, error.args) == ("pagee.html", ["pagee.html"], ("pagee.html",))
    assert str(error) == error.message
    assert str(error).splitlines() == [
        "pagee.html",
        "It was looked for in:",
        f"  application 'shopping': {root}/templates",
        f"  blueprint 'shop' (shopping.shop): {root}/shop",
        "Did you mean 'page.html'?",
    ]


def test_a_missing_folder_is_named_in_the_error(root):
    """The most common reason: the folder is elsewhere."""
    app = Carboy("lost", root_path=str(root), template_folder="tempaltes")

    with app.app_context(), pytest.raises(TemplateNotFound, match=r"tempaltes \(there is no such folder\)"):
        render("page.html")


def test_a_template_in_another_folder_is_suggested(app):
    """The same file name under a folder comes nearer than any spelling."""
    with app.app_context(), pytest.raises(TemplateNotFound, match=r"Did you mean 'cart/list.html'\?"):
        render("list.html")


def test_missing_templates_say_the_same(app):
    """A list of names of which none exists."""
    with app.app_context(), pytest.raises(TemplatesNotFound) as caught:
        render(["pagee.html", "zzz"])

    assert caught.value.templates == ["pagee.html", "zzz"]
    assert str(caught.value).startswith("none of the templates given were found: pagee.html, zzz\nThey were")
    assert "Did you mean 'page.html'?" in str(caught.value)


def test_nobody_lists_folders_for_a_text_that_is_not_read(app, monkeypatch):
    """`ignore missing` costs no more than in Jinja."""
    monkeypatch.setattr(templating.DispatchingJinjaLoader, "describe_search", lambda *_: pytest.fail("listed"))

    with app.app_context():
        assert render("optional.html") == "[]"


def test_template_loading_is_explained_on_demand(app, root, caplog):
    """EXPLAIN_TEMPLATE_LOADING logs each loader's answer, once a lookup."""
    app.config["EXPLAIN_TEMPLATE_LOADING"] = True
    app.logger.propagate = True
    app.logger.handlers.clear()
    caplog.set_level(logging.INFO, "shopping")

    with app.test_request_context("/cart"):
        assert render("both.html") == "app's"
        with pytest.raises(TemplateNotFound):
            render("missing.html")

    first, second = (record.getMessage() for record in caplog.records)
    assert "1: trying loader of application 'shopping'" in first
    assert "2: trying loader of blueprint 'shop' (shopping.shop)" in first
    assert f"-> found ('{root}/templates/both.html')" in first
    assert "Warning: several loaders" in first
    assert second.count("-> no match") == 2
    assert "Error: the template could not be found" in second
    assert "belongs to the blueprint 'shop'" in second


def test_cleared_templates_are_loaded_anew(app, root):
    """Whoever clears Jinja's cache, or replaces its loader, sees the change in the next render."""
    with app.app_context():
        assert render("page.html", value=1) == render("page.html", value=1) == "<p>1"
        (root / "templates/page.html").write_text("new")
        assert render("page.html", value=1) == "<p>1"
        app.jinja_env.cache.clear()
        assert render("page.html") == "new"
        app.jinja_env.loader = DictLoader({"page.html": "replaced"})
        assert render("page.html") == "replaced"


# ── what templates see ──────────────────────────────────────────────────────────────────────────────────────


def test_templates_see_the_request_and_its_surroundings(app):
    """request, session, g, config, url_for and flashed messages, as in Flask."""
    with app.test_request_context("/cart?page=2") as ctx:
        ctx.g.user = "me"
        ctx.session["n"] = 7
        ctx.session["_flashes"] = [("message", "hello")]
        text = render_string(
            "{{ request.args.page }} {{ g.user }} {{ session.n }} {{ config.SECRET_KEY }}"
            " {{ url_for('shop.cart') }} {{ get_flashed_messages() }}"
        )

    assert text == "2 me 7 key /cart [&#39;hello&#39;]"


def test_imported_macros_see_the_request(app):
    """A template imported without context has the globals."""
    with app.test_request_context("/cart"):
        assert render("uses.html") == "/cart"
    with app.app_context(), pytest.raises(RuntimeError, match="outside of request context"):
        render("uses.html")


def test_a_render_does_not_open_the_session(app, monkeypatch):
    """Only a template that reads the session costs its opening."""
    opened = []

    class Session(dict[str, Any]):
        accessed = False

    monkeypatch.setattr(app, "open_session", lambda request: opened.append(request) or Session())

    with app.test_request_context("/cart"):
        opened.clear()
        request_var.get()._session = None
        render("page.html", value=1)
        assert opened == []
        render_string("{{ session }}")
        assert len(opened) == 1


def test_processors_add_and_the_view_wins(app):
    """Context processors of the app and the request's blueprint; a value that is given stays."""
    app.context_processor(lambda: {"value": "processor", "owner": "app", "g": "changed"})

    with app.app_context():
        assert render_string("{{ value }} {{ owner }}") == "processor app"
        assert render_string("{{ value }} {{ g }}", value="view") == "view changed"
    with app.test_request_context("/cart"):
        assert render_string("{{ value }} {{ owner }}") == "processor me"
        assert render_string("{{ owner }} {{ request }}", owner="view", request="mine") == "view mine"
    assert app.test_client().get("/cart").text == "cart of me"


def test_processors_may_be_async(app):
    """An async context processor gives its values to a sync render."""

    @app.context_processor
    async def later():
        return {"value": "async"}

    with app.app_context():
        assert render_string("{{ value }}") == "async"


def test_a_render_leaves_the_registries_as_they_are(app):
    """Looking for processors adds no empty lists."""
    before = dict(app.template_context_processors)

    with app.test_request_context("/cart"):
        render("page.html")

    assert dict(app.template_context_processors) == before


def test_update_template_context_may_be_replaced(app, monkeypatch):
    """The app's method is the one that is called."""
    monkeypatch.setattr(app, "update_template_context", lambda context: context.update(value="replaced"))

    with app.app_context():
        assert render("page.html", value=1) == "<p>replaced"


def test_macros_are_had_in_python(app):
    """What a template exports is an attribute."""
    with app.app_context():
        assert templating.get_attribute(app, "macros.html", "hello")("you") == "Hello you"


# ── signals and streams ─────────────────────────────────────────────────────────────────────────────────────


def test_receivers_see_the_template_and_its_values(app):
    """Both signals, with the values that the template had; request and g among them."""
    with (
        received(app, before_render_template) as before,
        received(app, template_rendered) as after,
        app.test_request_context("/cart"),
    ):
        render("page.html", value=1)

    assert [name for name, _ in before] == [name for name, _ in after] == ["page.html"]
    assert {"value", "request", "g"} <= after[0][1].keys()
    assert before[0][1] is after[0][1]


def test_a_stream_comes_piece_by_piece(app):
    """The first piece is there before the last is made; the signal comes at the end."""
    made = []

    def items():
        for number in range(3):
            made.append(number)
            yield number

    with received(app, template_rendered) as after, app.test_request_context("/cart"):
        pieces = templating.stream_string(app_var.get(), "{% for n in items %}{{ n }}{% endfor %}", {"items": items()})
        assert next(pieces) == "0"
        assert len(made) < 3
        assert after == []
        assert list(pieces) == ["1", "2"]
        assert len(after) == 1


def test_a_stream_keeps_the_request_until_its_end(app):
    """The view has returned, the request is over, and the template still reads it; teardown waits."""
    log = []
    app.teardown_request(lambda error: log.append("teardown"))

    @app.get("/stream")
    def view():
        log.append("view")
        return templating.stream_string(
            request_var.get(), "{% for n in range(2) %}{{ request.path }} {% endfor %}{{ done() }}", {"done": lambda: log.append("end") or ""}
        )

    response = app.test_client().get("/stream", buffered=False)

    assert response.get_data(as_text=True) == "/stream /stream "
    response.close()
    assert log == ["view", "end", "teardown"]


def test_a_stream_that_is_not_read_to_its_end_lets_the_request_go(app):
    """Closing the stream is enough for the teardown."""
    log = []
    app.teardown_request(lambda error: log.append("teardown"))
    with app.test_request_context("/cart"):
        pieces: Any = templating.stream_string(request_var.get(), "a{% for n in range(9) %}{{ n }}{% endfor %}", {})
        next(pieces)
    assert log == []

    pieces.close()

    assert log == ["teardown"]


def test_a_stream_outside_a_request_is_a_plain_generator(app):
    """A command may stream a template too."""
    with app.app_context():
        assert "".join(templating.stream(app_var.get(), "page.html", {"value": 5})) == "<p>5"


# ── the equipment ───────────────────────────────────────────────────────────────────────────────────────────


def test_templates_that_do_not_compile_are_found_at_start(app, root):
    """Every syntax error with its file and line, before anybody asks for the page."""
    if "templating" not in app.fitted:
        app.fit(templating.Templating())
    assert ("templating.syntax", templating.check_syntax) in app.checks
    assert templating.check_syntax(app) is None

    (root / "templates/broken.html").write_text("fine\n{% if %}")
    (root / "templates/latin.html").write_bytes(b"\xe9")
    (root / "templates/picture.png").write_bytes(b"\x89PNG {% if")

    found = str(templating.check_syntax(app))
    assert "broken.html:2: " in found
    assert "latin.html: cannot be read" in found
    assert "picture.png" not in found


def test_globals_are_those_of_the_moment_of_rendering(app: Carboy) -> None:
    """A global added or changed after a template was loaded is seen; its own globals and the values given win."""
    env = app.jinja_env
    env.loader = DictLoader({"it.html": "{{ a }}{{ b }}{{ c }}{% include 'part.html' %}", "part.html": "|{{ a }}{{ b }}{{ c }}"})
    env.globals.update(a="A", b="B", c="C")

    with app.test_request_context("/"):
        own = env.get_template("it.html", globals={"b": "own"})
        first = own.render(c="given")
        env.globals["a"] = "later"
        second = own.render(c="given")

    assert (first, second) == ("Aowngiven|Aowngiven", "laterowngiven|laterowngiven")


# ── as Jinja alone would ────────────────────────────────────────────────────────────────────────────────────


class Shown:
    def __html__(self) -> str:
        return "<b>shown</b>"


class Bold(Markup):
    """A text that is safe already, of a class of its own."""


class Callable:
    """Takes the template's values when it is called."""

    @pass_context
    def __call__(self, context: Any, word: str = "") -> str:
        return f"{word}{context['name']}"


@pass_context
def with_context(context: Any, *words: str) -> str:
    return f"{context.get('each', '-')}{len(words)}"


@pass_environment
def with_environment(environment: Any) -> str:
    return type(environment).__name__


def names(**given: Any) -> str:
    return ",".join(sorted(given))


def ends() -> str:
    raise StopIteration


VALUES = {
    "name": "O'Neil & <sons>", "number": 7, "half": 0.5, "nothing": None, "yes": True, "shown": Shown(), "safe": Markup("<i>"),
    "bold": Bold("<u>"), "row": {"title": "<a>", "items": "own"}, "words": ["<", Markup("<")], "with_context": with_context,
    "caller_class": Callable(), "names": names, "ends": ends, "counter": Counter("aab"), "text": type("Text", (str,), {})("<s>"),
}  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        "{{ name }}{{ number }}{{ half }}{{ nothing }}{{ yes }}{{ unknown }}{{ text }}",
        "{{ shown }}{{ safe }}{{ bold }}{{ name|safe }}{{ name|e }}{{ name|e|e }}{{ name ~ safe }}{{ words|join(',') }}",
        "{{ row.title }}{{ row['title'] }}{{ row.items }}{{ row.nothing }}{{ words.0 }}{{ name.nothing }}{{ row.get('title') }}",
        "{% for each in 'ab' %}{{ with_context(1, 2) }}{{ caller_class('<') }}{{ names(b=1, a=2) }}{% endfor %}",
        "{% macro m(x, y=2) %}{{ x }}{{ y }}{{ caller() if caller }}{% endmacro %}{{ m(name) }}{{ m(safe, y=name) }}{% call m(1) %}{{ name }}{% endcall %}",
        "{{ ends() }}|{{ ends() is undefined }}|{% set x %}{{ name }}{% endset %}{{ x }}{{ x ~ name }}",
        "{{ counter.most_common(1) }}{{ name.upper() }}{{ '%s' % name }}{{ '{}'.format(name) }}{{ range(3)|list }}",
        "{% autoescape false %}{{ name }}{{ safe }}{% endautoescape %}{{ name }}",
        "{% for each in [1,2] recursive %}{{ loop.index }}{{ loop.cycle('<', '>') }}{% endfor %}{{ lipsum is defined }}{{ dict(a=1) }}",
    ],
)
def test_values_and_calls_are_as_in_plain_jinja(app, source):
    """What is done faster here gives what Jinja gives."""
    plain = jinja2.Environment(autoescape=True).from_string(source).render(VALUES)

    with app.test_request_context("/"):
        assert app.jinja_env.from_string(source).render(VALUES) == plain


def test_callable_that_wants_the_environment_gets_the_apps(app):
    """As `pass_environment` promises; a `pass_context` function sees what was set in its loop."""
    with app.test_request_context("/"):
        assert render_string("{{ f() }}", f=with_environment) == "Environment"
        assert render_string("{% for it in 'ab' %}{% set each = it %}{{ f() }}{% endfor %}", f=with_context) == "a0b0"


def test_error_in_a_called_function_names_the_line_of_the_template(app):
    """The frames of the machinery stay out of the traceback, as with Jinja."""
    def breaks():
        raise LookupError("no such thing")

    with app.test_request_context("/"), pytest.raises(LookupError) as caught:
        render_string("one\n{{ breaks() }}", breaks=breaks)

    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert ("<template>", 2) in lines
    assert not [name for name, _ in lines if name.endswith("jinja2/runtime.py")]
