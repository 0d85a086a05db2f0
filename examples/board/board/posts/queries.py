"""The SQL of posts, comments and topics."""

import re
from collections.abc import Sequence
from sqlite3 import Connection, Row
from typing import Any

from ..paging import Page, Span
from ..text import END_FOUND, FOUND
from .pictures import Picture

# A post as lists show it. The text is the beginning of the body; a search shows the place it found instead.
LISTED = """
    SELECT posts.id, posts.title, posts.picture, posts.picture_alt, posts.comment_count,
           posts.created_at, posts.active_at, users.name AS author,
           topics.slug AS topic, topics.name AS topic_name, {text} AS text
    FROM posts
    JOIN users ON users.id = posts.author_id
    JOIN topics ON topics.id = posts.topic_id
"""


def topics(db: Connection) -> list[Row]:
    """List the topics with the number of posts in each."""
    return db.execute("SELECT * FROM topics ORDER BY id").fetchall()


def newest(db: Connection, span: Span, *, topic_id: int | None = None, author_id: int | None = None) -> Page:
    """List posts, those with the newest activity first."""
    where, values = "", []
    if topic_id is not None:
        where, values = "WHERE posts.topic_id = ?", [topic_id]
    elif author_id is not None:
        where, values = "WHERE posts.author_id = ?", [author_id]
    rows = db.execute(
        f"{LISTED.format(text='substr(posts.body, 1, 280)')} {where}"
        " ORDER BY posts.active_at DESC, posts.id DESC LIMIT ? OFFSET ?",
        [*values, *span.limits],
    )
    return Page.cut(rows.fetchall(), span)


def search(db: Connection, words: str, span: Span) -> Page:
    """List the posts that have all these words (or words that begin so), the best first."""
    # Quoted, a word is only a word: nobody writes FTS5's query language by accident.
    wanted = " ".join(f'"{word}"*' for word in re.findall(r"\w+", words)[:10])
    if not wanted:
        return Page.cut([], span)
    rows = db.execute(
        LISTED.format(text="snippet(posts_index, 1, ?, ?, '…', 40)")
        + " JOIN posts_index ON posts_index.rowid = posts.id"
        " WHERE posts_index MATCH ? ORDER BY bm25(posts_index, 5.0, 1.0) LIMIT ? OFFSET ?",
        [FOUND, END_FOUND, wanted, *span.limits],
    )
    return Page.cut(rows.fetchall(), span)


def post(db: Connection, post_id: int) -> Row | None:
    """Find one post with its whole text."""
    return db.execute(
        """
        SELECT posts.*, users.name AS author, topics.slug AS topic, topics.name AS topic_name
        FROM posts
        JOIN users ON users.id = posts.author_id
        JOIN topics ON topics.id = posts.topic_id
        WHERE posts.id = ?
        """,
        (post_id,),
    ).fetchone()


def add_post(
    db: Connection, *, author_id: int, topic_id: int, title: str, body: str, picture: Picture | None = None
) -> int:
    """Keep a new post and return its id."""
    with db:
        made = db.execute(
            "INSERT INTO posts (author_id, topic_id, title, body) VALUES (?, ?, ?, ?) RETURNING id",
            (author_id, topic_id, title, body),
        )
        post_id: int = made.fetchone()["id"]
        if picture:
            set_picture(db, post_id, picture)
    return post_id


def change_post(
    db: Connection, post_id: int, *, topic_id: int, title: str, body: str, picture: Picture | None
) -> None:
    """Change what a post says. Its place in the list stays: an edit is no activity."""
    with db:
        db.execute(
            "UPDATE posts SET topic_id = ?, title = ?, body = ?,"
            " edited_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id = ?",
            (topic_id, title, body, post_id),
        )
        set_picture(db, post_id, picture)


def set_picture(db: Connection, post_id: int, picture: Picture | None) -> None:
    """Note which picture a post has, within the caller's transaction."""
    values: Sequence[Any] = (None, "", None, None)
    if picture:
        values = (picture.name, picture.alt, picture.width, picture.height)
    db.execute(
        "UPDATE posts SET picture = ?, picture_alt = ?, picture_width = ?, picture_height = ? WHERE id = ?",
        (*values, post_id),
    )


def delete_post(db: Connection, post_id: int) -> None:
    """Delete a post and its comments."""
    with db:
        db.execute("DELETE FROM posts WHERE id = ?", (post_id,))


def comments(db: Connection, post_id: int) -> list[Row]:
    """List the comments of a post as they came."""
    return db.execute(
        "SELECT comments.*, users.name AS author FROM comments JOIN users ON users.id = comments.author_id"
        " WHERE post_id = ? ORDER BY comments.id",
        (post_id,),
    ).fetchall()


def comment(db: Connection, comment_id: int) -> Row | None:
    """Find one comment."""
    return db.execute(
        "SELECT comments.*, users.name AS author FROM comments JOIN users ON users.id = comments.author_id"
        " WHERE comments.id = ?",
        (comment_id,),
    ).fetchone()


def add_comment(db: Connection, *, post_id: int, author_id: int, body: str) -> int:
    """Keep a new comment and return its id."""
    with db:
        made = db.execute(
            "INSERT INTO comments (post_id, author_id, body) VALUES (?, ?, ?) RETURNING id",
            (post_id, author_id, body),
        )
        return made.fetchone()["id"]


def delete_comment(db: Connection, comment_id: int) -> None:
    """Delete a comment."""
    with db:
        db.execute("DELETE FROM comments WHERE id = ?", (comment_id,))
