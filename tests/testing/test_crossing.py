"""A WSGI environ taken apart into what crosses a wire."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from carboy.testing.crossing import Upload, status_line, taken_apart


def pieces_of(upload):
    pieces = []
    while not upload.done:
        pieces.append(upload.read())
    return pieces


@pytest.mark.parametrize(
    ("path", "target", "text"),
    [
        ("/plain", b"/plain", "/plain"),
        ("/a%2Fb", b"/a%2Fb", "/a/b"),
        ("/é x", b"/%C3%A9%20x", "/é x"),
        ("/a+b;c=d@e", b"/a+b;c=d@e", "/a+b;c=d@e"),
    ],
)
def test_target_is_what_was_asked_for(path, target, text):
    """The target keeps the escapes that the test wrote, and adds those that are needed."""
    request = taken_apart(EnvironBuilder(path).get_environ())

    assert (request.target, request.path) == (target, text)


def test_root_path_is_part_of_the_path():
    """Path and target are the whole; the root path says what of it is the server's."""
    request = taken_apart(EnvironBuilder("/a%2Fb?c=d", "https://h.example:81/root").get_environ())

    assert (request.root_path, request.path, request.target, request.query) == ("/root", "/root/a/b", b"/root/a%2Fb", b"c=d")
    assert (request.scheme, request.server) == ("https", ("h.example", 81))


def test_bytes_that_are_no_text_are_replaced_in_the_path_alone():
    """A path that is no UTF-8 is decoded as servers do; the target has its bytes."""
    environ = EnvironBuilder("/").get_environ()
    environ["PATH_INFO"] = "/\xff"

    request = taken_apart(environ)

    assert (request.path, request.target) == ("/\ufffd", b"/%FF")


def test_headers_are_lines():
    """Header names are lower-case; each cookie has a line of its own."""
    environ = EnvironBuilder("/", headers={"X-Word": "é"}, data=b"ab", method="POST", content_type="text/x").get_environ()
    environ["HTTP_COOKIE"] = "a=1; b=2"

    lines = taken_apart(environ).headers

    assert (b"x-word", b"\xe9") in lines
    assert (b"content-type", b"text/x") in lines
    assert (b"content-length", b"2") in lines
    assert [value for name, value in lines if name == b"cookie"] == [b"a=1", b"b=2"]


@given(st.binary(max_size=500), st.booleans())
def test_body_comes_in_pieces(body, chunked):
    """Whatever its length, and whether it is announced, the body comes whole, in more than one piece if it can."""
    environ = {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    if not chunked:
        environ = {"wsgi.input": BytesIO(body + b"of the next request"), "CONTENT_LENGTH": str(len(body))}
    upload = Upload(environ)

    pieces = pieces_of(upload)

    assert b"".join(pieces) == body
    assert len(pieces) > 1 or len(body) < 4
    assert not upload.broken


def test_body_that_ends_early_is_broken():
    """A body shorter than announced is told from a whole one."""
    upload = Upload({"wsgi.input": BytesIO(b"abc"), "CONTENT_LENGTH": "10"})

    pieces_of(upload)

    assert upload.broken


def test_body_that_is_not_announced_is_none():
    """Without a length, and without an end to the input, there is no body."""
    assert pieces_of(Upload({"wsgi.input": BytesIO(b"abc")})) == []


def test_status_line_has_its_phrase():
    """Known statuses have their phrase; others go with a stand-in."""
    assert status_line(404) == "404 Not Found"
    assert status_line(299) == "299 UNKNOWN"
