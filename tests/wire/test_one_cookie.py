"""One cookie, read without the others, is the one that all of them together would give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carboy.wire.request import Request

HEADERS = ["a=1", " a = 1 ", "a", "=1", "a=", "a=b=c", "b=a", "a=1; b=2", "b=2; a=1", 'a="x y"', "aa=1", "a=1; a=2", ";", "a=1;"]


def request_with(header: str, kind: type[Request] = Request) -> Request:
    return kind({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_COOKIE": header})


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("name", ["a", "b", ""])
def test_one_cookie_is_the_one_among_all(header: str, name: str) -> None:
    """However the header is written."""
    assert request_with(header).cookie(name) == request_with(header).cookies.get(name)


@given(st.text("ab=; \"", max_size=12), st.sampled_from(["a", "b", "ab", ""]))
def test_one_cookie_is_the_one_among_all_of_any_header(header: str, name: str) -> None:
    """Of any text of these characters."""
    assert request_with(header).cookie(name) == request_with(header).cookies.get(name)


def test_request_class_with_cookies_of_its_own_is_asked() -> None:
    """A subclass that reads cookies in its own way has the word about one of them too."""

    class Shouting(Request):
        @property
        def cookies(self) -> dict[str, str]:  # type: ignore[override]
            return {"a": "LOUD"}

    assert request_with("a=1", Shouting).cookie("a") == "LOUD"
    assert request_with("a=1").cookie("a") == "1"
