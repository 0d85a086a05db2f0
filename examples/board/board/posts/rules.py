"""What a post has to be, and who may touch it: the same rules for the pages and for the API."""

from sqlite3 import Row

from carboy import abort, g

from ..database import get_db
from ..forms import Form
from . import queries
from .pictures import delete_picture, pictures_folder


def find_post(post_id: int) -> Row:
    """Return a post, or answer 404."""
    return queries.post(get_db(), post_id) or abort(404, "This post does not exist, or not any more.")


def own(row: Row) -> Row:
    """Return a post or a comment if the present user wrote it, or answer 403."""
    if g.user is None or row["author_id"] != g.user["id"]:
        abort(403)
    return row


def remove_post(post: Row) -> None:
    """Delete a post, its comments and its picture."""
    queries.delete_post(get_db(), post["id"])
    if post["picture"]:
        delete_picture(post["picture"], pictures_folder())


def find_topic(topics: list[Row], slug: str) -> Row | None:
    """Find a topic by its name in URLs."""
    return next((topic for topic in topics if topic["slug"] == slug), None)


def read_post(form: Form, topics: list[Row]) -> tuple[int, str, str]:
    """Read topic, title and text of a post."""
    title = form.text("title", "The title", least=3, most=120)
    body = form.text("body", "The text", least=1, most=20_000)
    topic = find_topic(topics, form.text("topic", "The topic", least=1, most=40))
    if topic is None and "topic" not in form.errors:
        form.errors["topic"] = "There is no such topic."
    return topic["id"] if topic else 0, title, body


def read_comment(form: Form) -> str:
    """Read the text of a comment."""
    return form.text("body", "The comment", least=1, most=4_000)
