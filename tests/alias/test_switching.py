"""Facts of how `import flask` comes to mean Carboy, and how it does not.

Each in a process of its own, with a stand-in for the real Flask on the path: the two must never mix. One test, slow,
builds an environment with the real Flask in it.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
WHO = "import flask; print(getattr(flask, 'Flask').__module__)"
REAL, OURS = "flask.real", "carboy.app"

Ask = Callable[..., str]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run a text in a new interpreter that has a real Flask, as far as it can tell; gives what was printed."""
    real = tmp_path / "site" / "flask"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("from .real import Flask\n")
    (real / "real.py").write_text("class Flask: pass\n")
    (real / "__main__.py").write_text("print('the real flask command')\n")
    (tmp_path / "shop.py").write_text("import flask\napp = flask.Flask(__name__)\n")
    start = tmp_path / "start.py"
    # What a site directory with the .pth file does at the start of an interpreter, in this one.
    line = (PROJECT / "src" / "carboy_alias.pth").read_text()
    start.write_text(f"{line}\nimport runpy, sys\nsys.argv = sys.argv[1:]\nexec(sys.argv.pop(0))\n")

    def ask(text: str, *args: str, **variables: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_", "PYTHON"))}
        environment |= {"PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(PROJECT / "src"))), **variables}
        done = subprocess.run(
            [sys.executable, str(start), textwrap.dedent(text), *args],
            capture_output=True, text=True, cwd=tmp_path, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Error processing line" not in done.stderr
        return done.stdout.strip()

    return ask


def test_flask_is_flask_unless_carboy_is_imported(ask: Ask) -> None:
    """An environment that has Carboy in it as well is not changed by that."""
    assert ask(WHO) == REAL


def test_importing_carboy_is_enough(ask: Ask) -> None:
    """From then on `import flask` gives Carboy."""
    assert ask(f"import carboy; {WHO}") == OURS


def test_zero_keeps_carboy_out_of_the_way(ask: Ask) -> None:
    """With CARBOY_ALIAS=0 the two stand side by side."""
    assert ask(f"import carboy; {WHO}", CARBOY_ALIAS="0") == REAL


def test_flask_that_came_first_stays(ask: Ask) -> None:
    """Carboy says nothing unless it is asked to take the name; then it says why it cannot."""
    text = """
        import flask, carboy
        import flask as again
        print(again.Flask.__module__)
        from carboy.alias import install
        try:
            install()
        except ImportError as error:
            print(type(error).__name__, "before the first `import flask`" in str(error))
    """

    assert ask(text) == f"{REAL}\nFlaskIsLoaded True"


def test_one_gives_carboy_to_every_program(ask: Ask) -> None:
    """With CARBOY_ALIAS=1 a program that knows nothing of Carboy gets it."""
    assert ask(WHO, CARBOY_ALIAS="1") == OURS


def test_one_reaches_submodules_that_are_imported_first(ask: Ask) -> None:
    """`from flask.x import y` as the first import finds the alias's module."""
    assert ask("from flask.globals import _cv_request; print(_cv_request.name)", CARBOY_ALIAS="1") == "carboy.request_ctx"


def test_one_costs_nothing_without_flask(ask: Ask) -> None:
    """A program that does not import Flask does not load Carboy."""
    text = "import json; print([name for name in sys.modules if name.partition('.')[0] in ('carboy', 'werkzeug', 'click')])"

    assert ask(text, CARBOY_ALIAS="1") == "[]"


def test_one_may_be_said_twice(ask: Ask) -> None:
    """Nothing waits any longer once Flask has been imported."""
    text = """
        import carboy_alias
        carboy_alias.install()
        import flask
        print([type(finder).__name__ for finder in sys.meta_path].count("AliasFinder"))
        print("Waiting" in [type(finder).__name__ for finder in sys.meta_path])
    """

    assert ask(text, CARBOY_ALIAS="1") == "1\nFalse"


def test_flask_as_a_program(ask: Ask) -> None:
    """`python -m flask` is the real one's, and Carboy's with CARBOY_ALIAS=1."""
    text = "runpy.run_module('flask', run_name='__main__', alter_sys=True)"

    assert ask(text, "flask") == "the real flask command"
    assert "static" in ask(text, "flask", "--app", "shop", "routes", CARBOY_ALIAS="1")


def test_carboy_flask_is_the_flask_command(ask: Ask) -> None:
    """`carboy flask ...` takes what `flask` takes; `--app` may stand on either side."""
    text = "from carboy.cli import main; main()"

    assert "static" in ask(text, "carboy", "flask", "--app", "shop", "routes")
    assert "static" in ask(text, "carboy", "--app", "shop", "flask", "routes")


def test_what_carboy_flask_starts_runs_on_carboy_too(ask: Ask, tmp_path: Path) -> None:
    """A sub-process of a command inherits the switch."""
    (tmp_path / "shop.py").write_text(
        "import flask, os\napp = flask.Flask(__name__)\n@app.cli.command()\ndef tell():\n    print(os.environ['CARBOY_ALIAS'])\n"
    )

    assert ask("from carboy.cli import main; main()", "carboy", "flask", "--app", "shop", "tell") == "1"


def test_carboy_flask_refuses_where_it_is_switched_off(ask: Ask) -> None:
    """It says what to do instead."""
    text = """
        from carboy.cli import main
        try:
            main(["flask", "routes"])
        except SystemExit as left:
            print(left.code)
    """

    assert ask(text, "carboy", CARBOY_ALIAS="0") == "2"


def test_the_switch_is_installed() -> None:
    """The file that Python reads at its start is part of this installation, editable or not."""
    distribution = importlib.metadata.distribution("carboy")
    listed = {str(file) for file in distribution.files or ()}
    if "carboy_alias.pth" not in listed:
        pytest.skip("this installation of Carboy is older than the switch; `pip install -e .` again")

    assert Path(str(distribution.locate_file("carboy_alias.pth"))).read_text() == (PROJECT / "src" / "carboy_alias.pth").read_text()


@pytest.mark.slow
def test_beside_the_real_flask(tmp_path: Path) -> None:
    """In a new environment with both: each command of Flask's, with the switch and without, installed either way."""
    venv.create(tmp_path / "env", with_pip=True)
    bin_ = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_", "PYTHON"))}

    def install(*what: str) -> None:
        command = [str(bin_ / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
        got = subprocess.run(command, capture_output=True, text=True, env=plain, check=False)
        if got.returncode != 0:
            pytest.skip(f"nothing can be downloaded here: {got.stderr[-200:]}")

    def said(*command: str, **variables: str) -> list[str]:
        done = subprocess.run(
            [str(bin_ / command[0]), *command[1:], "--app", "shop", "who"],
            capture_output=True, text=True, cwd=tmp_path, env={**plain, **variables}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    (tmp_path / "shop.py").write_text(
        "import subprocess, sys, flask\napp = flask.Flask(__name__)\n@app.cli.command()\ndef who():\n"
        "    print(flask.Flask.__module__, flush=True)\n"
        "    subprocess.run([sys.executable, '-c', 'import flask; print(flask.Flask.__module__)'], check=True)\n"
    )
    for what in ([str(PROJECT), "flask==3.1.3"], ["--no-deps", "--editable", str(PROJECT)]):
        install(*what)
        assert said("flask") == ["flask.app"] * 2
        assert said("python", "-m", "flask") == ["flask.app"] * 2
        assert said("flask", CARBOY_ALIAS="1") == [OURS] * 2
        assert said("python", "-m", "flask", CARBOY_ALIAS="1") == [OURS] * 2
        assert said("carboy", "flask") == [OURS] * 2
