"""The API. Whoever may not log in with a browser sends ``Authorization: Bearer <token>`` (see settings).

Handler classes keep the methods of one address together; the request comes in as a parameter.
"""

from sqlite3 import Row
from typing import Any

from carboy import Blueprint, Handler, Request, abort, g, url_for
from carboy.typing import ResponseReturnValue

from ..accounts import login_required
from ..database import get_db
from ..forms import Form
from ..paging import asked_span
from ..posts import queries
from ..posts.live import announce_comment, announce_post
from ..posts.rules import find_post, find_topic, own, read_comment, read_post, remove_post

bp = Blueprint("api", __name__, url_prefix="/api")


class Posts(Handler):
    """All posts: ``/api/posts``."""

    def get(self, request: Request) -> ResponseReturnValue:
        """List posts, newest activity first; ``?topic=``, ``?q=`` (search) and ``?page=`` choose."""
        db, span, args = get_db(), asked_span(), request.args
        if "q" in args:
            page = queries.search(db, args["q"], span)
        elif "topic" in args:
            topic = find_topic(queries.topics(db), args["topic"]) or abort(404, "There is no such topic.")
            page = queries.newest(db, span, topic_id=topic["id"])
        else:
            page = queries.newest(db, span)
        return {
            "posts": [post_in_list(row) for row in page.rows],
            "previous": neighbour(request, page.previous),
            "next": neighbour(request, page.next),
        }

    @login_required
    def post(self, request: Request) -> ResponseReturnValue:
        """Write a post: ``{"topic": "beer", "title": …, "body": …}``."""
        form = sent_form(request)
        topic_id, title, body = read_post(form, queries.topics(get_db()))
        if not form.ok:
            return refusal(form)
        post_id = queries.add_post(
            get_db(), author_id=g.user["id"], topic_id=topic_id, title=title, body=body
        )
        announce_post(find_post(post_id))
        return whole_post(find_post(post_id)), 201, {"Location": url_for("api.post", id=post_id)}


class Post(Handler):
    """One post: ``/api/posts/7``."""

    def get(self, id: int) -> ResponseReturnValue:
        """Give a post with its comments."""
        return whole_post(find_post(id))

    @login_required
    def delete(self, id: int) -> ResponseReturnValue:
        """Delete one's post."""
        remove_post(own(find_post(id)))
        return "", 204


class Comments(Handler):
    """The comments of a post: ``/api/posts/7/comments``."""

    @login_required
    def post(self, request: Request, id: int) -> ResponseReturnValue:
        """Comment on a post: ``{"body": …}``."""
        post = find_post(id)
        form = sent_form(request)
        body = read_comment(form)
        if not form.ok:
            return refusal(form)
        comment_id = queries.add_comment(get_db(), post_id=id, author_id=g.user["id"], body=body)
        comment = queries.comment(get_db(), comment_id) or abort(404)
        announce_comment(post, comment)
        return one_comment(comment), 201


bp.add_url_rule("/posts", view_func=Posts.as_view("posts"))
bp.add_url_rule("/posts/<id:id>", view_func=Post.as_view("post"))
bp.add_url_rule("/posts/<id:id>/comments", view_func=Comments.as_view("comments"))


# Rows as JSON: each key is written down, so that a new column does not become public by itself.


def post_in_list(row: Row) -> dict[str, Any]:
    """A post as lists show it."""
    return {
        "id": row["id"],
        "title": row["title"],
        "topic": row["topic"],
        "author": row["author"],
        "comment_count": row["comment_count"],
        "created_at": row["created_at"],
        "active_at": row["active_at"],
        "url": url_for("api.post", id=row["id"], _external=True),
        "page": url_for("posts.read", post_id=row["id"], _external=True),
    }


def whole_post(row: Row) -> dict[str, Any]:
    """A post with all that belongs to it."""
    picture = row["picture"]
    return {
        **post_in_list(row),
        "body": row["body"],
        "edited_at": row["edited_at"],
        "picture": picture
        and {
            "url": url_for("posts.picture", name=picture, _external=True),
            "width": row["picture_width"],
            "height": row["picture_height"],
            "alt": row["picture_alt"],
        },
        "comments": [one_comment(comment) for comment in queries.comments(get_db(), row["id"])],
    }


def one_comment(row: Row) -> dict[str, Any]:
    """A comment."""
    return {key: row[key] for key in ("id", "author", "body", "created_at")}


def neighbour(request: Request, number: int | None) -> str | None:
    """The URL of another page of the same list."""
    if number is None:
        return None
    choice = {key: request.args[key] for key in ("q", "topic") if key in request.args}
    return url_for("api.posts", **choice, page=number, _external=True)


def sent_form(request: Request) -> Form:
    """The JSON object that was sent, as a form."""
    sent = request.get_json()
    if not isinstance(sent, dict):
        abort(400, "Please send a JSON object.")
    return Form(sent)


def refusal(form: Form) -> ResponseReturnValue:
    """What is wrong with a form, field by field."""
    return {"error": {"status": 422, "message": "Some fields are not right.", "fields": form.errors}}, 422
