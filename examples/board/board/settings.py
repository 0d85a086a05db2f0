"""What can be set, and where the values come from: these defaults, then ``BOARD_*``, then the caller.

Everything the board keeps (database, pictures, secret key) lies in one folder, ``DATA``, so that a
backup, a container or a test has one place to point at.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carboy import Carboy

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
        app.config["SECRET_KEY"] = kept_secret(data / "secret_key")


def kept_secret(path: Path) -> str:
    """Return the secret in this file; make one at the first start.

    Several workers may start at the same moment. A link appears whole or not at all, so the first one
    wins and the others read what it wrote.
    """
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another worker was faster
        finally:
            draft.unlink()
    return path.read_text()
