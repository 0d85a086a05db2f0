"""Flash messages: kept in the session until a page shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..pipeline.signals import message_flashed
from .ctx import Context


def flash(ctx: Context, message: str, category: str = "message") -> None:
    """Keep a message for the next page."""
    # Not setdefault().append(): the session sees only assignments.
    flashes = ctx.session.get("_flashes", [])
    flashes.append((category, message))
    ctx.session["_flashes"] = flashes
    if message_flashed.receivers:
        app: Any = ctx.app
        message_flashed.send(app, _async_wrapper=app.ensure_sync, message=message, category=category)


def get_flashed_messages(ctx: Context, with_categories: bool = False, category_filter: Iterable[str] = ()) -> list[Any]:
    """Take the messages out of the session; asked again in the same request, it gives the same."""
    flashes = ctx.flashes
    if flashes is None:
        flashes = ctx.session.pop("_flashes") if "_flashes" in ctx.session else []
        ctx.flashes = flashes
    wanted = set(category_filter)
    if wanted:
        flashes = [pair for pair in flashes if pair[0] in wanted]
    return flashes if with_categories else [message for _, message in flashes]
