"""`pytest -p carboy.testing.alias`: `import flask` gives this framework in the whole test run.

Loaded before the tests and their conftest files, so that whatever imports Flask finds the alias.
"""

from __future__ import annotations

from importlib import import_module

# By its name, as the command line and pytest itself load things: the alias stands above this room, which must not
# know it (DESIGN.md, Floors); this file is only the switch.
import_module("carboy.alias").install()
