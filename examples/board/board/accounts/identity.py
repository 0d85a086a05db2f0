"""Who is asking: from the session of a browser, or from the token of an API client. ``g.user`` holds the answer."""

from collections.abc import Callable
from functools import wraps
from sqlite3 import Row
from typing import ParamSpec, TypeVar

from carboy import abort, g, request, session

from ..database import get_db
from . import queries

P = ParamSpec("P")
T = TypeVar("T")

# The same bytes for everybody: no session is opened, so any cache may keep them.
FOR_EVERYBODY = {"static", "posts.picture"}


def find_user() -> None:
    """Set ``g.user`` for this request; None if nobody is logged in."""
    g.user = None
    if request.endpoint in FOR_EVERYBODY:
        return

    if request.authorization and request.authorization.type == "bearer":
        g.user = queries.user_by_token(get_db(), request.authorization.token or "")
        if g.user is None:
            abort(401, "This token is not valid. Make a new one in your settings.")
    elif "user" in session:
        g.user = queries.user_by_session(get_db(), session["user"], session["key"])
        if g.user is None:
            log_out()  # the password was changed elsewhere, or the account is gone


def log_in(user: Row) -> None:
    """Begin a session for this user. Whatever was in the session before is gone."""
    session.clear()
    session.permanent = True
    session["user"] = user["id"]
    session["key"] = user["session_key"]
    g.user = user


def log_out() -> None:
    """End the session."""
    session.clear()
    g.user = None


def login_required(view: Callable[P, T]) -> Callable[P, T]:
    """Let only logged-in users through; others get a 401, which for a browser is the way to the login page."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if g.user is None:
            abort(401)
        return view(*args, **kwargs)

    return guarded
