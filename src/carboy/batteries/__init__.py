"""Equipment fitted on request. Here: what batteries share, since none of them may know another.

A battery uses `wire`, `pipeline`, `extend` and its own third-party library: what a stranger's extension has.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from ..pipeline.plan import Journey

#: Methods that change nothing (RFC 9110 §9.2.1).
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

#: Schemes of `Authorization` that a browser sends on its own, also for a page of another site.
AMBIENT_SCHEMES = frozenset({"basic", "digest", "negotiate", "ntlm"})


class Visit(Journey, Protocol):
    """What batteries ask of a request's context."""

    services: tuple[dict[type, Any], list[Any]] | None

    @property
    def app(self) -> Any: ...

    @property
    def request(self) -> Any:
        """The app's request: a guest may have given it another class."""


def headers_of(response: Any) -> Any:
    """The headers of an answer, light or whole; of a dict that a view has put in their place, what it stands for."""
    headers = response.headers
    if type(headers) is dict:
        headers = response.headers = Headers(headers)
    return headers


def sent_by(request: Any) -> Literal["own", "foreign", "unsaid"]:
    """Who made a browser send this request: a page of this site or its user, a page of another site, or not said.

    No page can forge what is looked at: Sec-Fetch-Site, which all browsers send on secure connections since 2023, or
    Origin, which they send with every POST. Who sends neither is hardly a browser.

    Source: Fetch Metadata Request Headers §2.4; RFC 6454 §7.
    """
    site = request.header("sec-fetch-site")
    if site is not None:
        return "own" if site in ("same-origin", "none") else "foreign"
    origin = request.header("origin")
    if origin is None:
        return "unsaid"
    return "own" if is_of_host(origin, host_of(request)) else "foreign"


def host_of(request: Any) -> str:
    """The host that the request is for, with its port; "" where it is none of `TRUSTED_HOSTS`."""
    try:
        return str(request.host)
    except HTTPException:
        return ""


def is_of_host(url: str, host: str) -> bool:
    """Whether an absolute URL, or an Origin, names this host (and port)."""
    try:
        netloc = urlsplit(url).netloc
    except ValueError:  # a broken IPv6 address
        return False
    return bool(netloc) and netloc.lower() == host.lower()


def uses_token(request: Any) -> bool:
    """Whether the request carries credentials that no browser adds by itself, like a Bearer token."""
    credentials = request.header("authorization")
    return credentials is not None and credentials.partition(" ")[0].lower() not in AMBIENT_SCHEMES


def mark_of(ctx: Visit, name: str) -> Any:
    """What a decorator has left on the view that the request is for; None if nothing.

    Functions made with `functools.wraps` carry the marks of what they wrap.
    """
    endpoint = getattr(ctx.request, "endpoint", None)
    return getattr(ctx.app.view_functions.get(endpoint), name, None) if endpoint is not None else None
