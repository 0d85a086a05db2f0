"""Facts of `python -m flask` where the alias is on."""

from __future__ import annotations

import subprocess
import sys


def test_flask_runs_as_a_program():
    """The module runs as a program under its own name: the command line is Carboy's."""
    done = subprocess.run(
        [sys.executable, "-c", "import carboy, runpy; runpy.run_module('flask', run_name='__main__', alter_sys=True)", "routes", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_alias_runs_as_a_program():
    """The file below the alias runs as a program too."""
    done = subprocess.run([sys.executable, "-m", "carboy.alias.flask", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout
