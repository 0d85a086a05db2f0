"""What happens while a page is open: comments as they come, who is reading, who is typing, and what is new on the board.

A post has a channel; each open page of it holds a WebSocket, and reads there. The front page reads the channel of the
whole board, as a stream of events. Who writes only announces it: nothing here knows who listens, or in which process.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from sqlite3 import Row
from typing import Any, Literal

import msgspec
from carboy import (
    Blueprint,
    Carboy,
    EventStream,
    Request,
    WebSocket,
    current_app,
    g,
    render_template,
    url_for,
)
from carboy.realtime.channels import ChannelsError, Subscription
from carboy.realtime.sse import Event

from ..database import get_db, give_back
from . import queries

ACTIVITY = "activity"

log = logging.getLogger(__name__)

bp = Blueprint("live", __name__)


class Typing(msgspec.Struct):
    """What a page may tell."""

    kind: Literal["typing"]


def channel_of(post_id: int) -> str:
    """The name of a post's channel."""
    return f"post:{post_id}"


# Reading


@bp.websocket("/posts/<id:post_id>/live")
async def live(ws: WebSocket, post_id: int, app: Carboy) -> str | tuple[str, int] | None:
    """Tell a reader of a post what happens to it; the page may say that its reader is typing."""
    user = g.user
    if queries.post(get_db(), post_id) is None:
        return "This post does not exist, or not any more.", 404
    await ws.accept()
    give_back()  # a page is open for hours; no connection is kept for it

    channel = channel_of(post_id)
    who = user["name"] if user else f"guest-{secrets.token_hex(8)}"
    async with (
        app.channels.subscribe(channel, presence=True) as news,
        app.channels.present(channel, who),
        asyncio.TaskGroup() as both,
    ):
        telling = both.create_task(tell(ws, app, news))
        async for _ in ws.messages(Typing):
            if user:
                await app.channels.publish(channel, {"kind": "typing", "who": user["name"]})
        telling.cancel()
    return None


async def tell(ws: WebSocket, app: Carboy, news: Subscription) -> None:
    """Send on what is published, and how many read whenever that changes."""
    async for message in news:
        if message.event == "message":
            await ws.send(message.text)
        else:
            await ws.send({"kind": "readers", "count": len(await app.channels.presence(message.topic))})


@bp.get("/activity")
async def activity(request: Request, app: Carboy) -> EventStream:
    """Stream what is new on the board; who comes back after a break gets what was missed."""

    async def events() -> AsyncIterator[Event]:
        async with app.channels.subscribe(ACTIVITY, after=request.last_event_id) as news:
            async for message in news:
                yield Event(message.data, id=message.id)

    return EventStream(events())


# Announcing


def announce_post(post: Row) -> None:
    """Tell everybody that there is a new post."""
    announce(ACTIVITY, {"kind": "post", **activity_of(post)})


def announce_comment(post: Row, comment: Row) -> None:
    """Show a new comment to those who read the post, and tell the others that there is one."""
    html = render_template("posts/comment.html", post=post, comment=comment)
    announce(channel_of(post["id"]), {"kind": "comment", "id": comment["id"], "html": html})
    announce(ACTIVITY, {"kind": "comment", **activity_of(post), "author": comment["author"]})


def announce_gone(post_id: int, comment_id: int) -> None:
    """Take a deleted comment off the pages that show it."""
    announce(channel_of(post_id), {"kind": "gone", "id": comment_id})


def activity_of(post: Row) -> dict[str, Any]:
    """What the activity stream says of a post."""
    return {"title": post["title"], "author": post["author"], "page": url_for("posts.read", post_id=post["id"])}


def announce(channel: str, message: dict[str, Any]) -> None:
    """Publish; what was written is kept, so a broker that is away only means that pages show it later."""
    try:
        current_app.channels.sync.publish(channel, message, timeout=2)
    except ChannelsError:
        log.warning("Nobody could be told of a %s: the channels are away.", message["kind"], exc_info=True)
