"""Writes that a page of another site has sent are refused (CSRF): by what the browser says, so no form needs a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden

from ...extend import Fitting
from .. import SAFE_METHODS, Visit, mark_of, sent_by, uses_token

F = TypeVar("F")

REFUSAL = "This request was sent by a page of another site."


@dataclass(frozen=True, slots=True)
class CrossOriginSettings:
    """`CROSS_ORIGIN_*` in the config.

    Attributes:
        allowed: origins that may write here, as `https://shop.example`.
        exempt: names of blueprints and endpoints that anybody's pages may write to.
    """

    allowed: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()


class CrossOrigin:
    """Refuse POST, PUT, PATCH, DELETE and other writes of other sites' pages with 403.

    A request passes if the browser says that it is this site's own (Sec-Fetch-Site, else Origin), if it carries a token
    in `Authorization`, which no foreign page can borrow, or if it says nothing: then it comes from no browser.

    Example:
        >>> app.config["CROSS_ORIGIN_ALLOWED"] = ["https://partner.example"]
        >>> app.fit(CrossOrigin())
    """

    name = "cross_origin"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare the step, before all others, and its check."""
        settings = fit.config(CrossOriginSettings)
        fit.before(Refuse(settings), first=True, blocking=False)
        fit.check("allowed", lambda app: check_origins(settings))
        fit.check("exempt", lambda app: check_exempt(settings, {*app.view_functions, *app.blueprints}))


def cross_origin_exempt(view: F) -> F:
    """Decorate a view that pages of other sites may write to.

    Example:
        >>> @app.post("/newsletter")
        ... @cross_origin_exempt
        ... def subscribe(): ...
    """
    view.cross_origin_exempt = True  # type: ignore[attr-defined]  # a mark on a function
    return view


class Refuse:
    """The step."""

    def __init__(self, settings: CrossOriginSettings) -> None:
        self.allowed = frozenset(origin.lower().rstrip("/") for origin in settings.allowed)
        self.exempt = frozenset(settings.exempt)

    def __call__(self, ctx: Visit) -> None:
        request = ctx.request
        if request.method in SAFE_METHODS or sent_by(request) != "foreign":
            return
        origin = request.header("origin")
        if origin is not None and origin.lower() in self.allowed:
            return
        if uses_token(request) or self.is_exempt(ctx):
            return
        raise Forbidden(REFUSAL)

    def is_exempt(self, ctx: Visit) -> bool:
        if mark_of(ctx, "cross_origin_exempt"):
            return True
        request = ctx.request
        return request.endpoint in self.exempt or not self.exempt.isdisjoint(request.blueprints)


def check_origins(settings: CrossOriginSettings) -> str | None:
    """Say so if an allowed origin is none: it would never be found equal to what a browser sends."""
    for origin in settings.allowed:
        parts = urlsplit(origin)
        if not (parts.scheme and parts.netloc) or parts.path not in ("", "/") or parts.query or parts.fragment:
            return f"CROSS_ORIGIN_ALLOWED has {origin!r}; an origin is scheme and host alone, as 'https://shop.example'"
    return None


def check_exempt(settings: CrossOriginSettings, known: set[str]) -> str | None:
    """Say so if an exempted name is no blueprint and no endpoint."""
    strange = [name for name in settings.exempt if name not in known]
    if not strange:
        return None
    return f"CROSS_ORIGIN_EXEMPT has {', '.join(map(repr, strange))}, which no blueprint or endpoint is named"
