"""Facts of `.env` files: which outranks which, and that python-dotenv is optional."""

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from carboy.cli.dotenv import load_dotenv
from carboy.cli.flask_commands import FlaskGroup

Write = Callable[[str, str], Path]


@pytest.fixture
def dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """python-dotenv, or where it is not installed the two functions of it that are used, for plain NAME=value lines."""
    for name in ("FOO", "BAR", "EGGS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    try:
        import dotenv as real  # noqa: F401
    except ImportError:
        stand_in = types.ModuleType("dotenv")

        def find_dotenv(name: str, usecwd: bool = False) -> str:
            return next((str(folder / name) for folder in (Path.cwd(), *Path.cwd().parents) if (folder / name).is_file()), "")

        def dotenv_values(path: str, encoding: str) -> dict[str, str]:
            lines = Path(path).read_text(encoding).splitlines()
            return dict(line.split("=", 1) for line in lines if "=" in line)  # type: ignore[misc]

        vars(stand_in).update(find_dotenv=find_dotenv, dotenv_values=dotenv_values)
        monkeypatch.setitem(sys.modules, "dotenv", stand_in)


def test_env_outranks_carboyenv_and_that_flaskenv(write: Write, dotenv: None) -> None:
    """What is private outranks what is committed."""
    write(".flaskenv", "FOO=flaskenv\nBAR=flaskenv\nEGGS=flaskenv\n")
    write(".carboyenv", "FOO=carboyenv\nBAR=carboyenv\n")
    write(".env", "FOO=env\n")

    assert load_dotenv()
    assert (os.environ["FOO"], os.environ["BAR"], os.environ["EGGS"]) == ("env", "carboyenv", "flaskenv")


def test_a_given_file_outranks_the_default_ones_and_the_environment_all(
    write: Write, dotenv: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set already is never overwritten."""
    monkeypatch.setenv("EGGS", "set")
    write(".env", "FOO=env\nBAR=env\nEGGS=env\n")
    given = write("given.env", "FOO=given\n")

    assert load_dotenv(given)
    assert (os.environ["FOO"], os.environ["BAR"], os.environ["EGGS"]) == ("given", "env", "set")


def test_the_default_files_can_be_left_out(write: Write, dotenv: None) -> None:
    """Nothing read is told as False."""
    write(".env", "FOO=env\n")

    assert not load_dotenv("not-there.env", load_defaults=False)
    assert "FOO" not in os.environ


def test_files_are_looked_for_upwards(write: Write, dotenv: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command works the same in a folder of the project; the working directory stays."""
    write(".env", "FOO=above\n")
    write("inner/file", "")
    monkeypatch.chdir("inner")

    assert load_dotenv()
    assert os.environ["FOO"] == "above"
    assert Path.cwd().name == "inner"


def test_without_python_dotenv_a_tip_is_shown_where_a_file_lies(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is read, and nothing is said where there is no file."""
    monkeypatch.setitem(sys.modules, "dotenv", None)

    assert not load_dotenv()
    assert capsys.readouterr().err == ""

    write(".env", "FOO=env\n")
    assert not load_dotenv()
    assert "install python-dotenv" in capsys.readouterr().err


def invoke(*args: str) -> Result:
    group = FlaskGroup(name="flask")

    @group.command("show", with_appcontext=False)
    def show() -> None:
        click.echo(os.environ.get("FOO", "unset"))

    return CliRunner().invoke(group, list(args))


def test_commands_run_with_the_files_read(write: Write, dotenv: None) -> None:
    """`.env` by itself, another one by option."""
    write(".env", "FOO=env\n")
    write("given.env", "FOO=given\n")

    assert invoke("show").stdout == "env\n"
    os.environ.pop("FOO")
    assert invoke("-e", "given.env", "show").stdout == "given\n"


def test_reading_can_be_switched_off_by_the_environment(write: Write, dotenv: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLASK_SKIP_DOTENV=1 leaves it to whoever starts the command."""
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    write(".env", "FOO=env\n")

    assert invoke("show").stdout == "unset\n"


def test_asking_for_a_file_without_python_dotenv_is_an_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file named by hand cannot be passed over in silence."""
    monkeypatch.setitem(sys.modules, "dotenv", None)
    write("given.env", "FOO=given\n")

    result = invoke("-e", "given.env", "show")

    assert result.exit_code == 2
    assert "python-dotenv must be installed" in result.stderr
