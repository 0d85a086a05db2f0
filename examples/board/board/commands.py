"""What whoever runs the board types: ``carboy board seed``, ``backup``, ``token``."""

import sqlite3
from contextlib import closing
from pathlib import Path

import click
from carboy import Blueprint

from .accounts.queries import add_token, user_by_name
from .database import get_db
from .demo import fill, is_empty
from .posts.pictures import pictures_folder

bp = Blueprint("commands", __name__, cli_group="board")


@bp.cli.command("seed")
@click.option("--password", default="fermentation", show_default=True, help="Of everybody in the demo.")
def seed(password: str) -> None:
    """Fill an empty board with people, posts, pictures and comments."""
    if not is_empty(get_db()):
        raise click.ClickException(
            "This board is in use; seed fills an empty one. BOARD_DATA names its folder."
        )
    people = fill(get_db(), password, warn=lambda text: click.echo(text, err=True))
    click.echo(f"The board is full of life. Log in as {people[0]} with the password {password}")


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
