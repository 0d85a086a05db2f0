"""Security by one line: headers, forged writes, cookies, redirects. Every door, both colours."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import carboy
from carboy.batteries.security import (
    CrossOrigin,
    HeaderSettings,
    Nonce,
    SafeCookies,
    Security,
    SecurityHeaders,
    cross_origin_exempt,
    is_safe_url,
    safe_redirect,
)
from carboy.batteries.security.headers import nonced, parse_policy
from carboy.wire.response import Answer

TLS = {"base_url": "https://localhost"}


@pytest.fixture
def secure(app: carboy.Carboy) -> carboy.Carboy:
    """The app with all of it."""
    app.fit(Security())
    return app


# -- headers --------------------------------------------------------------------------------------


def test_page_has_every_header(client: Any, secure: Any, coloured: Any) -> None:
    """Light or whole, in both colours; HSTS is for TLS alone."""
    secure.add_url_rule("/light", view_func=coloured(lambda: "<p>"), endpoint="light")
    secure.add_url_rule("/whole", view_func=coloured(lambda: carboy.Response("<p>")), endpoint="whole")

    for path in ("/light", "/whole"):
        headers = client.get(path).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in headers


def test_hsts_goes_out_over_tls_alone(client: Any, secure: Any, coloured: Any) -> None:
    """Over plain HTTP it would be ignored."""
    secure.add_url_rule("/", view_func=coloured(lambda: "<p>"), endpoint="page")

    assert client.get("/", **TLS).headers["Strict-Transport-Security"] == "max-age=31536000"


def test_what_is_no_page_has_the_short_list(client: Any, secure: Any, coloured: Any) -> None:
    """JSON is not framed and runs no scripts."""
    secure.add_url_rule("/", view_func=coloured(lambda: {"a": 1}), endpoint="data")

    headers = client.get("/").headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Security-Policy" not in headers
    assert "X-Frame-Options" not in headers


def test_page_of_an_error_has_the_headers_too(client: Any, secure: Any) -> None:
    """404 of no route, and the 500 of a view that breaks."""

    def broken() -> str:
        raise RuntimeError

    secure.add_url_rule("/broken", view_func=broken, endpoint="broken")

    for path, status in (("/nowhere", 404), ("/broken", 500)):
        response = client.get(path)
        assert response.status_code == status
        assert "Content-Security-Policy" in response.headers


def test_header_of_the_view_wins(client: Any, secure: Any, coloured: Any) -> None:
    """Whatever an answer says itself is left as it is, once."""
    own = {"Content-Security-Policy": "default-src *", "X-Frame-Options": "DENY"}
    secure.add_url_rule("/", view_func=coloured(lambda: ("<p>", own)), endpoint="page")

    headers = client.get("/").headers

    assert headers.getlist("Content-Security-Policy") == ["default-src *"]
    assert headers.getlist("X-Frame-Options") == ["DENY"]


def test_nonce_of_the_page_is_in_its_policy(client: Any, secure: Any, coloured: Any) -> None:
    """One a request, the same each time it is asked for in it, another in the next."""

    def page() -> str:
        return carboy.render_template_string("{{ csp_nonce() }} {{ csp_nonce() }}")

    secure.add_url_rule("/", view_func=coloured(page), endpoint="page")

    first, second = client.get("/"), client.get("/")
    nonce, again = first.text.split()

    assert nonce == again != second.text.split()[0]
    assert len(nonce) >= 22
    assert f"script-src 'self' 'nonce-{nonce}'" in first.headers["Content-Security-Policy"]
    assert f"style-src 'self' 'nonce-{nonce}'" in first.headers["Content-Security-Policy"]


def test_page_without_a_nonce_has_the_plain_policy(client: Any, secure: Any) -> None:
    """None is made where nobody asks."""
    secure.add_url_rule("/", view_func=lambda: "<p>", endpoint="page")

    assert "nonce-" not in client.get("/").headers["Content-Security-Policy"]


def test_streamed_page_has_its_nonce_in_time(client: Any, secure: Any, coloured: Any) -> None:
    """It is rendered after the headers are gone, and still finds the nonce they name."""

    def page() -> Any:
        return carboy.stream_template_string("{{ csp_nonce() }}")

    secure.add_url_rule("/", view_func=coloured(page), endpoint="page")

    response = client.get("/")

    assert f"'nonce-{response.text}'" in response.headers["Content-Security-Policy"]


def test_view_takes_the_nonce_as_a_parameter(client: Any, secure: Any) -> None:
    """By its type."""

    def page(nonce: Nonce) -> str:
        return f"<script nonce={nonce}>"

    secure.add_url_rule("/", view_func=page, endpoint="page")

    response = client.get("/")
    nonce = re.fullmatch(r"<script nonce=(.+)>", response.text)

    assert nonce is not None
    assert f"'nonce-{nonce[1]}'" in response.headers["Content-Security-Policy"]


def test_unmodified_page_keeps_the_policy_it_was_sent_with(client: Any, secure: Any) -> None:
    """A 304 with a new nonce would shut out the scripts of the page that the browser has kept."""

    def page() -> Any:
        response = carboy.Response(carboy.render_template_string("{{ csp_nonce() }}"))
        response.set_etag("1")
        return response.make_conditional(carboy.request)

    secure.add_url_rule("/", view_func=page, endpoint="page")

    response = client.get("/", headers={"If-None-Match": '"1"'})

    assert response.status_code == 304
    assert "Content-Security-Policy" not in response.headers


@pytest.mark.parametrize(
    ("policy", "with_nonce"),
    [
        ("default-src 'self'", "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'"),
        ("script-src 'none'", "script-src 'nonce-{nonce}'"),
        ("script-src a.example; style-src 'unsafe-inline'", "script-src a.example 'nonce-{nonce}'; style-src 'unsafe-inline'"),
        ("style-src-elem 'self'", "style-src-elem 'self' 'nonce-{nonce}'"),
        ("img-src *; upgrade-insecure-requests", "img-src *; upgrade-insecure-requests"),
        ("", ""),
    ],
)
def test_nonce_opens_what_the_policy_closes(policy: str, with_nonce: str) -> None:
    """And closes nothing that it leaves open: a nonce would turn 'unsafe-inline' off."""
    assert nonced(parse_policy(policy)) == with_nonce


def test_headers_are_settings(app: Any, client: Any) -> None:
    """`HEADERS_*`; "" leaves one out, and X-Frame-Options follows the policy."""
    app.config.update(
        HEADERS_CSP="default-src 'none'; frame-ancestors 'none'", HEADERS_CSP_REPORT_ONLY=True, HEADERS_OPENER_POLICY="", HEADERS_HSTS=""
    )
    app.fit(SecurityHeaders())
    app.add_url_rule("/", view_func=lambda: "<p>", endpoint="page")

    headers = client.get("/", **TLS).headers

    assert headers["Content-Security-Policy-Report-Only"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert not {"Content-Security-Policy", "Cross-Origin-Opener-Policy", "Strict-Transport-Security"} & set(headers.keys())


def test_light_answers_stay_light(secure: Any) -> None:
    """The steps work on an Answer, so a plain text needs no Response."""
    secure.add_url_rule("/", view_func=lambda: "x", endpoint="page")
    with secure.test_request_context("/") as ctx:
        plan = secure.explain("GET", "/")
        ctx.response = plan.respond(ctx, "x")
        for segment in plan.outward:
            segment.call(ctx)

        assert type(ctx.response) is Answer
        assert ("X-Content-Type-Options", "nosniff") in ctx.response.headers


# -- forged writes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://behind.proxy"}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://LOCALHOST"}, True),
        ({"Origin": "http://localhost:8080"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Origin": "https://partner.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "https://partner.example.evil"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer abc"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Basic YTpi"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "negotiate abc"}, False),
    ],
)
def test_write_of_a_foreign_page_is_refused(client: Any, app: Any, coloured: Any, headers: dict[str, str], passes: bool) -> None:
    """By what the browser says of the page; with a token that no page can borrow it passes."""
    app.config["CROSS_ORIGIN_ALLOWED"] = ["https://Partner.example/"]
    app.fit(CrossOrigin())
    app.add_url_rule("/", view_func=coloured(lambda: "written"), methods=["POST"], endpoint="write")

    response = client.post("/", headers=headers)

    assert response.status_code == (200 if passes else 403)
    assert ("another site" in response.text) is not passes


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reads_of_foreign_pages_pass(client: Any, secure: Any, method: str) -> None:
    """A link from elsewhere is no attack."""
    secure.add_url_rule("/", view_func=lambda: "read", endpoint="read")

    assert client.open("/", method=method, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_every_kind_of_write_is_looked_at(client: Any, secure: Any, method: str) -> None:
    """Not only forms' POST."""
    secure.add_url_rule("/", view_func=lambda: "written", methods=[method], endpoint="write")

    assert client.open("/", method=method, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_refused_write_reaches_neither_hook_nor_view(client: Any, secure: Any) -> None:
    """The step stands before all others; the app's own page of a 403 is shown."""
    called = []
    secure.before_request(lambda: called.append("hook"))
    secure.add_url_rule("/", view_func=lambda: called.append("view") or "x", methods=["POST"], endpoint="write")
    secure.register_error_handler(403, lambda error: (f"no: {error.description}", 403))

    response = client.post("/", headers={"Sec-Fetch-Site": "cross-site"})

    assert (response.text, called) == ("no: This request was sent by a page of another site.", [])


def test_exempted_route_and_blueprint_take_foreign_writes(app: Any, client: Any, coloured: Any) -> None:
    """By the decorator, by the blueprint's name, by the endpoint."""
    app.config["CROSS_ORIGIN_EXEMPT"] = ["hooks", "ping"]
    app.fit(CrossOrigin())
    hooks = carboy.Blueprint("hooks", __name__)
    hooks.add_url_rule("/hook", view_func=coloured(lambda: "hook"), methods=["POST"], endpoint="hook")
    app.register_blueprint(hooks)
    app.add_url_rule("/ping", view_func=coloured(lambda: "ping"), methods=["POST"], endpoint="ping")
    app.add_url_rule("/mark", view_func=cross_origin_exempt(coloured(lambda: "mark")), methods=["POST"], endpoint="mark")
    app.add_url_rule("/other", view_func=coloured(lambda: "other"), methods=["POST"], endpoint="other")

    answers = {path: client.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code for path in ("/hook", "/ping", "/mark", "/other")}

    assert answers == {"/hook": 200, "/ping": 200, "/mark": 200, "/other": 403}


@pytest.mark.parametrize(
    "config",
    [{"CROSS_ORIGIN_ALLOWED": ["partner.example"]}, {"CROSS_ORIGIN_ALLOWED": ["https://a.example/page"]}, {"CROSS_ORIGIN_EXEMPT": ["hoks"]}],
)
def test_check_finds_settings_that_mean_nothing(app: Any, config: dict[str, Any]) -> None:
    """`carboy check` names what would silently never match."""
    app.config.update(config)
    app.fit(CrossOrigin())

    assert any(check(app) for name, check in app.checks if name.startswith("cross_origin."))


def test_line_break_in_a_setting_is_an_error_of_setup(app: Any) -> None:
    """Not of the first request: the header that has it is named."""
    with pytest.raises(ValueError, match="Referrer-Policy has a line break"):
        app.fit(SecurityHeaders(HeaderSettings(referrer_policy="same-origin\r\nX-Evil: 1")))


# -- cookies --------------------------------------------------------------------------------------


def test_cookies_are_careful_unless_they_say_otherwise(client: Any, secure: Any, coloured: Any) -> None:
    """The session's too; Secure on TLS; what is said stays as it is said."""

    def view() -> Any:
        carboy.session["a"] = 1
        response = carboy.Response("x")
        response.set_cookie("plain", "1")
        response.set_cookie("own", "2", samesite="None", secure=True, httponly=True)
        return response

    secure.add_url_rule("/", view_func=coloured(view), endpoint="view")

    for options, is_secure in ((TLS, True), ({}, False)):
        cookies = client.get("/", **options).headers.getlist("Set-Cookie")
        found = {cookie.partition("=")[0]: cookie for cookie in cookies}

        assert set(found) == {"session", "plain", "own"}
        for name in ("session", "plain"):
            assert found[name].count("HttpOnly") == found[name].count("SameSite=Lax") == 1
            assert ("; Secure" in found[name]) is is_secure
        assert "SameSite=None" in found["own"]
        assert "Lax" not in found["own"]


def test_named_cookie_stays_readable(app: Any, client: Any) -> None:
    """`COOKIES_READABLE`: for what scripts of the page need. Headers of a light answer are looked at too."""
    app.config.update(COOKIES_READABLE=["theme"], COOKIES_SAMESITE="Strict", COOKIES_SECURE=True)
    app.fit(SafeCookies())
    app.add_url_rule("/", view_func=lambda: Answer(200, [("Set-Cookie", "theme=dark"), ("Set-Cookie", "id=1")], b""), endpoint="view")

    cookies = client.get("/").headers.getlist("Set-Cookie")

    assert cookies == ["theme=dark; SameSite=Strict; Secure", "id=1; HttpOnly; SameSite=Strict; Secure"]


# -- redirects ------------------------------------------------------------------------------------

ELSEWHERE = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "\t//evil.example", " //evil.example",
    "https://evil.example", "https:evil.example", "https:/evil.example", "http:///evil.example", "javascript:alert(1)", "data:text/html,x",
    "evil.example", "orders", "", None, "https://shop.example@evil.example/", "https://shop.example.evil/", "https://shop.example:81/",
    "https://shop.example\\@evil.example", "ftp://shop.example/", "/a\r\nSet-Cookie: b=c", "https://[", "/\x00", "/\x7f",
]  # fmt: skip


@pytest.mark.parametrize("target", ELSEWHERE)
def test_target_elsewhere_is_not_followed(target: str | None) -> None:
    """Ways that browsers understand as another site, with and without a known host."""
    assert not is_safe_url(target)
    assert not is_safe_url(target, "shop.example")
    assert not is_safe_url(target, "")
    assert safe_redirect(target, "/home", host="shop.example").location == "/home"


@pytest.mark.parametrize("target", ["/", "/orders?page=2&next=//x", "/a//b", "/caf%C3%A9#top"])
def test_path_of_this_site_is_followed(target: str) -> None:
    """From the root."""
    assert is_safe_url(target)
    assert safe_redirect(target, "/home").location == target


@pytest.mark.parametrize("target", ["https://shop.example/a", "http://SHOP.example", "HTTPS://shop.example?x"])
def test_absolute_url_of_this_host_is_followed(target: str) -> None:
    """Where the host is told."""
    assert is_safe_url(target, "shop.example")
    assert not is_safe_url(target)


@given(st.text(alphabet="/\\:.@ \t\r\n\x00ehvils", max_size=12))
def test_no_spelling_leads_elsewhere(target: str) -> None:
    """What is followed is a path: a slash, then no second one, and nothing that browsers drop or turn."""
    if is_safe_url(target):
        assert re.fullmatch(r"/(?![/\\])[^\\\s\x00]*", target)


def test_log_in_leads_back_where_the_visitor_was(client: Any, app: Any, coloured: Any) -> None:
    """The usual use, through every door."""

    def log_in() -> Any:
        return safe_redirect(carboy.request.args.get("next"), "/home", code=303)

    app.add_url_rule("/login", view_func=coloured(log_in), endpoint="login")

    assert client.get("/login?next=/orders").headers["Location"] == "/orders"
    assert client.get("/login?next=//evil.example").headers["Location"] == "/home"
    assert client.get("/login").status_code == 303


def test_parts_are_fitted_once(secure: Any) -> None:
    """All of it, and a part of it again, is a mistake that is told."""
    with pytest.raises(carboy.SetupError, match="headers"):
        secure.fit(SecurityHeaders())
