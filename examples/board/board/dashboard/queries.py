"""The SQL of the dashboard."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from sqlite3 import Connection, Row


@dataclass(frozen=True, slots=True)
class Day:
    """What was written on one day (UTC)."""

    date: date
    posts: int
    comments: int

    @property
    def all(self) -> int:
        """Both together."""
        return self.posts + self.comments


def totals(db: Connection) -> Row:
    """Count what there is."""
    return db.execute(
        """
        SELECT (SELECT count(*) FROM users) AS people,
               (SELECT total(post_count) FROM topics) AS posts,
               (SELECT count(*) FROM comments) AS comments,
               (SELECT count(*) FROM posts WHERE picture IS NOT NULL) AS pictures
        """
    ).fetchone()


def by_day(db: Connection, days: int) -> list[Day]:
    """Count what was written on each of the last days; today comes last."""
    today = datetime.now(UTC).date()
    first = today - timedelta(days=days - 1)
    posts = count_by_day(db, "posts", first)
    comments = count_by_day(db, "comments", first)
    dates = [first + timedelta(days=n) for n in range(days)]
    return [Day(day, posts.get(str(day), 0), comments.get(str(day), 0)) for day in dates]


def count_by_day(db: Connection, table: str, first: date) -> dict[str, int]:
    """Count the rows of each day since the first; a day without any is not in the answer."""
    counts = db.execute(
        f"SELECT substr(created_at, 1, 10), count(*) FROM {table} WHERE created_at >= ? GROUP BY 1",
        (str(first),),
    )
    return dict(counts.fetchall())


def by_topic(db: Connection) -> list[Row]:
    """List the topics, the largest first."""
    return db.execute("SELECT slug, name, post_count FROM topics ORDER BY post_count DESC, id").fetchall()


def most_discussed(db: Connection, many: int) -> list[Row]:
    """List the posts with the most comments."""
    return db.execute(
        "SELECT id, title, comment_count FROM posts WHERE comment_count > 0"
        " ORDER BY comment_count DESC, active_at DESC LIMIT ?",
        (many,),
    ).fetchall()


def newcomers(db: Connection, many: int) -> list[Row]:
    """List those who joined last."""
    return db.execute("SELECT name, joined_at FROM users ORDER BY id DESC LIMIT ?", (many,)).fetchall()
