"""Malformed input is the client's fault: 400 with a short text, or ignored where that is safe; never a 500."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carboy import request, session


@pytest.fixture
def looks(app, coloured):
    """A view that looks at everything a client has sent."""

    @app.route("/", methods=["GET", "POST"])
    @app.route("/<path:rest>", methods=["GET", "POST"])
    @coloured
    def index(rest=""):
        read = [rest, request.url, request.full_path, dict(request.args), dict(request.cookies), request.host, session.get("x")]
        read += [dict(request.form), list(request.files), request.get_data(), request.get_json(silent=True)]
        read += [request.authorization, request.if_modified_since, request.range, request.accept_mimetypes, request.date]
        return f"{len(read)} ok"


def short(response):
    """Whether an answer says what is wrong in few words, and nothing of how it works inside."""
    return len(response.data) < 1000 and b"Traceback" not in response.data and b".py" not in response.data


@pytest.mark.parametrize("path", ["/\xff", "/a\xc3", "/\xed\xa0\x80", "/\xc0\xaf"])
def test_path_that_is_no_utf8_is_a_bad_request(client, looks, path):
    """Bytes that are no text in a path are answered with 400."""
    response = client.get("/", environ_overrides={"PATH_INFO": path, "REQUEST_URI": ""})

    assert response.status_code == 400
    assert short(response)


def test_path_that_is_no_utf8_and_matches_nothing_is_refused_too(app, client):
    """A malformed path is refused, though no rule would match it either."""
    response = client.get("/", environ_overrides={"PATH_INFO": "/nowhere/\xff", "REQUEST_URI": ""})

    assert response.status_code in {400, 404}
    assert short(response)


@pytest.mark.parametrize("query", ["%", "%f", "%zz=1", "a=%ff", "a=\xff", "%00=%00", "&&&=&=", "a=%ed%a0%80", ";" * 5000])
def test_malformed_query_is_no_error_of_ours(client, looks, query):
    """A query that is malformed is refused or read with replacements, and never an error of the server."""
    response = client.get("/", environ_overrides={"QUERY_STRING": query})

    assert response.status_code in {200, 400}
    assert short(response)


@pytest.mark.parametrize("cookie", ["\xff", "a=\xff", "=", ";;;", "a", 'a="', 'a="\\777"', "session=\xe9", "session=" + "." * 500, "a=b;" * 3000])
def test_malformed_cookie_is_no_error_of_ours(client, looks, cookie):
    """A cookie that is malformed is refused or ignored, and never an error of the server."""
    client._cookies = None

    response = client.get("/", environ_overrides={"HTTP_COOKIE": cookie})

    assert response.status_code in {200, 400}
    assert short(response)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("AUTHORIZATION", "Basic !!!"),
        ("AUTHORIZATION", "Basic \xff"),
        ("AUTHORIZATION", "Digest realm="),
        ("IF_MODIFIED_SINCE", "yesterday"),
        ("IF_NONE_MATCH", '"\xff'),
        ("RANGE", "bytes=a-b"),
        ("RANGE", "bytes=-"),
        ("ACCEPT", "text/html;q=x, */;;;"),
        ("HOST", "bad host\\"),
        ("HOST", "a:b:c"),
        ("DATE", "Thu, 99 Foo"),
        ("X_WORD", "\x80"),
    ],
)
def test_malformed_header_is_no_error_of_ours(client, looks, header, value):
    """A header that is malformed is refused or ignored, and never an error of the server."""
    response = client.get("/", environ_overrides={f"HTTP_{header}": value})

    assert response.status_code in {200, 400}
    assert short(response)


MULTIPART = "multipart/form-data; boundary=frontier"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        (MULTIPART, b"no boundary here"),
        (MULTIPART, b"--frontier\r\n"),
        (MULTIPART, b'--frontier\r\nContent-Disposition: form-data; name="a"\r\n\r\nnever ended'),
        (MULTIPART, b"--frontier\r\nContent-Disposition\r\n\r\nx\r\n--frontier--\r\n"),
        (MULTIPART, b"--frontier\r\nno: disposition\r\n\r\nx\r\n--frontier--\r\n"),
        (MULTIPART, b'--frontier\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--frontier--\r\n'),
        (MULTIPART, b"--frontier\r\n" + b"x: y\r\n" * 5000),
        ("application/x-www-form-urlencoded", b"%"),
        ("application/x-www-form-urlencoded", b"a=%ff&%zz=\xff"),
        ("application/x-www-form-urlencoded; charset=utf-99", b"a=b"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"a": ' + b"9" * 10_000 + b"}"),
        ("\xff/\xff", b"x"),
        (";;;", b"x"),
    ],
)
def test_malformed_body_is_no_error_of_ours(client, looks, kind, body):
    """A body that is malformed is refused, or read as far as it goes, and never an error of the server."""
    response = client.post("/", input_stream=BytesIO(body), environ_overrides={"CONTENT_TYPE": kind})

    assert response.status_code in {200, 400, 413}
    assert short(response)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b'"\\ud800"x', b"\xef\xbb\xbf{}x"])
def test_json_bomb_is_a_bad_request(app, client, coloured, body):
    """JSON that nests too deep, or has a number too long, is answered with 400 like any that is malformed."""

    @app.post("/")
    @coloured
    def index():
        return {"read": len(str(request.get_json()))}

    response = client.post("/", data=body, content_type="application/json")

    assert response.status_code == 400
    assert short(response)


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "9" * 400, "1,1"])
def test_malformed_length_is_no_error_of_ours(client, looks, length):
    """A Content-Length that is no number is refused or taken for none."""
    response = client.post("/", data=b"abc", environ_overrides={"CONTENT_LENGTH": length})

    assert response.status_code in {200, 400, 413}
    assert short(response)


def test_body_that_breaks_off_never_reaches_the_view_as_a_whole(app, client, coloured, door):
    """Of a body shorter than announced the view sees nothing, or an error; never a part that looks like all."""
    if door == "rsgi":
        pytest.skip("granian's RSGI gives a body that breaks off as a whole one")
    seen = []

    @app.post("/")
    @coloured
    def index():
        seen.append(request.get_data())
        return "ok"

    try:
        response = client.post("/", data=b"abc", environ_overrides={"CONTENT_LENGTH": "100"})
    except RuntimeError:
        pass  # nobody is left to be answered, and nothing was
    else:
        assert response.status_code == 400

    assert seen == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.binary(max_size=20),
    query=st.binary(max_size=20),
    cookie=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20),
    body=st.binary(max_size=60),
    kind=st.sampled_from(["application/json", MULTIPART, "application/x-www-form-urlencoded", "text/plain", ""]),
)
def test_no_bytes_make_an_error_of_ours(client, looks, path, query, cookie, body, kind):
    """Whatever bytes stand in a request, the answer is no error of the server."""
    client._cookies = None
    overrides = {
        "PATH_INFO": "/" + path.decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "REQUEST_URI": "",
        "HTTP_COOKIE": cookie,
        "CONTENT_TYPE": kind,
    }

    response = client.post("/", input_stream=BytesIO(body), environ_overrides=overrides)

    assert response.status_code < 500
