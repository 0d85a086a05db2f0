"""The examples of the docs run, and do what the docs say. Every app in docs/examples is at least loaded and frozen."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path
from typing import Any

import pytest

import carboy

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
#: Files that make an app; others are scripts, parts of one, or tests of their own.
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py") if "\napp = Carboy(" in path.read_text(encoding="utf-8"))


def load(name: str) -> carboy.Carboy:
    """The example's app, of a fresh run of its file."""
    path = FOLDER / f"{name}.py"
    app = runpy.run_path(str(path), run_name=name)["app"]
    assert isinstance(app, carboy.Carboy)
    return app


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the example named by the test's parameter, on the default door."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return load(request.param).test_client(door="asgi")


def of(name: str) -> Any:
    return pytest.mark.parametrize("example", [name], indirect=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_an_app_without_mistakes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads, its plans compile, and its start-up checks find nothing."""
    monkeypatch.syspath_prepend(str(FOLDER))
    app = load(name)

    app.freeze()

    assert [text for _, check in app.checks if (text := check(app))] == []


@pytest.mark.parametrize("name", ["compression", "caching", "cdn", "assets", "security"])
def test_chapter_on_http_names_its_examples(name: str) -> None:
    """An example nobody is sent to teaches nobody."""
    assert f"(examples/{name}.py)" in (FOLDER.parent / "http.md").read_text()


@of("hello")
def test_hello(example: Any) -> None:
    """The first one of all."""
    assert example.get("/").text == "Hello!"


@of("compression")
def test_compression(example: Any) -> None:
    """What is encoded, and what said no."""
    wants = {"Accept-Encoding": "gzip"}

    assert b"Jar 999" in gzip.decompress(example.get("/", headers=wants).data)
    assert gzip.decompress(example.get("/log", headers=wants).data).count(b"\n") == 100
    for path in ("/recovery-codes", "/one-answer"):
        assert "Content-Encoding" not in example.get(path, headers=wants).headers


@of("caching")
def test_caching(example: Any) -> None:
    """Fresh for a minute, and not sent twice."""
    first = example.get("/news")

    assert first.headers["Cache-Control"] == "public, max-age=60, stale-while-revalidate=600"
    assert example.get("/news", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert example.get("/posts/3", headers={"If-None-Match": '"post-3-version-7"'}).status_code == 304


@of("cdn")
def test_cdn(example: Any) -> None:
    """The CDN's own header, and the tags."""
    headers = example.get("/posts/3").headers

    assert headers["CDN-Cache-Control"] == "max-age=86400, stale-if-error=3600"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["Surrogate-Key"] == "posts post-3"
    assert example.get("/").headers["Surrogate-Key"] == "feed post-1 post-2"


@of("assets")
def test_assets(example: Any) -> None:
    """The same URL in templates and views, kept for ever."""
    url = example.get("/links").get_json()["stylesheet"]

    assert url in example.get("/").text
    assert "immutable" in example.get(url).headers["Cache-Control"]


@of("security")
def test_security(example: Any) -> None:
    """Nonces, redirects within the site, cookies, and writes of others."""
    page = example.get("/in-a-view")
    nonce = page.text.split("'")[1]
    back = example.post("/login?next=/in-a-view")
    foreign = {"Sec-Fetch-Site": "cross-site"}

    assert f"'nonce-{nonce}'" in page.headers["Content-Security-Policy"]
    assert back.headers["Location"] == "/in-a-view"
    assert example.post("/login?next=//evil.example").headers["Location"] == "/"
    assert back.headers.getlist("Set-Cookie") == ["id=1; Path=/; HttpOnly; SameSite=Lax", "theme=dark; Path=/; SameSite=Lax"]
    assert example.post("/login", headers=foreign).status_code == 403
    assert example.post("/login", headers={**foreign, "Origin": "https://partner.example"}).status_code == 303
    assert example.post("/newsletter", headers=foreign).status_code == 303
