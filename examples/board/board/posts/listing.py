"""A post as lists show it: the same for everybody, so it is rendered once and kept while it stays as it is.

A front page shows a dozen, and rendering them is most of its work. What is kept goes by itself: a post that changes, or
gets a comment, is another row; and each minute all are rendered anew, for "5 min ago" to be true.
"""

import time
from collections.abc import Iterable
from functools import lru_cache
from sqlite3 import Row

from carboy import Carboy, current_app, request
from markupsafe import Markup

KEPT = 1024  # posts; about 2 KB each


def init_app(app: Carboy) -> None:
    """Give the templates ``listed(posts)``."""

    @lru_cache(KEPT)
    def render(post: Row, root: str, minute: int) -> Markup:
        macros = current_app.jinja_env.get_template("posts/listed.html").module
        return macros.listed(post)  # type: ignore[attr-defined]  # a macro of the template

    @app.template_global()
    def listed(posts: Iterable[Row]) -> Markup:
        root, minute = request.root_path, int(time.time() // 60)
        return Markup("".join([render(post, root, minute) for post in posts]))
