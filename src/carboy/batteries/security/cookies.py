"""Cookies that are careful unless they say otherwise: HttpOnly, SameSite=Lax, Secure on TLS."""

from __future__ import annotations

from dataclasses import dataclass

from ...extend import Fitting
from ...wire.response import Answer
from .. import Visit, headers_of

_LENGTH = len("set-cookie")


@dataclass(frozen=True, slots=True)
class CookieSettings:
    """`COOKIES_*` in the config.

    Attributes:
        readable: names of cookies that scripts of the page may read; they get no HttpOnly.
        samesite: for cookies that say nothing of it: "Lax", "Strict", or "" for none.
        secure: None: Secure where the request came over TLS; True or False: always or never.
    """

    readable: tuple[str, ...] = ()
    samesite: str = "Lax"
    secure: bool | None = None


class SafeCookies:
    """Add to each cookie set what it does not say itself.

    Example:
        >>> app.config["COOKIES_READABLE"] = ["theme"]
        >>> app.fit(SafeCookies())
    """

    name = "cookies"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare the step; the session's cookie has been set when it runs."""
        fit.after(Harden(fit.config(CookieSettings)), blocking=False)


class Harden:
    """The step: completes `Set-Cookie`."""

    takes_answer = True

    def __init__(self, settings: CookieSettings) -> None:
        self.readable = frozenset(settings.readable)
        self.samesite = settings.samesite
        self.secure = settings.secure

    def __call__(self, ctx: Visit) -> None:
        response = ctx.response
        if type(response) is Answer:
            for name, _ in response.headers:
                if len(name) == _LENGTH and name.lower() == "set-cookie":
                    break
            else:
                return
            secure = self.wants_secure(ctx)
            headers = [
                (name, self.complete(value, secure) if name.lower() == "set-cookie" else value)
                for name, value in response.headers
            ]
            ctx.response = response._replace(headers=headers)
        elif "Set-Cookie" in (headers := headers_of(response)):
            secure = self.wants_secure(ctx)
            headers.setlist("Set-Cookie", [self.complete(value, secure) for value in headers.getlist("Set-Cookie")])

    def wants_secure(self, ctx: Visit) -> bool:
        return bool(ctx.request.scheme == "https") if self.secure is None else self.secure

    def complete(self, cookie: str, secure: bool) -> str:
        """A Set-Cookie value with what it lacks."""
        pair, *attributes = cookie.split(";")
        said = {attribute.partition("=")[0].strip().lower() for attribute in attributes}
        if "httponly" not in said and pair.partition("=")[0].strip() not in self.readable:
            cookie += "; HttpOnly"
        if "samesite" not in said and self.samesite:
            cookie += f"; SameSite={self.samesite}"
        if "secure" not in said and secure:
            cookie += "; Secure"
        return cookie
