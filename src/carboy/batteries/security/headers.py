"""Headers that have a browser refuse what this site never does: foreign frames, foreign scripts, guessed types.

What an answer says itself is never overwritten.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import Headers

from ...extend import Fitting
from ...wire.response import Answer
from .. import Visit, headers_of

DEFAULT_CSP = (
    "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'; img-src 'self' data: blob:; object-src 'none'"
)

#: What a browser opens as a page, or runs as a worker: where a policy says something.
_DOCUMENTS = (
    "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "text/javascript", "application/javascript",
)  # fmt: skip

#: Directives that a nonce opens.
_NONCED = ("script-src", "style-src")


class Nonce(str):
    """A text for one answer, which its own scripts and styles carry: `<script nonce="{{ csp_nonce() }}">`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """`HEADERS_*` in the config; "" leaves a header out.

    Attributes:
        csp: the Content-Security-Policy of pages.
        csp_report_only: only have browsers report what the policy would refuse.
        referrer_policy: Referrer-Policy.
        frame_options: X-Frame-Options; None: what the policy's `frame-ancestors` says, for old browsers.
        opener_policy: Cross-Origin-Opener-Policy of pages; `same-origin-allow-popups` for log-ins in pop-up windows.
        permissions_policy: Permissions-Policy of pages.
        hsts: Strict-Transport-Security, sent over TLS alone.
        nosniff: X-Content-Type-Options.
    """

    csp: str = DEFAULT_CSP
    csp_report_only: bool = False
    referrer_policy: str = "strict-origin-when-cross-origin"
    frame_options: str | None = None
    opener_policy: str = "same-origin"
    permissions_policy: str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    hsts: str = "max-age=31536000"
    nosniff: bool = True


class SecurityHeaders:
    """Send security headers with every answer.

    Args:
        settings: in place of the config's `HEADERS_*`.

    Example:
        >>> app.config["HEADERS_CSP"] = "default-src 'self'; script-src 'self' https://cdn.example"
        >>> app.fit(SecurityHeaders())

    In a template: `<script nonce="{{ csp_nonce() }}">`; in a view: a parameter `nonce: Nonce`. The nonce is made, and
    added to the policy, only where somebody asks for it.
    """

    name = "headers"
    requires: tuple[str, ...] = ()

    def __init__(self, settings: HeaderSettings | None = None) -> None:
        self.settings = settings

    def setup(self, fit: Fitting) -> None:
        """Declare the step, and the nonce for views and templates."""
        app = fit.app
        settings = fit.config(HeaderSettings) if self.settings is None else self.settings
        if settings.csp:
            fit.provide(Nonce, make_nonce)
            fit.template(csp_nonce=lambda: app.service(Nonce))
        fit.after(AddHeaders(settings), blocking=False)


def make_nonce() -> Nonce:
    """128 random bits (CSP Level 3 §7.1)."""
    return Nonce(secrets.token_urlsafe(16))


Pairs = tuple[tuple[str, tuple[str, str]], ...]


class AddHeaders:
    """The step: adds what is not there."""

    takes_answer = True

    def __init__(self, settings: HeaderSettings) -> None:
        directives = parse_policy(settings.csp)
        plain = []
        if settings.nosniff:
            plain.append(("X-Content-Type-Options", "nosniff"))
        if settings.referrer_policy:
            plain.append(("Referrer-Policy", settings.referrer_policy))
        page = list(plain)
        frame_options = frame_options_of(directives) if settings.frame_options is None else settings.frame_options
        if frame_options:
            page.append(("X-Frame-Options", frame_options))
        if settings.opener_policy:
            page.append(("Cross-Origin-Opener-Policy", settings.opener_policy))
        if settings.permissions_policy:
            page.append(("Permissions-Policy", settings.permissions_policy))
        hsts = [("Strict-Transport-Security", settings.hsts)] if settings.hsts else []
        self.looks_for_tls = bool(hsts)
        self.csp_name = "Content-Security-Policy-Report-Only" if settings.csp_report_only else "Content-Security-Policy"
        self.csp_key = self.csp_name.lower()
        self.nonced = nonced(directives)
        policy = [(self.csp_name, settings.csp)] if settings.csp else []
        for name, value in (*page, *policy, *hsts):
            if "\n" in value or "\r" in value:
                raise ValueError(f"the setting of the header {name} has a line break, which no header may have: {value!r}")
        # PERF: four lists made once, so that a request only chooses one.
        self.sets = {
            (False, False): _keyed(plain),
            (False, True): _keyed(plain + hsts),
            (True, False): _keyed(page + policy),
            (True, True): _keyed(page + policy + hsts),
        }
        self.plain_sets = {which: [pair for _, pair in pairs] for which, pairs in self.sets.items()}

    def __call__(self, ctx: Visit) -> None:
        response: Any = ctx.response
        headers: Any = response.headers
        is_tls = self.looks_for_tls and ctx.request.scheme == "https"
        if type(response) is Answer and ctx.services is None and len(headers) == 2:
            (first, kind), (second, _) = headers
            if first == "Content-Type" and second == "Content-Length":
                # PERF: the light answer of a plain value, which says nothing of its own: half the time of the long way.
                added = self.plain_sets[kind.startswith(_DOCUMENTS), is_tls]
                ctx.response = tuple.__new__(Answer, (response.status_code, headers + added, response.body))
                return
        headers = headers_of(response)
        present = {}
        for name, value in headers:
            present[name.lower()] = value
        said: str | None = present.get("content-type")
        # A 304 leaves the policy as it was: a new nonce would shut out the scripts of the page that the browser has kept.
        is_page = said is not None and said.startswith(_DOCUMENTS) and response.status_code != 304
        wanted = self.sets[is_page, is_tls]
        if is_page:
            nonce = self.nonce_of(ctx) if self.nonced else None
            if nonce is not None:
                csp = (self.csp_name, self.nonced.replace("{nonce}", nonce))
                wanted = tuple((key, csp if key == self.csp_key else pair) for key, pair in wanted)
        added = [pair for key, pair in wanted if key not in present]
        if type(response) is Answer:
            ctx.response = Answer(response.status_code, headers + added, response.body)
        elif type(headers) is Headers:
            headers._list.extend(added)  # PERF: `extend` looks each value through for line breaks, as was done in `__init__`
        else:
            headers.extend(added)

    def nonce_of(self, ctx: Visit) -> Nonce | None:
        """The nonce that the page has asked for, or may ask for yet: a stream is rendered after its headers are gone."""
        made = ctx.services
        nonce: Nonce | None = made[0].get(Nonce) if made is not None else None
        response: Any = ctx.response
        if nonce is None and type(response) is not Answer and response.is_streamed and not response.direct_passthrough:
            nonce = ctx.app.services.get(ctx, Nonce)
        return nonce


def _keyed(pairs: list[tuple[str, str]]) -> Pairs:
    return tuple((pair[0].lower(), pair) for pair in pairs)


def parse_policy(policy: str) -> dict[str, str]:
    """A policy's directives with their values, in order; the first of a name counts (CSP Level 3 §2.2.1)."""
    directives: dict[str, str] = {}
    for directive in policy.split(";"):
        name, _, value = directive.strip().partition(" ")
        if name:
            directives.setdefault(name.lower(), value.strip())
    return directives


def nonced(directives: dict[str, str]) -> str:
    """The policy with `{nonce}` where a page's nonce goes.

    A directive with 'unsafe-inline' is left as it is: with a nonce in it, browsers would refuse what it allows.
    """
    if not directives:
        return ""
    fallback = directives.get("default-src")
    found = dict(directives)
    for name in (*_NONCED, *(f"{name}-elem" for name in _NONCED if f"{name}-elem" in directives)):
        value = directives.get(name, fallback)
        if value is None or "'unsafe-inline'" in value:
            continue
        opened = "" if value in ("'none'", "") else f"{value} "
        found[name] = opened + "'nonce-{nonce}'"
    return "; ".join(f"{name} {value}".strip() for name, value in found.items())


def frame_options_of(directives: dict[str, str]) -> str:
    """X-Frame-Options that says what `frame-ancestors` says, where it can."""
    return {"'none'": "DENY", "'self'": "SAMEORIGIN"}.get(directives.get("frame-ancestors", ""), "")
