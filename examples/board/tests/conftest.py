"""A board for each test, in a folder of its own, and people to try it with."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from carboy import Carboy
from werkzeug.security import generate_password_hash

from board import create_app


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same hash with little work: a test makes many accounts."""
    quick = partial(generate_password_hash, method="scrypt:1024:8:1")
    monkeypatch.setattr("board.accounts.queries.generate_password_hash", quick)


@pytest.fixture
def app(tmp_path: Path) -> Carboy:
    """An empty board."""
    return create_app({"TESTING": True, "DATA": tmp_path, "POSTS_PER_PAGE": 3})


@pytest.fixture
def client(app: Carboy):
    """Somebody who is not logged in."""
    return app.test_client()


@pytest.fixture
def password() -> str:
    """Everybody's password."""
    return "correct horse"


@pytest.fixture
def join(app: Carboy, password: str) -> Callable:
    """``join("anna")``: a browser in which Anna has just made an account."""

    def join(name: str):
        browser = app.test_client()
        answer = browser.post("/register", data={"name": name, "password": password})
        assert answer.status_code == 302
        return browser

    return join


@pytest.fixture
def anna(join: Callable):
    """Anna's browser."""
    return join("anna")


@pytest.fixture
def write() -> Callable:
    """``write(anna, title="…")``: put a post on the board and return its address."""

    def write(browser, **fields: object) -> str:
        sent = {"topic": "beer", "title": "A title", "body": "Some text.", **fields}
        answer = browser.post("/posts/new", data=sent)
        assert answer.status_code == 302, answer.text
        return answer.location

    return write


@pytest.fixture
def photo() -> Callable:
    """``photo(width, height)``: a JPEG as a form field, with a place written in it as cameras do."""
    image_module = pytest.importorskip("PIL.Image", reason="pictures need Pillow")

    def photo(width: int = 800, height: int = 600, name: str = "photo.jpg") -> tuple[io.BytesIO, str]:
        image = image_module.new("RGB", (width, height), "orange")
        exif = image_module.Exif()
        exif[0x010E] = "taken at 60.39 N 5.32 E"
        file = io.BytesIO()
        image.save(file, "JPEG", exif=exif)
        file.seek(0)
        return file, name

    return photo
