"""Facts of `carboy adopt`: what it sees in an application written for Flask, and what it says of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from carboy.cli.adopt.judge import judge
from carboy.cli.adopt.known import known
from carboy.cli.adopt.names import has
from carboy.cli.adopt.read import REPLACEABLE, read_project
from carboy.core.base import VERBS

Run = Callable[..., Result]
Write = Callable[[str, str], Path]
Findings = list[tuple[str, str, list[str]]]

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def found(write: Write, tmp_path: Path) -> Callable[..., Findings]:
    """The findings for a text as `app.py`: (group, rule, places)."""

    def found(text: str, **others: str) -> Findings:
        write("app.py", text)
        for name, other in others.items():
            write(name.replace("__", "/").replace("_dot_", "."), other)
        return [(finding.group, finding.rule, [str(place) for place in finding.places]) for finding in judge(read_project(tmp_path))]

    return found


APP = """\
from flask import Flask
app = Flask(__name__)
"""


def test_nothing_is_imported_run_or_changed(run: Run, write: Write, tmp_path: Path) -> None:
    """A file that would fail, and tell, if it were imported is read all the same."""
    write("app.py", APP + "raise SystemExit('imported')\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}

    result = run("adopt", str(tmp_path))

    assert result.exit_code == 0, result.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before
    assert "app" not in sys.modules


def test_the_page_has_three_groups_and_says_what_to_do_next(run: Run, write: Write) -> None:
    """Runs, gains, needs a look; then the command that serves the application."""
    write("app.py", APP)

    output = run("adopt").output

    groups = [output.index(title) for title in ("Runs as it is:", "Gains: nothing", "Needs a look: nothing")]
    assert groups == sorted(groups)
    assert "Next: carboy run app," in output
    assert "at app.py:2" in output


def test_json_has_everything(run: Run, write: Write) -> None:
    """The same findings for programs, and the facts behind them."""
    write("app.py", APP)

    told: Any = json.loads(run("adopt", "--json").output)

    assert told["target"] == "app"
    assert told["files"] == ["app.py"]
    assert {"group": "runs", "rule": "app", "text": "Flask(...) makes a Carboy", "places": ["app.py:2"], "remedy": ""} in told["findings"]
    assert {"flask-name", "import", "app"} <= {fact["kind"] for fact in told["facts"]}


def test_a_factory_is_the_target(run: Run, write: Write) -> None:
    """A function that returns the application it made is what `carboy run` is told."""
    write("shop/__init__.py", "import flask\ndef create_app(config=None):\n    app = flask.Flask(__name__)\n    return app\n")

    output = run("adopt").output

    assert "Next: carboy run shop:create_app," in output


def test_the_target_is_what_carboy_run_takes(run: Run, write: Write, tmp_path: Path) -> None:
    """From the outside, and where the folder is the package itself, by its path; a file by its own."""
    write("shop/__init__.py", "")
    write("shop/web.py", APP)

    targets = [
        json.loads(run("adopt", "--json", path).output)["target"] for path in (".", str(tmp_path), "shop", str(tmp_path / "shop" / "web.py"))
    ]

    assert targets == ["shop.web", str(tmp_path / "shop" / "web.py"), str(Path("shop", "web.py")), str(tmp_path / "shop" / "web.py")]
    assert all("/static" in run("routes", target).output for target in targets)


def test_settings_are_what_is_in_a_place_of_settings(found: Callable[..., Findings]) -> None:
    """A constant elsewhere is none, whatever its name."""
    findings = found(APP + "ENV = 1\nclass Config:\n    JSON_AS_ASCII = False\n", settings_dot_py="JSON_SORT_KEYS = 1\n")

    assert [places for _, rule, places in findings if rule == "setting"] == [["app.py:5"], ["settings.py:1"]]


def test_views_are_seen_however_they_are_routed(found: Callable[..., Findings]) -> None:
    """By decorator, by add_url_rule, as methods of a class; in both colours."""
    findings = found(
        APP
        + """\
from flask.views import MethodView
@app.get("/")
def index(): ...
@app.route("/slow")
async def slow(): ...
def later(): ...
app.add_url_rule("/later", view_func=later)
class Orders(MethodView):
    def get(self): ...
    def helper(self): ...
"""
    )

    (views,) = [places for _, rule, places in findings if rule == "views"]
    assert views == ["app.py:5", "app.py:7", "app.py:8", "app.py:11"]
    assert ("gains", "async-views", ["app.py:7"]) in findings


def test_a_view_that_waits_gains(found: Callable[..., Findings]) -> None:
    """Calls of an HTTP client in a def view are a reason for async def; the same elsewhere is not."""
    findings = found(
        APP
        + """\
import requests
from time import sleep as nap
@app.get("/")
def index():
    requests.get("http://a.example")
    nap(1)
def job():
    requests.get("http://a.example")
"""
    )

    assert ("gains", "async-candidate", ["app.py:7", "app.py:8"]) in findings
    assert not [finding for finding in findings if "app.py:10" in finding[2]]


def test_a_call_that_blocks_the_loop_needs_a_look(found: Callable[..., Findings]) -> None:
    """In an async def it stops every other request, in a view or beside one."""
    findings = found(APP + "import time\n@app.get('/')\nasync def index():\n    time.sleep(1)\nasync def other():\n    time.sleep(1)\n")

    assert [places for _, rule, places in findings if rule == "blocks-the-loop"] == [["app.py:6"], ["app.py:8"]]


@pytest.mark.parametrize(
    "line", ["from flask import Markup", "from flask.json import JSONEncoder", "from flask import _app_ctx_stack", "import flask.ext", "import flask\nflask.Markup"]
)
def test_a_name_that_the_alias_has_not_needs_a_look(found: Callable[..., Findings], line: str) -> None:
    """What would fail at import is said before."""
    assert [rule for group, rule, _ in found(APP + line + "\n") if group == "look"] == ["missing-name"]


def test_a_name_that_is_expected_to_be_missing_is_no_news(found: Callable[..., Findings]) -> None:
    """An import in a `try` that has an answer to its failing; the same import elsewhere is told."""
    guarded = "try:\n    from flask import Markup\nexcept ImportError:\n    from markupsafe import Markup\n"

    assert [finding for finding in found(APP + guarded) if finding[0] == "look"] == []
    assert ("look", "missing-name", ["app.py:7"]) in found(APP + guarded + "from flask import Markup\n")


def test_private_names_that_are_there_run(found: Callable[..., Findings]) -> None:
    """They are told, and they are no reason to look."""
    findings = found(APP + "from flask.globals import _cv_request\nfrom flask.sansio.scaffold import _endpoint_from_view_func\n")

    assert ("runs", "private-names", ["app.py:3", "app.py:4"]) in findings
    assert not [finding for finding in findings if finding[0] == "look"]


def test_names_in_tests_are_looked_at_too(found: Callable[..., Findings]) -> None:
    """But views in tests are not the application's."""
    findings = found(APP, tests__test_app_dot_py="from flask import escape\n@app.get('/')\ndef view(): ...\n")

    assert ("look", "missing-name", ["tests/test_app.py:1"]) in findings
    assert "views" not in [rule for _, rule, _ in findings]


def test_extensions_are_tried_or_unknown(found: Callable[..., Findings]) -> None:
    """One that Carboy is tested with runs; another needs a look; a package of the application's own is neither."""
    findings = found(
        APP + "from flask_login import LoginManager\nimport flask_oracle\nfrom flask_own import x\n", flask_own_dot_py=""
    )

    assert ("runs", "extension", ["app.py:3"]) in findings
    assert [(rule, places) for group, rule, places in findings if group == "look"] == [("unknown-extension", ["app.py:4"])]


def test_replaced_methods_are_honoured(found: Callable[..., Findings]) -> None:
    """On the instance and in a subclass; one that decides in sync code is told where there are async views."""
    findings = found(
        """\
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
class Mine(Flask):
    def dispatch_request(self): ...
app = Mine(__name__)
app.handle_exception = print
app.wsgi_app = ProxyFix(app.wsgi_app)
@app.get("/")
async def index(): ...
"""
    )

    assert ("runs", "replaced", ["app.py:3", "app.py:6"]) in findings
    assert ("look", "sync-verb", ["app.py:3"]) in findings
    assert ("runs", "middleware", ["app.py:7"]) in findings
    assert ("gains", "proxies", ["app.py:7"]) in findings


def test_what_flask_has_no_longer_needs_a_look(found: Callable[..., Findings]) -> None:
    """Hooks, settings and attributes of older versions."""
    findings = found(APP + "app.config['JSON_SORT_KEYS'] = False\napp.json_encoder = None\n@app.before_first_request\ndef start(): ...\n")

    assert [rule for group, rule, _ in findings if group == "look"] == ["gone", "gone", "setting"]


def test_uploads_without_a_limit_need_a_look(found: Callable[..., Findings]) -> None:
    """Carboy refuses bodies over 16 MiB by default; an application that sets its limit is not troubled."""
    upload = "from flask import request\n@app.post('/')\ndef put():\n    request.files['f'].save('x')\n"

    assert ("look", "body-limit", ["app.py:6"]) in found(APP + upload)
    assert "body-limit" not in [rule for _, rule, _ in found(APP + "app.config['MAX_CONTENT_LENGTH'] = 1\n" + upload)]


def test_what_each_worker_has_for_itself_needs_a_look(found: Callable[..., Findings]) -> None:
    """Globals that a view changes, threads that it starts."""
    findings = found(
        APP
        + """\
import threading
seen = []
count = 0
@app.get("/")
def index():
    global count
    seen.append(1)
    threading.Thread(target=print).start()
    app.config["SEEN"] = 1
"""
    )

    assert [(rule, places) for group, rule, places in findings if group == "look"] == [
        ("global", ["app.py:8"]),
        ("global", ["app.py:9"]),
        ("global", ["app.py:11"]),
        ("thread", ["app.py:10"]),
    ]


def test_other_servers_and_pins_are_seen(found: Callable[..., Findings]) -> None:
    """A Procfile, and requirements that do not go together with Carboy's."""
    findings = found(APP, Procfile="web: gunicorn app:app\n", requirements_dot_txt="Flask==2.0.1\nWerkzeug<3\n# Werkzeug==1\n")

    assert ("gains", "server", ["Procfile:1"]) in findings
    assert [(rule, places) for group, rule, places in findings if group == "look"] == [
        ("old-flask", ["requirements.txt:1"]),
        ("pin", ["requirements.txt:2"]),
    ]


def test_a_file_that_cannot_be_parsed_is_told(found: Callable[..., Findings]) -> None:
    """The rest is read."""
    findings = found(APP, old_dot_py="print 'hello'\n")

    assert ("look", "unreadable", ["old.py:1"]) in findings
    assert ("runs", "app", ["app.py:2"]) in findings


def test_the_example_application_needs_no_look(run: Run) -> None:
    """The board is as a user should write: nothing to complain of."""
    output = run("adopt", str(PROJECT / "examples" / "board")).output

    assert "Needs a look: nothing" in output
    assert f"Next: carboy run {PROJECT / 'examples' / 'board' / 'board'}:create_app," in output


def test_the_tables_are_true() -> None:
    """What is called gone is gone, and what extensions have a program here is known."""
    programs = PROJECT / "tests" / "extensions" / "programs"
    tried = {
        line.split('"')[1]
        for program in programs.glob("*.py")
        for line in program.read_text(encoding="utf-8").splitlines()
        if line.startswith("DISTRIBUTION = ")
    }

    assert [name for name in known().gone if name.startswith("flask.") and has(name)] == []
    assert {entry["distribution"] for entry in known().extensions.values()} == tried
    assert set(VERBS) - REPLACEABLE <= {"__call__", "asgi_app", "async_to_sync", "do_teardown_appcontext", "do_teardown_request"}


def test_names_are_asked_of_the_alias() -> None:
    """Modules, names in them, and what is not there; proxies are not touched."""
    there = ("flask", "flask.__version__", "flask.request", "flask.json.provider", "flask.json.provider.JSONProvider", "flask.sansio.app.App")

    assert all(map(has, there))
    assert not any(map(has, ("flask.nope", "flask.nope.x", "flask.globals.nope", "flask.Flask.x")))
