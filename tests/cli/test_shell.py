"""Facts of `carboy shell`: what is at hand at its prompt."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


def test_the_shell_has_the_application_and_an_active_context(run: Run, shop: str) -> None:
    """`app` and `g` are there, and so is what the context gives."""
    result = run("shell", shop, input="app.name\nfrom carboy import current_app\ncurrent_app.name + '!'\n")

    assert result.exit_code == 0, result.output
    assert "App: little_shop" in result.stdout
    assert "'little_shop'" in result.stdout
    assert "'little_shop!'" in result.stdout


def test_shell_context_processors_add_names(run: Run, write: Callable[[str, str], Path]) -> None:
    """The application decides what else is at hand."""
    write(
        "processors.py",
        """
        from carboy import Carboy
        app = Carboy(__name__)

        @app.shell_context_processor
        def names():
            return {"answer": 42}
        """,
    )

    assert "43" in run("shell", "processors", input="answer + 1\n").stdout


def test_await_works_at_the_prompt_on_one_loop(run: Run, shop: str) -> None:
    """What is bound to a loop in one line is still good in the next."""
    lines = "import asyncio\nwork = asyncio.ensure_future(asyncio.sleep(0, 'slept'))\nawait work\n"
    lines = lines.replace("work = ", "async def start(): return ").replace("await work", "\nwork = await start()\nawait work")

    assert "'slept'" in run("shell", shop, input=lines).stdout


def test_an_error_at_the_prompt_leaves_the_shell_open(run: Run, shop: str) -> None:
    """Awaited or not, the next line runs."""
    result = run("shell", shop, input="1 / 0\nasync def fail(): raise LookupError('late')\n\nawait fail()\n'still ' + 'here'\n")

    assert "ZeroDivisionError" in result.stderr
    assert "LookupError: late" in result.stderr
    assert "'still here'" in result.stdout


def test_the_interpreters_startup_file_is_run(
    run: Run, shop: str, write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONSTARTUP is read as the interpreter does."""
    monkeypatch.setenv("PYTHONSTARTUP", str(write("startup.py", "from_startup = 'read'")))

    assert "'read!'" in run("shell", shop, input="from_startup + '!'\n").stdout
