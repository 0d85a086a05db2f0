"""The board: a bulletin board for people who ferment things.

``create_app`` is the parts list, in order. Each part lives in the file or the package named after it.
"""

from collections.abc import Mapping
from typing import Any

from carboy import Carboy
from carboy.batteries.compress import Compression
from carboy.batteries.security import SecurityHeaders

from . import accounts, api, commands, dashboard, database, errors, origin, posts, rowid, settings, text


def create_app(config: Mapping[str, Any] | None = None) -> Carboy:
    """Build the board, ready to serve: an empty folder is all it needs.

    Args:
        config: settings that win over ``BOARD_*`` variables and over the defaults in ``settings.py``.
    """
    app = Carboy(__name__)

    settings.init_app(app, config)
    database.init_app(app)
    origin.init_app(app)
    errors.init_app(app)
    text.init_app(app)
    posts.listing.init_app(app)
    rowid.init_app(app)
    app.fit(SecurityHeaders())
    app.fit(Compression())

    app.register_blueprint(accounts.bp)
    app.register_blueprint(posts.bp)
    app.register_blueprint(posts.live_bp)
    app.register_blueprint(dashboard.bp)
    app.register_blueprint(api.bp)
    app.register_blueprint(commands.bp)

    return app
