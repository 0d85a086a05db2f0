"""Facts of how the application's own errors are shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from carboy.cli import main
from carboy.cli.trouble import tell
from carboy.core.errors import SetupError

Write = Callable[[str, str], Path]


def raised(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_mistake_in_the_setup_is_a_message_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback: the message says what to do, the place where."""

    def declare() -> None:
        raise SetupError("the route is declared twice")

    code = tell(raised(declare))

    shown = capsys.readouterr().err
    assert code == 2
    assert "Error: the route is declared twice\n  at " in shown
    assert "test_trouble.py:" in shown
    assert "Traceback" not in shown


def test_another_error_is_a_traceback_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """It is the application's to mend."""
    assert tell(raised(lambda: {}["key"])) == 1
    assert "KeyError: 'key'" in capsys.readouterr().err


def test_an_error_of_the_house_itself_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing would be left if our own frames were cut from it."""
    with pytest.raises(SystemExit) as stop:
        main(args=3)  # type: ignore[arg-type]

    shown = capsys.readouterr().err
    assert stop.value.code == 1
    assert shown.startswith("Traceback")
    assert "TypeError" in shown
    assert "cli/__init__.py" in shown


def test_the_command_tells_of_a_duplicate_endpoint(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """From the application's file to the message, through the whole command."""
    write(
        "twice.py",
        """\
        from carboy import Carboy
        app = Carboy(__name__)
        app.add_url_rule("/a", "same", lambda: "a")
        app.add_url_rule("/b", "same", lambda: "b")
        """,
    )

    with pytest.raises(SystemExit) as stop:
        main(["routes", "twice"])

    assert stop.value.code == 2
    assert "twice.py:4" in capsys.readouterr().err
