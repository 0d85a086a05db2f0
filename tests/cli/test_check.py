"""Facts of `carboy check`: mistakes that can be found without a request."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
Write = Callable[[str, str], Path]


def test_a_sound_application_passes(run: Run, shop: str) -> None:
    """The count says that something was looked at."""
    result = run("check", "-A", shop)

    assert result.exit_code == 0, result.output
    assert result.output.strip().endswith("checks, nothing found.")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("@app.get('/x/<a>')\ndef view(b): return b", "routes: the view of '/x/<a>'"),
        (
            "from carboy.batteries.security import Security\napp.config['CROSS_ORIGIN_EXEMPT'] = ['nobody']\napp.fit(Security())",
            "cross_origin.exempt: CROSS_ORIGIN_EXEMPT has 'nobody'",
        ),
    ],
)
def test_a_mistake_is_told_with_its_check(run: Run, write: Write, body: str, said: str) -> None:
    """The command leaves with 1, so that a pipeline stops."""
    write("wrong.py", f"from carboy import Carboy\napp = Carboy(__name__)\n{body}\n")

    result = run("check", "-A", "wrong.py")

    assert result.exit_code == 1
    assert said in result.output
