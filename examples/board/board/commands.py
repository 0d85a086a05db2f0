"""What whoever runs the board types: ``carboy board seed``, ``backup``, ``token``."""

import sqlite3
import tomllib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import click
from carboy import Blueprint

from .accounts.queries import add_token, add_user, set_about, user_by_name
from .database import get_db
from .posts import queries
from .posts.pictures import Picture, PictureRefused, keep_picture
from .posts.views import find_topic, pictures_folder

DEMO = Path(__file__).with_name("demo")

bp = Blueprint("commands", __name__, cli_group="board")


@bp.cli.command("seed")
@click.option("--password", default="fermentation", show_default=True, help="Of everybody in the demo.")
def seed(password: str) -> None:
    """Fill an empty board with people, posts, pictures and comments."""
    db = get_db()
    if db.execute("SELECT 1 FROM users").fetchone():
        raise click.ClickException(
            "This board is in use; seed fills an empty one. BOARD_DATA names its folder."
        )

    demo = tomllib.loads((DEMO / "content.toml").read_text())
    for person in oldest_first(demo["people"]):
        user = add_user(db, person["name"], password)
        set_about(db, user["id"], person["about"])
        backdate(db, "users", "joined_at", user["id"], person["ago"])
    for post in oldest_first(demo["posts"]):
        seed_post(db, post)
    click.echo(f"The board has {len(demo['people'])} people and {len(demo['posts'])} posts.")
    click.echo(f"Log in as {demo['people'][0]['name']} with the password {password}")


@bp.cli.command("backup")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def backup(target: Path) -> None:
    """Copy the database to TARGET while the board goes on serving."""
    with closing(sqlite3.connect(target)) as copy:
        get_db().backup(copy)
    click.echo(f"{target}: {target.stat().st_size // 1024} kB. The pictures lie in {pictures_folder()}.")


@bp.cli.command("token")
@click.argument("name")
@click.option("--label", default="from the command line", show_default=True)
def token(name: str, label: str) -> None:
    """Make an API token for the user NAME."""
    user = user_by_name(get_db(), name)
    if user is None:
        raise click.ClickException(f"Nobody here is called {name}.")
    click.echo(add_token(get_db(), user["id"], label))


def seed_post(db: Connection, post: dict[str, Any]) -> None:
    """Keep one post of the demo, and its comments."""
    topic = find_topic(queries.topics(db), post["topic"])
    if topic is None:
        raise click.ClickException(f"demo/content.toml: {post['title']!r} is in no known topic.")
    post_id = queries.add_post(
        db,
        author_id=id_of(db, post["by"]),
        topic_id=topic["id"],
        title=post["title"],
        body=post["body"].strip(),
        picture=demo_picture(post),
    )
    backdate(db, "posts", "created_at", post_id, post["ago"])
    backdate(db, "posts", "active_at", post_id, post["ago"])
    for comment in post.get("comments", []):
        comment_id = queries.add_comment(
            db, post_id=post_id, author_id=id_of(db, comment["by"]), body=comment["body"]
        )
        backdate(db, "comments", "created_at", comment_id, comment["ago"])
        backdate(db, "posts", "active_at", post_id, comment["ago"])


def demo_picture(post: dict[str, Any]) -> Picture | None:
    """Keep the picture of a demo post, if it has one and Pillow is there."""
    if "picture" not in post:
        return None
    with (DEMO / post["picture"]).open("rb") as file:
        try:
            return keep_picture(file, pictures_folder(), post["picture_alt"])
        except PictureRefused as refusal:
            click.echo(f"Without {post['picture']}: {refusal}", err=True)
            return None


def id_of(db: Connection, name: str) -> int:
    """The id of somebody in the demo."""
    user = user_by_name(db, name)
    if user is None:
        raise click.ClickException(f"demo/content.toml: {name} writes, but is not among the people.")
    return user["id"]


def backdate(db: Connection, table: str, column: str, row_id: int, hours: float) -> None:
    """Let something have happened some hours ago."""
    moment = datetime.now(UTC) - timedelta(hours=hours)
    with db:
        db.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (f"{moment:%Y-%m-%dT%H:%M:%SZ}", row_id))


def oldest_first(things: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort by age, so that ids rise with time as on a board that has grown."""
    return sorted(things, key=lambda thing: -thing["ago"])
