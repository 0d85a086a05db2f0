"""Facts of the `carboy` command: its help page, how it finds the application, and what it says if it cannot."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from carboy import current_app
from carboy.cli.carboy_group import VERBS, CarboyGroup

Run = Callable[..., Result]
Write = Callable[[str, str], Path]


def test_without_arguments_the_help_page_is_shown(run: Run, write: Write) -> None:
    """The page names every verb, and complains of no application where none was asked for."""
    result = run()

    assert all(f"\n  {verb} " in result.output for verb in VERBS)
    assert "Error" not in result.output


def test_the_help_page_fits_a_screen(run: Run, write: Write) -> None:
    """Thirty lines of at most eighty columns."""
    lines = run("--help").output.splitlines()

    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80


def test_each_verb_has_a_help_page_that_needs_no_application(run: Run, write: Write) -> None:
    """Help is there before there is anything to work on."""
    for verb in VERBS:
        result = run(verb, "--help")
        assert result.exit_code == 0, verb
        assert result.stdout.startswith(f"Usage: carboy {verb}")


def test_the_applications_commands_have_a_heading_of_their_own(run: Run, shop: str) -> None:
    """They are listed with their help, apart from the verbs."""
    output = run("-A", shop, "--help").output

    assert "Fill the shelves." in output.partition("Commands of the application:")[2]


def test_the_help_page_leaves_no_context_behind(run: Run, shop: str) -> None:
    """The application's context ends with the page that needed it."""
    run("-A", shop, "--help")

    assert not current_app


@pytest.mark.parametrize("variable", ["CARBOY_APP", "FLASK_APP"])
def test_the_application_may_be_named_by_a_variable(run: Run, shop: str, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Both names work, for commands and for the help page."""
    monkeypatch.setenv(variable, shop)

    assert run("restock").output == "restocked False\n"
    assert "restock" in run("--help").output


def test_carboy_app_outranks_flask_app(run: Run, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own variable is the nearer one."""
    monkeypatch.setenv("FLASK_APP", "not_there")
    monkeypatch.setenv("CARBOY_APP", shop)

    assert run("restock").exit_code == 0


@pytest.mark.parametrize("args", [["-A", "little_shop", "routes"], ["routes", "-A", "little_shop"], ["routes", "little_shop"]])
def test_the_application_may_be_named_before_or_behind_the_verb(run: Run, shop: str, args: list[str]) -> None:
    """Nobody has to remember where the option goes."""
    assert "/orders" in run(*args).output


def test_debug_is_passed_on_through_the_environment(run: Run, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--debug` sets what the application reads; it outranks both variables."""
    monkeypatch.setenv("CARBOY_DEBUG", "0")

    assert run("-A", shop, "--debug", "restock").output == "restocked True\n"
    assert run("-A", shop, "--no-debug", "restock").output == "restocked False\n"


def test_an_unknown_application_is_told_with_the_remedy_and_exit_code_2(run: Run, write: Write) -> None:
    """What could not be found, and where it was looked for."""
    result = run("routes", "no_such_module")

    assert result.exit_code == 2
    assert "Could not import 'no_such_module'" in result.stderr


def test_no_application_at_all_is_told_with_the_ways_to_name_one(run: Run, write: Write) -> None:
    """The verb that needs one says so."""
    result = run("routes")

    assert result.exit_code == 2
    assert "CARBOY_APP" in result.stderr
    assert "--app" in result.stderr


def test_an_unknown_command_tells_why_the_applications_own_are_not_there(run: Run, write: Write) -> None:
    """A command may be missing only because the application did not load."""
    write("app.py", "import not_installed_at_all")

    result = run("restock")

    assert result.exit_code == 2
    assert "not_installed_at_all" in result.stderr
    assert "No such command 'restock'" in result.stderr


def test_an_error_of_the_application_does_not_hide_the_help_page(run: Run, write: Write) -> None:
    """The traceback goes to stderr, the page to stdout."""
    write("app.py", "1 / 0")

    result = run("--help")

    assert result.exit_code == 0
    assert "ZeroDivisionError" in result.stderr
    assert "routes" in result.stdout


def plugin(monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str) -> None:
    point = importlib.metadata.EntryPoint(name, value, group)
    real = importlib.metadata.entry_points

    def entry_points(**wanted: str) -> object:
        return [point] if wanted == {"group": group} else real(**wanted)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


@pytest.mark.parametrize("group", ["flask.commands", "carboy.commands"])
def test_commands_of_plugins_are_found_by_their_entry_points(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    """Those made for `flask` work too, and have a heading of their own."""
    write("plug.py", "import click\n@click.command()\ndef cli():\n    'Plugged in.'\n    print('plugged')")
    monkeypatch.syspath_prepend(Path.cwd())
    plugin(monkeypatch, group, "plug", "plug:cli")
    monkeypatch.setattr("carboy.cli.carboy_group.carboy._plugins", None)

    assert run("plug").output == "plugged\n"
    assert "Plugged in." in run("--help").output.partition("Commands of plugins:")[2]


def test_a_broken_plugin_leaves_the_other_commands_alone(run: Run, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its error; the page and the verbs are there."""
    plugin(monkeypatch, "flask.commands", "plug", "no_such_package:cli")
    monkeypatch.setattr("carboy.cli.carboy_group.carboy._plugins", None)

    result = run("-A", shop, "--help")

    assert result.exit_code == 0
    assert "no_such_package" in result.stderr
    assert run("routes", shop).exit_code == 0


def test_commands_may_be_added_to_the_group(write: Write) -> None:
    """A group of one's own takes commands as any click group does."""
    group = CarboyGroup(name="mine")

    @group.command("own", with_appcontext=False)
    def own() -> None:
        click.echo("own")

    assert click.testing.CliRunner().invoke(group, ["own"]).output == "own\n"


def test_the_module_is_the_command(write: Write) -> None:
    """`python -m carboy` is the same, and its exit code reaches the shell."""
    result = subprocess.run(
        [sys.executable, "-m", "carboy", "routes", "not_there"], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.returncode == 2
    assert "Could not import 'not_there'" in result.stderr


def test_an_error_in_the_application_is_shown_from_its_own_first_line(write: Write) -> None:
    """The command line's own frames are left out."""
    write("app.py", "def make():\n    return {}['key']\n\nmake()\n")

    result = subprocess.run([sys.executable, "-m", "carboy", "routes"], capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 1
    assert "KeyError: 'key'" in result.stderr
    assert "app.py" in result.stderr
    assert "click" not in result.stderr
