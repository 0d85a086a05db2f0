"""Which of Flask's names the alias has. Our own modules are asked; the application is not."""

from __future__ import annotations

import importlib
import importlib.util
import warnings

# By its name: the alias stands above the command line, which must not know it.
_ALIAS = f"{__name__.partition('.')[0]}.alias"


def has(dotted: str) -> bool:
    """Whether `flask.x.y` is a module of the alias, or a name in one."""
    parent, _, name = dotted.rpartition(".")
    if not parent:
        return dotted == "flask"
    try:
        module = importlib.import_module(f"{_ALIAS}.{parent}")
    except ModuleNotFoundError:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there and deprecated
        if hasattr(module, name):
            return True
    return hasattr(module, "__path__") and importlib.util.find_spec(f"{_ALIAS}.{dotted}") is not None
