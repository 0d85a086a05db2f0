"""Facts of the `flask` command: what Flask's users and extensions rely on."""

import ssl
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import carboy.cli.flask_commands as flask_cli
from carboy import Blueprint, Carboy, current_app
from carboy.cli.flask_commands import FlaskGroup, cli, run_command
from carboy.core.commands import AppGroup, ScriptInfo

Write = Callable[[str, str], Path]


def flask(*args: str, **options: Any) -> Result:
    return CliRunner().invoke(cli, list(args), prog_name="flask", **options)


def own(app: Carboy, *args: str) -> Result:
    return CliRunner().invoke(FlaskGroup(create_app=lambda: app), list(args))


@pytest.fixture
def app() -> Carboy:
    app = Carboy("flask_shop")
    app.add_url_rule("/get_post/<int:x>/<int:y>", methods=["GET", "POST"], endpoint="yyy_get_post")
    app.add_url_rule("/zzz_post", methods=["POST"], endpoint="aaa_post")
    return app


def test_the_routes_table_is_flasks(app: Carboy) -> None:
    """Titles, rules under them, padded columns."""
    assert own(app, "routes").output.splitlines() == [
        "Endpoint      Methods    Rule                     ",
        "------------  ---------  -------------------------",
        "aaa_post      POST       /zzz_post                ",
        "static        GET        /static/<path:filename>  ",
        "yyy_get_post  GET, POST  /get_post/<int:x>/<int:y>",
    ]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("endpoint", ["aaa_post", "static", "yyy_get_post"]),
        ("methods", ["static", "yyy_get_post", "aaa_post"]),
        ("rule", ["yyy_get_post", "static", "aaa_post"]),
        ("domain", ["static", "yyy_get_post", "aaa_post"]),
    ],
)
def test_the_routes_are_sorted_as_flask_sorts_them(app: Carboy, sort: str, order: list[str]) -> None:
    """A sort that has nothing to go by keeps the order of the map."""
    lines = own(app, "routes", "-s", sort).output.splitlines()[2:]

    assert [line.split()[0] for line in lines] == order


def test_all_methods_are_shown_on_request(app: Carboy) -> None:
    """HEAD and OPTIONS, sorted among the others."""
    assert "GET, HEAD, OPTIONS, POST" in own(app, "routes", "--all-methods").output


@pytest.mark.parametrize(
    ("options", "rule", "title"), [({}, {"subdomain": "a"}, "Subdomain"), ({"host_matching": True}, {"host": "a"}, "Host")]
)
def test_hosts_and_subdomains_have_a_column(options: dict[str, Any], rule: dict[str, str], title: str) -> None:
    """As Flask names it."""
    app = Carboy("flask_shop", static_folder=None, **options)
    app.add_url_rule("/a", endpoint="a", **rule)

    assert title in own(app, "routes").output.splitlines()[0]


def test_parameter_callbacks_see_the_application(app: Carboy) -> None:
    """The context is active while the arguments of the application's command are read."""

    @app.cli.command()
    @click.argument("value", callback=lambda ctx, param, value: bool(current_app))
    def check(value: bool) -> tuple[bool, bool]:
        return value, current_app._get_current_object() is click.get_current_context().obj.load_app()

    group = FlaskGroup(create_app=lambda: app)

    assert CliRunner().invoke(group, ["check", "x"], standalone_mode=False).return_value == (True, True)


def test_a_group_of_ones_own_and_a_nested_one_have_the_application(app: Carboy) -> None:
    """As a click class, and below another group."""

    @click.group(cls=FlaskGroup, create_app=lambda: app)
    def script(**params: Any) -> None:
        pass

    @script.command()
    def show() -> None:
        click.echo(current_app.name)

    outer = click.Group("outer", commands={"flask": script})

    assert CliRunner().invoke(script, ["show"]).output == "flask_shop\n"
    assert CliRunner().invoke(outer, ["flask", "show"]).output == "flask_shop\n"


def test_commands_of_blueprints_stand_in_their_groups(app: Carboy) -> None:
    """By the blueprint's name, by `cli_group`, or merged; an empty one is not there."""
    for name, options in (("named", {}), ("grouped", {"cli_group": "other"}), ("merged", {"cli_group": None})):
        blueprint = Blueprint(name, __name__, **options)  # type: ignore[arg-type]
        blueprint.cli.command(f"do-{name}")(lambda name=name: click.echo(name))
        app.register_blueprint(blueprint)
    app.register_blueprint(Blueprint("empty", __name__, cli_group="empty"))

    assert own(app, "named", "do-named").output == "named\n"
    assert own(app, "other", "do-grouped").output == "grouped\n"
    assert own(app, "do-merged").output == "merged\n"
    assert own(app, "empty", "--help").exit_code == 2


def test_nothing_to_load_is_told_and_named_by_flasks_variable(write: Write) -> None:
    """With a missing command it is an error, with the help page a remark."""
    missing, page = flask("missing"), flask("--help")

    assert missing.exit_code == 2
    assert "FLASK_APP" in missing.stderr
    assert "Usage:" in missing.stderr
    assert page.exit_code == 0
    assert "FLASK_APP" in page.stderr
    assert "Usage:" in page.stdout


def test_an_error_of_the_factory_is_shown_beside_the_help_page() -> None:
    """The traceback on stderr, the page on stdout."""

    def create_app() -> Carboy:
        raise Exception("oh no")

    result = CliRunner().invoke(FlaskGroup(create_app=create_app), ["--help"])

    assert result.exit_code == 0
    assert "Exception: oh no" in result.stderr
    assert "Usage:" in result.stdout


def test_the_version_names_python_and_werkzeug() -> None:
    """And leaves."""
    result = flask("--version")

    assert result.exit_code == 0
    assert "Python 3." in result.output
    assert "Werkzeug 3." in result.output


# The development server


def test_run_serves_the_application_with_werkzeugs_server(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In debug mode with reloader and debugger, unless told otherwise."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(flask_cli, "run_simple", lambda *args, **kwargs: calls.append((args, kwargs)))

    plain = flask("-A", shop, "run", "-p", "5001")
    flask("-A", shop, "run", "--debug", "--no-reload", "--without-threads")

    assert plain.output == " * Serving Flask app 'little_shop'\n * Debug mode: off\n"
    (args, kwargs), (_, debugging) = calls
    assert args[:2] == ("127.0.0.1", 5001)
    assert args[2].name == "little_shop"
    assert (kwargs["use_reloader"], kwargs["use_debugger"], kwargs["threaded"]) == (False, False, True)
    assert (debugging["use_reloader"], debugging["use_debugger"], debugging["threaded"]) == (False, True, False)


def test_a_broken_application_is_served_as_its_error_below_the_reloader(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reloader's child lives on and waits for the next save; a first start fails."""
    write("broken.py", "1 / 0")
    served: list[Any] = []
    monkeypatch.setattr(flask_cli, "run_simple", lambda host, port, app, **kwargs: served.append(app))

    assert isinstance(flask("-A", "broken", "run").exception, ZeroDivisionError)
    assert not served

    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    assert flask("-A", "broken", "run").exit_code == 0
    with pytest.raises(ZeroDivisionError):
        served[0]({}, None)


def cert(*args: str) -> Any:
    return run_command.make_context("run", list(args)).params["cert"]


def test_certificate_and_key_belong_together() -> None:
    """In either order; one without the other is refused."""
    assert cert("--cert", __file__, "--key", __file__) == (__file__, __file__)
    assert cert("--key", __file__, "--cert", __file__) == (__file__, __file__)
    for args in (["--cert", __file__], ["--key", __file__]):
        with pytest.raises(click.BadParameter):
            cert(*args)


def test_a_certificate_made_on_the_spot_needs_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no key."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(click.BadParameter, match="cryptography"):
        cert("--cert", "adhoc")

    monkeypatch.setitem(sys.modules, "cryptography", types.ModuleType("cryptography"))
    assert cert("--cert", "adhoc") == "adhoc"
    with pytest.raises(click.BadParameter, match="not used"):
        cert("--cert", "adhoc", "--key", __file__)


def test_a_certificate_may_be_an_imported_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else that can be imported, or cannot, is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setitem(sys.modules, "ssl_context", context)  # type: ignore[arg-type]

    assert cert("--cert", "ssl_context") is context
    for name in ("not_here", "click"):
        with pytest.raises(click.BadParameter):
            cert("--cert", name)
    with pytest.raises(click.BadParameter, match="not used"):
        cert("--cert", "ssl_context", "--key", __file__)


def test_a_python_without_ssl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of an ImportError."""
    monkeypatch.setitem(sys.modules, "ssl", None)

    with pytest.raises(click.BadParameter, match="SSL"):
        cert("--cert", "anything")


def test_paths_are_separated_as_in_path() -> None:
    """Patterns need not exist."""
    params = run_command.make_context("run", ["--exclude-patterns", "*.tmp:cache/*", "--extra-files", __file__]).params

    assert params["exclude_patterns"] == ["*.tmp", "cache/*"]
    assert params["extra_files"] == [__file__]


def test_options_take_their_values_from_flasks_variables(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLASK_RUN_PORT is `flask run --port`."""
    monkeypatch.setenv("FLASK_APP", shop)
    monkeypatch.setenv("FLASK_RUN_PORT", "5005")
    ports: list[int] = []
    monkeypatch.setattr(flask_cli, "run_simple", lambda host, port, app, **kwargs: ports.append(port))

    flask("run")

    assert ports == [5005]


def test_the_names_of_flask_cli_are_here() -> None:
    """What Flask's documentation and the extensions take from `flask.cli`."""
    names = (
        "AppGroup CertParamType FlaskGroup NoAppException ScriptInfo SeparatedPathType cli click find_app_by_string"
        " find_best_app get_debug_flag get_load_dotenv get_version load_dotenv locate_app main metadata pass_script_info"
        " prepare_import routes_command run_command shell_command show_server_banner version_option with_appcontext"
    )

    assert [name for name in names.split() if not hasattr(flask_cli, name)] == []
    assert issubclass(FlaskGroup, AppGroup)
    assert ScriptInfo().data == {}
