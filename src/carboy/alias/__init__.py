"""`import flask` is answered by Carboy.

`carboy` installs this on import, so that an application or an extension written for Flask finds Carboy under Flask's
names. `CARBOY_ALIAS=0` turns it off. The real Flask, if it is installed, is never loaded beside it.
"""

from __future__ import annotations

import os
import sys

from .finder import PREFIX, AliasFinder


class FlaskIsLoaded(ImportError):
    """The real Flask was imported before the alias was installed."""


def install() -> None:
    """Answer `flask` and `flask.*` with the modules of `carboy.alias.flask`.

    Raises:
        FlaskIsLoaded: the real Flask has been imported in this process already; two worlds would mix.
    """
    if any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        return
    real = sys.modules.get("flask")
    if real is not None and not getattr(real, "__name__", "").startswith(PREFIX):
        raise FlaskIsLoaded(
            f"Flask itself has been imported already, from {getattr(real, '__file__', '?')}; import carboy (or call"
            " carboy.alias.install()) before the first `import flask`, or set CARBOY_ALIAS=0 to keep Carboy out of its way"
        )
    sys.meta_path.insert(0, AliasFinder())


def install_unless_told() -> None:
    """Install at `import carboy`, unless `CARBOY_ALIAS=0`, or the real Flask is there already.

    In the latter case `import flask` keeps giving the real one; whoever wants the alias calls `install`, which says why
    it cannot be.
    """
    if os.environ.get("CARBOY_ALIAS", "1") == "0":
        return
    real = sys.modules.get("flask")
    if real is not None and not getattr(real, "__name__", "").startswith(PREFIX):
        return
    install()
