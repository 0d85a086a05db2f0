"""Facts of `carboy run`: its flags are the server's options, and what reaches the server."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import carboy.server
from carboy.cli.run import COMMON, environment
from carboy.server.options import Options

Run = Callable[..., Result]
Write = Callable[[str, str], Path]
Served = list[tuple[str | None, Options]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, write: Write) -> Served:
    """What the server would have been called with, in a project that has an application."""
    write("app.py", "")
    calls: Served = []

    def serve(target: str | None, options: Options, around: object = None) -> int:
        calls.append((target, options))
        return 3

    monkeypatch.setattr(carboy.server, "serve", serve)
    return calls


def test_target_and_options_reach_the_server_and_its_exit_code_the_shell(run: Run, served: Served, write: Write) -> None:
    """The application is not loaded here: its name is passed on."""
    write("not_loaded.py", "raise Exception")
    result = run("run", "not_loaded:app", "--workers", "2", "-p", "9000", "--no-keep-alive", "--stop-timeout", "1m")

    assert result.exit_code == 3
    ((target, options),) = served
    assert target == "not_loaded:app"
    assert (options.workers, options.port, options.keep_alive, options.stop_timeout) == (2, 9000, False, 60.0)


def test_without_a_target_the_groups_is_taken(run: Run, served: Served, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """`carboy -A shop run`, the variable, or nothing at all."""
    for name in ("one.py", "two.py", "three.py"):
        write(name, "")

    run("-A", "one", "run")
    run("run", "-A", "two")
    run("run")
    monkeypatch.setenv("FLASK_APP", "three")
    run("run")

    assert [target for target, _ in served] == ["one", "two", None, "three"]


@pytest.mark.parametrize("target", ["no_such_module", "no/such/file.py", "no_such_package.web:app"])
def test_a_target_that_does_not_exist_is_told_before_anything_starts(run: Run, served: Served, target: str) -> None:
    """Exit code 2, as for every mistake in the command."""
    result = run("run", target)

    assert result.exit_code == 2
    assert "Could not import" in result.stderr
    assert not served


def test_no_target_and_nothing_to_find_is_told_before_anything_starts(run: Run, served: Served, tmp_path: Path) -> None:
    """The ways to name an application are told."""
    (tmp_path / "app.py").unlink()

    result = run("run")

    assert result.exit_code == 2
    assert "CARBOY_APP" in result.stderr
    assert not served


def test_every_option_of_the_server_is_a_flag(run: Run) -> None:
    """The long page has them all, the short one the common."""
    short, whole = run("run", "--help").output, run("run", "--help-all").output

    for each in Options.fields():
        assert each.flag in whole
        assert (f"{each.flag} " in short) is (each.name in COMMON)


def test_the_short_help_page_is_grouped_and_fits_a_screen(run: Run) -> None:
    """Forty lines, with the server's own headings."""
    output = run("run", "--help").output

    assert len(output.splitlines()) <= 40
    assert "Where to listen:" in output


@pytest.mark.parametrize("spelling", ["--tls-cert", "--certfile", "--cert"])
def test_the_certificate_may_be_called_as_other_servers_call_it(
    run: Run, served: Served, tmp_path: object, spelling: str
) -> None:
    """The flags of gunicorn, uvicorn and flask are understood."""
    key = spelling.replace("cert", "key")

    run("run", spelling, __file__, key, __file__)

    ((_, options),) = served
    assert (options.tls_cert, options.tls_key) == (__file__, __file__)


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({"FLASK_RUN_PORT": "1"}, 1),
        ({"FLASK_RUN_PORT": "1", "CARBOY_PORT": "2"}, 2),
        ({"FLASK_RUN_PORT": "1", "CARBOY_PORT": "2", "CARBOY_RUN_PORT": "3"}, 3),
    ],
)
def test_variables_stand_in_for_flags(
    run: Run, served: Served, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], port: int
) -> None:
    """`flask run`'s are the farthest, those of this verb the nearest; a flag outranks all."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    run("run")
    run("run", "--port", "4")

    assert [options.port for _, options in served] == [port, 4]


@pytest.mark.parametrize("variable", ["FLASK_RUN_PORT", "CARBOY_PORT", "CARBOY_RUN_PORT"])
def test_a_wrong_value_is_told_with_where_it_stands(
    run: Run, served: Served, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The reader learns which variable to mend."""
    monkeypatch.setenv(variable, "many")

    result = run("run")

    assert result.exit_code == 2
    assert f"{variable} is 'many'; a whole number is expected" in result.stderr
    assert not served


def test_a_wrong_flag_is_told_with_what_would_fit(run: Run, served: Served) -> None:
    """The server's own words, once."""
    result = run("run", "--workers", "lots")

    assert result.exit_code == 2
    assert "Error: --workers is 'lots'; a number of processes is expected, or auto" in result.stderr


def test_options_that_exclude_each_other_are_refused_before_anything_starts(run: Run, served: Served) -> None:
    """The server is not called."""
    result = run("run", "--unix", "/tmp/x.sock", "--fastcgi", "unix:/tmp/y.sock")

    assert result.exit_code == 2
    assert "both say where to listen" in result.stderr
    assert not served


def test_debug_reaches_the_workers_through_the_environment(run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers inherit what the flag sets."""
    import os

    run("run", "--debug")

    assert os.environ["FLASK_DEBUG"] == "1"


def test_only_carboys_variables_are_handed_to_the_server() -> None:
    """An empty borrowed variable counts as not given."""
    assert environment({"PATH": "/bin", "FLASK_RUN_HOST": "", "CARBOY_WORKERS": "2"}) == {"CARBOY_WORKERS": "2"}
