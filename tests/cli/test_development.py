"""Facts of `app.run()`: Werkzeug's server, and silence below a command."""

import pytest
import werkzeug.serving

from carboy import Carboy
from carboy.cli import flask_commands


def test_app_run_serves_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By argument, else by SERVER_NAME, else on port 5000; reloader and debugger follow `debug`."""
    calls: list[tuple[str, int, bool]] = []
    monkeypatch.setattr(
        werkzeug.serving, "run_simple", lambda host, port, app, **options: calls.append((host, port, options["use_reloader"]))
    )
    app = Carboy("shop")

    app.run(load_dotenv=False)
    app.config["SERVER_NAME"] = "shop.example:8080"
    app.run(load_dotenv=False)
    app.run("localhost", 0, debug=True, load_dotenv=False)

    assert calls == [("127.0.0.1", 5000, False), ("shop.example", 8080, False), ("localhost", 0, True)]


def test_a_command_that_imports_a_module_with_app_run_starts_no_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The call is passed over, with a word about the guard that it lacks."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    monkeypatch.setattr(werkzeug.serving, "run_simple", lambda *args, **options: pytest.fail("a server was started"))

    Carboy("shop").run()

    assert "__main__" in capsys.readouterr().out


def test_the_banner_can_be_silenced_where_flask_keeps_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Replacing `flask.cli.show_server_banner` is a habit of many programs."""
    monkeypatch.setattr(werkzeug.serving, "run_simple", lambda *args, **options: None)

    Carboy("shop").run(load_dotenv=False)
    assert "Serving" in capsys.readouterr().out

    monkeypatch.setattr(flask_commands, "show_server_banner", lambda *args: None)
    Carboy("shop").run(load_dotenv=False)
    assert capsys.readouterr().out == ""
