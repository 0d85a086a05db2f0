"""The production defaults: what `carboy run` fits into an application that has not chosen itself."""

from __future__ import annotations

from typing import Any

import pytest

from carboy import Carboy
from carboy.batteries.compress import Compression
from carboy.batteries.security import Security
from carboy.cli.serving import equip

OPTIONS: dict[str, Any] = {
    "compress": True, "security": "basic", "tls_cert": None, "access_log": "off", "access_log_file": None, "access_log_sample": 1.0,
    "metrics_path": None, "health_prefix": None, "ping_timeout": 2.0, "report_blocking": None,
}  # fmt: skip


def make_app() -> Carboy:
    app = Carboy("equipped")
    app.secret_key = "for this test"

    @app.get("/")
    def index() -> str:
        from carboy import session

        session["seen"] = 1
        return "word " * 400

    @app.get("/streamed")
    def streamed() -> Any:
        return app.response_class(iter(["<p>", "word"]), mimetype="text/html")

    @app.post("/write")
    def write() -> str:
        return "written"

    return app


def equipped(app: Any, **options: Any) -> Any:
    equip(app, {**OPTIONS, **options}, None, {})  # type: ignore[arg-type]  # nothing is observed, so nobody asks the surroundings
    return app.test_client()


def test_answers_are_compressed_and_typed() -> None:
    """By default: compression, nosniff, Referrer-Policy, a session cookie that says SameSite."""
    answer = equipped(make_app()).get("/", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
    assert "Secure" not in answer.headers["Set-Cookie"]


def test_what_could_break_an_application_is_not_there() -> None:
    """No policy for scripts and frames, and a foreign page may write, as before."""
    client = equipped(make_app())

    page = client.get("/streamed")
    written = client.post("/write", headers={"Sec-Fetch-Site": "cross-site"})

    assert page.text == "<p>word"
    assert {"Content-Security-Policy", "X-Frame-Options", "Cross-Origin-Opener-Policy"}.isdisjoint(page.headers.keys())
    assert written.status_code == 200


def test_all_defaults_by_one_option() -> None:
    """`--security full` is what `app.fit(Security())` is."""
    client = equipped(make_app(), security="full")

    page = client.get("/streamed")
    written = client.post("/write", headers={"Sec-Fetch-Site": "cross-site"})

    assert "frame-ancestors" in page.headers["Content-Security-Policy"]
    assert written.status_code == 403


def test_nothing_is_added_where_it_is_switched_off() -> None:
    """`--no-compress --security off` leaves an application as it is."""
    answer = equipped(make_app(), compress=False, security="off").get("/", headers={"Accept-Encoding": "gzip"})

    assert {"Content-Encoding", "X-Content-Type-Options", "Referrer-Policy", "Vary"} & set(answer.headers.keys()) <= {"Vary"}
    assert "SameSite" not in answer.headers["Set-Cookie"]


def test_what_the_application_has_chosen_stays() -> None:
    """Its own batteries, and what its configuration says of the cookie."""
    app = make_app()
    app.config["COMPRESS_MINIMUM"] = 100_000
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    own = app.fit(Compression()), app.fit(Security())

    answer = equipped(app, security="full").get("/", headers={"Accept-Encoding": "gzip"})

    assert (app.fitted["compress"], app.fitted["security"]) == own
    assert "Content-Encoding" not in answer.headers
    assert "SameSite=Strict" in answer.headers["Set-Cookie"]


def test_the_cookie_is_secure_where_tls_is_spoken() -> None:
    """TLS that ends here is known to be there."""
    answer = equipped(make_app(), tls_cert="cert.pem").get("/", base_url="https://localhost")

    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("stranger", [lambda environ, start: [b""], object()])
def test_an_application_of_another_framework_is_left_alone(stranger: Any) -> None:
    """Nothing is fitted where nothing can be."""
    assert equip(stranger, OPTIONS, None, {}) is None  # type: ignore[arg-type]  # as above


def test_what_a_check_finds_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of setup stands in the log before the first request."""
    app = make_app()
    app.config["CROSS_ORIGIN_EXEMPT"] = ["nobody"]

    equipped(app, security="full")

    assert "cross_origin.exempt: CROSS_ORIGIN_EXEMPT has 'nobody'" in caplog.text


@pytest.mark.parametrize("level", ["basic", "full"])
def test_headers_that_a_view_has_replaced_by_a_dict(level: str) -> None:
    """What Werkzeug takes as headers, the defaults take too."""
    app = make_app()

    @app.get("/dict")
    def replaced() -> Any:
        response = app.make_response("word " * 400)
        response.headers = {"X-Own": "1", "Content-Type": "text/plain", "Set-Cookie": "a=b"}  # type: ignore[assignment]  # as guests do
        return response

    answer = equipped(app, security=level).get("/dict", headers={"Accept-Encoding": "gzip"})

    assert (answer.status_code, answer.headers["X-Own"]) == (200, "1")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Encoding"] == "gzip"
