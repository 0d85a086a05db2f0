"""What can be set, and where the values come from: these defaults, then ``BOARD_*``, then the caller.

Everything the board keeps (database, pictures, secret key) lies in one folder, ``DATA``, so that a
backup, a container or a test has one place to point at.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carboy import Carboy

from .once import made_once

DEFAULTS: Mapping[str, Any] = {
    "NAME": "The Board",
    "TAGLINE": "Notes from people who ferment things",
    "POSTS_PER_PAGE": 12,
    "MAX_CONTENT_LENGTH": 8 * 1024 * 1024,  # bytes of one request, a picture included
    "SESSION_COOKIE_NAME": "board",
    "SESSION_COOKIE_SAMESITE": "Lax",
}


def init_app(app: Carboy, config: Mapping[str, Any] | None) -> None:
    """Settle the configuration of this app."""
    app.config.from_mapping(DEFAULTS, DATA=app.instance_path)
    app.config.from_prefixed_env("BOARD")
    app.config.from_mapping(config or {})

    data = app.config["DATA"] = Path(app.config["DATA"]).absolute()
    data.mkdir(parents=True, exist_ok=True)
    if not app.config["SECRET_KEY"]:
        app.config["SECRET_KEY"] = made_once(data / "secret_key", write_secret).read_text()


def write_secret(path: Path) -> None:
    """Write a new secret into a file that only we may read."""
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
