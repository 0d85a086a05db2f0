"""The response an app makes: the wire's, and what it can know through its app."""

from __future__ import annotations

from ..wire.response import Response as WireResponse
from .ctx import app_var
from .request import AppJSON


class Response(WireResponse):
    """An HTTP response."""

    json_module = AppJSON  # type: ignore[assignment]  # what it uses of a module

    @property
    def max_cookie_size(self) -> int:  # type: ignore[override]  # a plain number in Werkzeug's
        """Bytes beyond which a cookie is warned of; the config's `MAX_COOKIE_SIZE`."""
        ctx = app_var.get(None)
        if ctx is None:
            return WireResponse.max_cookie_size
        return int(ctx.app.config["MAX_COOKIE_SIZE"])
