"""`CARBOY_ALIAS=1`: every program of this environment that imports Flask gets Carboy, `flask db upgrade` among them.

`carboy_alias.pth`, beside this file in an installation, is read when an interpreter starts, and calls `install` if the
variable says so. A program that never imports Flask must not pay for it, so nothing of Carboy is imported here before
`import flask` is met; that is also why this module stands beside the package and not in it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class Waiting:
    """A finder that waits for the first `import flask`, and then gives its place to Carboy's own."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] != "flask":
            return None
        remove()
        from importlib.util import find_spec

        from carboy.alias import install as install_alias

        install_alias()
        return find_spec(name)


def install() -> None:
    """Wait for `import flask`; does nothing where it waits already."""
    if not any(isinstance(finder, Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, Waiting())


def remove() -> None:
    """Wait no longer."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Waiting)]
