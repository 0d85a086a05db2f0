"""Serve applications of other people with `carboy run` and use them: `python tests/applications/runner.py [pytest's arguments]`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "extensions"))

from environment import environment  # noqa: E402  # after the path

if __name__ == "__main__":
    for requirements in sorted(HERE.glob("*.txt")):
        environment(requirements)  # first: a download must not count against a test's time
    sys.exit(pytest.main([str(HERE), "-v", *sys.argv[1:]]))
