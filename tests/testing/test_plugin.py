"""The pytest plugin, in test runs of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import carboy

SOURCE = Path(carboy.__file__).parent


@pytest.fixture
def run(tmp_path):
    """Run pytest on some files, with the plugin and no other; give what it printed."""

    def run(*args, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        environ = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(SOURCE.parent), str(tmp_path)]),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "carboy_pytest", *args]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120).stdout

    return run


CONFTEST = """
    import click, pytest
    from carboy import Carboy, request

    @pytest.fixture
    def app():
        app = Carboy("board")
        app.add_url_rule("/", view_func=lambda: "ok")
        app.add_url_rule("/door", endpoint="door", view_func=lambda: str("asgi.scope" in request.environ))
        app.cli.command("hello")(lambda: click.echo("Hello!"))
        return app
"""


def test_fixtures_work_on_the_apps(run):
    """client, async_client, runner and live_server need no more than an app fixture."""
    output = run(
        conftest=CONFTEST,
        test_it="""
            import asyncio
            from urllib.request import urlopen

            def test_client(client):
                assert client.get("/").text == "ok"

            def test_async_client(async_client):
                assert asyncio.run(async_client.get("/")).text == "ok"

            def test_runner(runner):
                assert runner.invoke(args=["hello"]).output == "Hello!\\n"

            def test_live_server(live_server):
                assert urlopen(live_server.url + "/").read() == b"ok"
        """,
    )

    assert "4 passed" in output, output


def test_door_of_all_clients_may_be_chosen(run):
    """--carboy-door sends the requests of a whole run through another door."""
    test = """
        def test_door(client):
            assert client.get("/door").text == "{}"
    """

    assert "1 passed" in run(conftest=CONFTEST, test_it=test.format(False))
    assert "1 passed" in run("--carboy-door=asgi", conftest=CONFTEST, test_it=test.format(True))


def test_conftest_wins(run):
    """A project's own client is the one that its tests get."""
    own = """
    @pytest.fixture
    def client():
        return "mine"
    """

    output = run(conftest=CONFTEST + own, test_it="def test_it(client, runner):\n    assert client == 'mine'\n")

    assert "1 passed" in output, output


def test_other_plugins_win(run):
    """Where another plugin has a fixture of the same name, that one is left alone, whichever was loaded first."""
    other = """
        import pytest

        @pytest.fixture
        def client():
            return "other"
    """
    test = "def test_it(client, runner):\n    assert client == 'other'\n"

    assert "1 passed" in run("-p", "other", other=other, conftest=CONFTEST, test_it=test)


def test_run_without_an_app_is_not_disturbed(run):
    """Tests that have nothing to do with it run as if the plugin were not there."""
    assert "1 passed" in run(test_it="def test_it():\n    pass\n")


def test_plugin_file_imports_nothing_but_pytest(tmp_path):
    """Loading the plugin costs nothing: what its fixtures need is imported when they are used."""
    code = f"""
        import importlib.util, sys
        import pytest
        before = set(sys.modules)
        spec = importlib.util.spec_from_file_location("plugin", {str(SOURCE.parent / "carboy_pytest.py")!r})
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        print(sorted(name for name in set(sys.modules) - before if name.partition(".")[0] in {{"carboy", "werkzeug", "flask"}}))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]

    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout

    assert output == "[]\n"


def test_alias_is_installed_for_the_whole_run(run):
    """With -p carboy.testing.alias, `import flask` in the tests gives this framework."""
    output = run(
        "-p", "carboy.testing.alias", test_it="import carboy, flask\ndef test_it():\n    assert flask.Blueprint is carboy.Blueprint\n"
    )

    assert "1 passed" in output, output
