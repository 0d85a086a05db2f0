"""The demo: ``content.toml``, its pictures, and how they get on an empty board."""

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from ..accounts.queries import add_user, set_about, user_by_name
from ..posts import queries
from ..posts.pictures import Picture, PictureRefused, keep_picture, pictures_folder
from ..posts.rules import find_topic

HERE = Path(__file__).parent

Warn = Callable[[str], None]


def is_empty(db: Connection) -> bool:
    """Say whether nobody has joined this board yet."""
    return db.execute("SELECT 1 FROM users").fetchone() is None


def fill(db: Connection, password: str, warn: Warn) -> list[str]:
    """Put the demo on the board and return the names of its people, who share a password."""
    demo = tomllib.loads((HERE / "content.toml").read_text())
    for person in oldest_first(demo["people"]):
        user = add_user(db, person["name"], password)
        set_about(db, user["id"], person["about"])
        backdate(db, "users", "joined_at", user["id"], person["ago"])
    for post in oldest_first(demo["posts"]):
        add_post(db, post, warn)
    return [person["name"] for person in demo["people"]]


def add_post(db: Connection, post: dict[str, Any], warn: Warn) -> None:
    """Keep one post of the demo, and its comments."""
    topic = find_topic(queries.topics(db), post["topic"])
    if topic is None:
        raise ValueError(f"demo/content.toml: {post['title']!r} is in no topic of the board.")
    post_id = queries.add_post(
        db,
        author_id=id_of(db, post["by"]),
        topic_id=topic["id"],
        title=post["title"],
        body=post["body"].strip(),
        picture=picture_of(post, warn),
    )
    backdate(db, "posts", "created_at", post_id, post["ago"])
    backdate(db, "posts", "active_at", post_id, post["ago"])
    for comment in post.get("comments", []):
        comment_id = queries.add_comment(
            db, post_id=post_id, author_id=id_of(db, comment["by"]), body=comment["body"]
        )
        backdate(db, "comments", "created_at", comment_id, comment["ago"])
        backdate(db, "posts", "active_at", post_id, comment["ago"])


def picture_of(post: dict[str, Any], warn: Warn) -> Picture | None:
    """Keep the picture of a demo post, if it has one and Pillow is there."""
    if "picture" not in post:
        return None
    with (HERE / post["picture"]).open("rb") as file:
        try:
            return keep_picture(file, pictures_folder(), post["picture_alt"])
        except PictureRefused as refusal:
            warn(f"Without {post['picture']}: {refusal}")
            return None


def id_of(db: Connection, name: str) -> int:
    """The id of somebody in the demo."""
    user = user_by_name(db, name)
    if user is None:
        raise ValueError(f"demo/content.toml: {name} writes, but is not among the people.")
    return user["id"]


def backdate(db: Connection, table: str, column: str, row_id: int, hours: float) -> None:
    """Let something have happened some hours ago."""
    moment = datetime.now(UTC) - timedelta(hours=hours)
    with db:
        db.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (f"{moment:%Y-%m-%dT%H:%M:%SZ}", row_id))


def oldest_first(things: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort by age, so that ids rise with time as on a board that has grown."""
    return sorted(things, key=lambda thing: -thing["ago"])
