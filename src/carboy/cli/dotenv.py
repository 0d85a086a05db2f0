"""Environment variables from files: `.flaskenv` and `.carboyenv` for what may be committed, `.env` for what may not.

Needs python-dotenv; without it a tip is shown where such a file lies.
"""

import importlib
import os
from pathlib import Path

import click

#: Searched upwards from the working directory; a later file outranks an earlier one.
DEFAULT_FILES = (".flaskenv", ".carboyenv", ".env")


def load_dotenv(path: str | os.PathLike[str] | None = None, load_defaults: bool = True) -> bool:
    """Set environment variables from files; those that are set already stay as they are.

    Args:
        path: outranks the default files.
        load_defaults: read the default files too.

    Returns:
        Whether a file gave any variable. Always False without python-dotenv.
    """
    try:
        # Optional, so the type checkers must not ask for it.
        dotenv = importlib.import_module("dotenv")
    except ImportError:
        present = [name for name in DEFAULT_FILES if Path(name).is_file()] if load_defaults else []
        if path is not None or present:
            what = os.fspath(path) if path is not None else present[0]
            click.secho(f" * Tip: {what} is not read: install python-dotenv to use such files.", fg="yellow", err=True)
        return False
    found = [dotenv.find_dotenv(name, usecwd=True) for name in DEFAULT_FILES] if load_defaults else []
    if path is not None and Path(path).is_file():
        found.append(os.fspath(path))
    values: dict[str, str | None] = {}
    for file in filter(None, found):
        values |= dotenv.dotenv_values(file, encoding="utf-8")
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)
    return bool(values)
