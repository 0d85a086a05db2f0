"""Redirects to a place that a client names, as `?next=` does, only within this site."""

from __future__ import annotations

from urllib.parse import urlsplit

from werkzeug.utils import redirect

from ...wire.response import Response


def is_safe_url(target: str | None, host: str | None = None) -> bool:
    """Whether a browser sent there stays on this site.

    Args:
        target: a URL that a client gave.
        host: this site's own host, with its port if it has one: absolute http(s) URLs of it are safe too. Without, only
            paths from the root are.

    Example:
        >>> is_safe_url("/orders?page=2"), is_safe_url("//evil.example"), is_safe_url("https://evil.example")
        (True, False, False)

    Source: WHATWG URL Standard §4.4: a browser drops tabs and line breaks anywhere and spaces at the ends, and reads
        `\\` as `/`; so whatever holds one of these is refused.
    """
    if not target or "\\" in target or any(character <= " " or character == "\x7f" for character in target):
        return False
    if target.startswith("/"):
        return not target.startswith("//")
    if not host:
        return False
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    # The second slash too: browsers read `https:/evil.example` and `https:evil.example` as that host.
    is_absolute = target.lower().startswith(("http://", "https://"))
    return is_absolute and parts.netloc.lower() == host.lower()


def safe_redirect(target: str | None, fallback: str, *, host: str | None = None, code: int = 302) -> Response:
    """Redirect to what a client asked for, or to *fallback* if that would leave this site.

    Args:
        target: a URL that a client gave, or None.
        fallback: a URL of your own.
        host: see `is_safe_url`; usually left out, or `request.host`.
        code: the status.

    Example:
        >>> @app.post("/login")
        ... def log_in():
        ...     return safe_redirect(request.args.get("next"), url_for("index"))
    """
    location = target if target is not None and is_safe_url(target, host) else fallback
    return redirect(location, code, Response)  # type: ignore[return-value]  # of the class given
