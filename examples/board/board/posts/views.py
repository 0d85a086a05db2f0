"""The pages of posts and comments."""

from sqlite3 import Row

from carboy import (
    Blueprint,
    abort,
    flash,
    g,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from carboy.typing import ResponseReturnValue

from ..accounts import login_required
from ..accounts.queries import user_by_name
from ..database import get_db
from ..forms import Form
from ..paging import asked_span
from . import queries
from .live import announce_comment, announce_gone, announce_post
from .pictures import Picture, PictureRefused, delete_picture, keep_picture, pictures_folder
from .rules import find_post, find_topic, own, read_comment, read_post, remove_post

YEAR = 365 * 24 * 3600  # seconds

bp = Blueprint("posts", __name__, template_folder="templates")


# Reading


@bp.get("/")
def feed() -> ResponseReturnValue:
    """Show everything, what is talked about first."""
    page = queries.newest(get_db(), asked_span())
    return render_template("posts/feed.html", page=page, topics=queries.topics(get_db()), topic=None)


@bp.get("/topics/<slug>")
def by_topic(slug: str) -> ResponseReturnValue:
    """Show the posts of one topic."""
    topics = queries.topics(get_db())
    topic = find_topic(topics, slug) or abort(404, "There is no such topic.")
    page = queries.newest(get_db(), asked_span(), topic_id=topic["id"])
    return render_template("posts/feed.html", page=page, topics=topics, topic=topic)


@bp.get("/people/<name>")
def by_author(name: str) -> ResponseReturnValue:
    """Show who somebody is, and their posts."""
    author = user_by_name(get_db(), name) or abort(404, f"Nobody here is called {name}.")
    page = queries.newest(get_db(), asked_span(), author_id=author["id"])
    return render_template("posts/author.html", page=page, author=author)


@bp.get("/search")
def search() -> ResponseReturnValue:
    """Show the posts in which some words are found."""
    words = request.args.get("q", "").strip()
    page = queries.search(get_db(), words, asked_span())
    return render_template("posts/search.html", page=page, words=words)


@bp.get("/posts/<id:post_id>")
def read(post_id: int) -> ResponseReturnValue:
    """Show one post and its comments."""
    return show_post(find_post(post_id), Form())


@bp.get("/pictures/<name>.webp")
def picture(name: str) -> ResponseReturnValue:
    """Send a picture. A name never gets another content, so browsers may keep it."""
    return send_from_directory(pictures_folder(), f"{name}.webp", mimetype="image/webp", max_age=YEAR)


# Writing


@bp.route("/posts/new", methods=["GET", "POST"])
@login_required
def write() -> ResponseReturnValue:
    """Write a new post."""
    topics = queries.topics(get_db())
    form = Form(request.form or {"topic": request.args.get("topic", "")})
    if request.method == "POST":
        topic_id, title, body = read_post(form, topics)
        picture = read_picture(form)
        if form.ok:
            post_id = queries.add_post(
                get_db(), author_id=g.user["id"], topic_id=topic_id, title=title, body=body, picture=picture
            )
            announce_post(find_post(post_id))
            flash("Your post is on the board.", "good")
            return redirect(url_for(".read", post_id=post_id))
    return render_template("posts/write.html", form=form, topics=topics, post=None), form.status


@bp.route("/posts/<id:post_id>/edit", methods=["GET", "POST"])
@login_required
def edit(post_id: int) -> ResponseReturnValue:
    """Change one's post."""
    post = own(find_post(post_id))
    topics = queries.topics(get_db())
    form = Form(request.form or dict(post))
    if request.method == "POST":
        topic_id, title, body = read_post(form, topics)
        picture = read_picture(form, post)
        if form.ok:
            queries.change_post(get_db(), post_id, topic_id=topic_id, title=title, body=body, picture=picture)
            if post["picture"] and (picture is None or picture.name != post["picture"]):
                delete_picture(post["picture"], pictures_folder())
            flash("Your changes are saved.", "good")
            return redirect(url_for(".read", post_id=post_id))
    return render_template("posts/write.html", form=form, topics=topics, post=post), form.status


@bp.post("/posts/<id:post_id>/delete")
@login_required
def delete(post_id: int) -> ResponseReturnValue:
    """Delete one's post, its comments and its picture."""
    remove_post(own(find_post(post_id)))
    flash("Your post is deleted.", "good")
    return redirect(url_for(".feed"))


@bp.post("/posts/<id:post_id>/comments")
@login_required
def comment(post_id: int) -> ResponseReturnValue:
    """Comment on a post."""
    post = find_post(post_id)
    form = Form(request.form)
    body = read_comment(form)
    if not form.ok:
        return show_post(post, form)
    comment_id = queries.add_comment(get_db(), post_id=post_id, author_id=g.user["id"], body=body)
    announce_comment(post, queries.comment(get_db(), comment_id) or abort(404))
    return redirect(url_for(".read", post_id=post_id, _anchor=f"comment-{comment_id}"))


@bp.post("/comments/<id:comment_id>/delete")
@login_required
def delete_comment(comment_id: int) -> ResponseReturnValue:
    """Delete one's comment."""
    comment = own(queries.comment(get_db(), comment_id) or abort(404, "There is no such comment."))
    queries.delete_comment(get_db(), comment_id)
    announce_gone(comment["post_id"], comment_id)
    flash("Your comment is deleted.", "good")
    return redirect(url_for(".read", post_id=comment["post_id"], _anchor="comments"))


# What some of these pages share


def read_picture(form: Form, post: Row | None = None) -> Picture | None:
    """Read the picture of a post: a new one, or the one it has if that is not to be removed."""
    alt = form.text("picture_alt", "The description", most=200)
    sent = request.files.get("picture")
    if sent and sent.filename:
        if not form.ok:
            form.errors["picture"] = "Please choose the picture again; it was not kept."
            return None
        try:
            return keep_picture(sent.stream, pictures_folder(), alt)
        except PictureRefused as refusal:
            form.errors["picture"] = str(refusal)
            return None
    if post and post["picture"] and not form.values.get("remove_picture"):
        return Picture(post["picture"], post["picture_width"], post["picture_height"], alt)
    return None


def show_post(post: Row, form: Form) -> ResponseReturnValue:
    """Render a post, its comments, and the form for one more."""
    comments = queries.comments(get_db(), post["id"])
    return render_template("posts/read.html", post=post, comments=comments, form=form), form.status
