"""Files as answers: static folders with precompressed siblings, send_file, send_from_directory."""

from __future__ import annotations

import gzip
import io
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException, NotFound, RequestedRangeNotSatisfiable
from werkzeug.http import http_date
from werkzeug.test import EnvironBuilder

from carboy.app import Carboy
from carboy.core.ctx import Context
from carboy.standard.static import (
    Static,
    StaticFiles,
    answer_static,
    check_siblings,
    safe_path,
    send_file,
    send_from_directory,
    serve_static,
)
from carboy.wire.files import FilePayload
from carboy.wire.request import Request
from carboy.wire.response import Answer, Response

SCRIPT = b"let a = 1;\n" * 100


class Owner:
    """The part of an app that files are served for."""

    response_class = Response

    def __init__(self, root: Path) -> None:
        self.root_path = str(root)
        self.static_folder: str | None = str(root / "static")
        self.config: dict[str, Any] = {"USE_X_SENDFILE": False}
        self.max_age: int | None = None
        self.asked: list[str | None] = []

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        self.asked.append(filename)
        return self.max_age


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    folder = tmp_path / "static"
    (folder / "sub").mkdir(parents=True)
    (folder / "app.js").write_bytes(SCRIPT)
    (folder / "sub" / "häßlich.txt").write_text("ü")
    (tmp_path / "secret").write_text("secret")
    return Owner(tmp_path)


@pytest.fixture
def files() -> StaticFiles:
    return StaticFiles()


def requested(owner: Any, method: str = "GET", **headers: str) -> Context:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Context(owner, Request(EnvironBuilder(method=method, headers=sent).get_environ()))


def get(owner: Owner, files: StaticFiles, name: str, method: str = "GET", **headers: str) -> Response:
    answer = answer_static(requested(owner, method, **headers), owner, name, files)
    return answer.to_response(Response) if isinstance(answer, Answer) else answer  # type: ignore[return-value]


def content(response: Any) -> bytes:
    body = b"".join(response.response)
    response.close()
    return body


# ── static folders ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_static_file_is_answered_with_its_validators(owner, files):
    """Type, length, tag and date, and a body that the server can send itself."""
    response = get(owner, files, "app.js")

    assert response.status_code == 200
    assert response.mimetype in ("text/javascript", "application/javascript")
    assert response.content_length == len(SCRIPT)
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.last_modified is not None
    assert response.get_etag()[1] is False
    assert "Vary" not in response.headers
    assert response.direct_passthrough
    assert type(response.response) is FilePayload
    assert content(response) == SCRIPT


def test_a_name_beyond_ascii_is_found_and_named(owner, files):
    """Names are UTF-8 on disk and RFC 8187 in the header."""
    response = get(owner, files, "sub/häßlich.txt")

    assert content(response) == "ü".encode()
    assert response.headers["Content-Disposition"].endswith("filename*=UTF-8''h%C3%A4%C3%9Flich.txt")


def test_what_has_not_changed_is_304(owner, files):
    """A client that has the file gets no content, light enough for a plan without hooks."""
    first = get(owner, files, "app.js")

    for headers in ({"if_none_match": first.headers["ETag"]}, {"if_modified_since": first.headers["Last-Modified"]}):
        answer = answer_static(requested(owner, "GET", **headers), owner, "app.js", files)

        assert isinstance(answer, Answer)
        assert (answer.status_code, answer.body) == (304, b"")
        sent = dict(answer.headers)
        assert sent["ETag"] == first.headers["ETag"]
        assert sent["Cache-Control"] == "no-cache"
        assert not {"Content-Length", "Content-Type"} & sent.keys()


def test_guests_always_get_a_response(owner, files):
    """serve_static is what send_static_file calls: its callers read and set headers."""
    tag = get(owner, files, "app.js").headers["ETag"]

    response = serve_static(requested(owner, if_none_match=tag), owner, Path("app.js"), files)

    assert isinstance(response, Response)
    assert (response.status_code, response.get_data()) == (304, b"")


def test_a_changed_file_is_noticed_in_the_next_request(owner, files):
    """What is remembered is checked each time: content, tag and length are the new ones."""
    path = Path(owner.static_folder) / "app.js"
    tag = get(owner, files, "app.js").headers["ETag"]
    path.write_bytes(b"new")
    os.utime(path, ns=(10**18, 10**18))

    response = get(owner, files, "app.js", if_none_match=tag)

    assert (response.status_code, response.content_length, content(response)) == (200, 3, b"new")
    path.unlink()
    with pytest.raises(NotFound):
        get(owner, files, "app.js")
    assert len(files) == 0


def test_a_failed_condition_is_412(owner, files):
    """If-Match with another version's tag, without the file."""
    response = get(owner, files, "app.js", if_match='"other"')

    assert (response.status_code, content(response)) == (412, b"")


def test_ranges_are_answered(owner, files):
    """One range is 206, one beyond the end 416; several get the whole file."""
    part = get(owner, files, "app.js", range="bytes=4-8")
    whole = get(owner, files, "app.js", range="bytes=0-1,4-8")

    assert part.status_code == 206
    assert part.headers["Content-Range"] == f"bytes 4-8/{len(SCRIPT)}"
    assert part.content_length == 5
    assert content(part) == SCRIPT[4:9]
    assert (whole.status_code, content(whole)) == (200, SCRIPT)
    with pytest.raises(RequestedRangeNotSatisfiable) as caught:
        get(owner, files, "app.js", range="bytes=5000-")
    assert dict(caught.value.get_headers())["Content-Range"] == f"bytes */{len(SCRIPT)}"


def test_a_range_of_another_version_gets_the_whole_file(owner, files):
    """If-Range decides by the strong tag."""
    tag = get(owner, files, "app.js").headers["ETag"]

    assert get(owner, files, "app.js", range="bytes=0-1", if_range=tag).status_code == 206
    assert get(owner, files, "app.js", range="bytes=0-1", if_range='"old"').status_code == 200


def test_head_is_get_without_content(owner, files):
    """The same headers; no file is opened, no range looked at."""
    response = get(owner, files, "app.js", "HEAD", range="bytes=0-1")

    assert response.status_code == 200
    assert response.headers["Content-Length"] == str(len(SCRIPT))
    assert content(response) == b""


@pytest.mark.parametrize(
    ("max_age", "control"), [(None, "no-cache"), (0, "no-cache, max-age=0"), (3600, "public, max-age=3600")]
)
def test_max_age_is_the_owners_to_say(owner, files, max_age, control):
    """get_send_file_max_age is asked with the name in the URL, for a 304 too."""
    owner.max_age = max_age
    first = get(owner, files, "app.js")
    second = get(owner, files, "app.js", if_none_match=first.headers["ETag"])

    assert owner.asked == ["app.js", "app.js"]
    for response in (first, second):
        assert response.headers["Cache-Control"] == control
        assert ("Expires" in response.headers) == (max_age is not None)


@pytest.mark.parametrize(
    "name",
    [
        "missing.js",
        "",
        ".",
        "sub",
        "sub/",
        "../secret",
        "sub/../../secret",
        "/etc/passwd",
        "//etc/passwd",
        "..\\secret",
        "sub\\x",
        "app.js\0",
        "\0",
        "a" * 5000,
        "app.js/x",
        "\udcff",
        "fifo",
        "device",
    ],
)
def test_what_is_no_file_in_the_folder_is_404(owner, files, name):
    """Nothing but a regular file below the folder is ever answered."""
    os.mkfifo(Path(owner.static_folder) / "fifo")
    os.symlink("/dev/null", Path(owner.static_folder) / "device")

    with pytest.raises(NotFound):
        get(owner, files, name)
    assert len(files) == 0


@given(name=st.text(alphabet="./\\ab\0s%é~:", max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leads_out_of_the_folder(owner, name):
    """Whatever a client asks for, the path is below the folder or there is none."""
    folder = str(owner.static_folder)
    try:
        path = safe_path(folder, name)
    except NotFound:
        return
    assert os.path.normpath(path) == folder or os.path.normpath(path).startswith(folder + os.sep)


def test_roundabout_names_are_served_and_not_remembered(owner):
    """Strangers can neither fill the memory nor push the real files out of it."""
    files = StaticFiles(most_remembered=2)
    for name in ("app.js", "sub/../app.js", "./app.js", "sub/./../app.js"):
        assert content(get(owner, files, name)) == SCRIPT
    assert len(files) == 1

    for number in range(5):
        (Path(owner.static_folder) / f"{number}.txt").write_text("x")
        get(owner, files, f"{number}.txt").close()
    assert len(files) == 2


def test_an_owner_without_folder_says_so(owner, files):
    """As in Flask, a RuntimeError names the setting."""
    owner.static_folder = None

    with pytest.raises(RuntimeError, match="'static_folder' must be set"):
        get(owner, files, "app.js")


def test_x_sendfile_leaves_the_file_to_the_server_in_front(owner, files):
    """The path goes into the header, the content and the range stay out."""
    owner.config["USE_X_SENDFILE"] = True

    response = get(owner, files, "app.js", range="bytes=0-1")

    assert response.headers["X-Sendfile"] == os.path.join(owner.static_folder, "app.js")
    assert (response.status_code, content(response)) == (200, b"")


# ── precompressed siblings ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def packed(owner: Owner) -> dict[str, bytes]:
    """app.js with three siblings; br and zst are told apart by their content."""
    contents = {"gzip": gzip.compress(SCRIPT), "br": b"brotli bytes", "zstd": b"zstandard bytes"}
    for coding, ending in (("gzip", "gz"), ("br", "br"), ("zstd", "zst")):
        (Path(owner.static_folder) / f"app.js.{ending}").write_bytes(contents[coding])
    return contents


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("gzip, br", "br"), ("gzip, br, zstd", "zstd"), ("br;q=0.1, gzip;q=0.9", "gzip")],
)
def test_a_sibling_the_client_takes_is_answered(owner, files, packed, accepted, coding):
    """The original's type, the sibling's bytes, length and tag."""
    plain = get(owner, files, "app.js")
    response = get(owner, files, "app.js", accept_encoding=accepted)

    assert response.headers["Content-Encoding"] == coding
    assert response.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert response.mimetype == plain.mimetype
    assert response.content_length == len(packed[coding])
    assert response.headers["ETag"] != plain.headers["ETag"]
    assert content(response) == packed[coding]
    assert content(plain) == SCRIPT
    assert "Content-Encoding" not in plain.headers


def test_each_variant_has_its_own_304(owner, files, packed):
    """A tag counts only for the coding it was given with, and a 304 says what it varies on."""
    tags = {
        coding: get(owner, files, "app.js", accept_encoding=coding).headers["ETag"]
        for coding in ("identity", "gzip", "br", "zstd")
    }

    assert len(set(tags.values())) == 4
    for coding, tag in tags.items():
        same = get(owner, files, "app.js", accept_encoding=coding, if_none_match=tag)
        assert (same.status_code, same.headers["Vary"]) == (304, "Accept-Encoding")
        other = get(owner, files, "app.js", accept_encoding="br" if coding != "br" else "gzip", if_none_match=tag)
        assert other.status_code == 200
        other.close()


def test_ranges_are_of_the_coded_bytes(owner, files, packed):
    """A range counts in the variant that is sent."""
    response = get(owner, files, "app.js", accept_encoding="br", range="bytes=0-5")

    assert response.headers["Content-Range"] == f"bytes 0-5/{len(packed['br'])}"
    assert content(response) == b"brotli"


def test_a_sibling_older_than_its_file_is_ignored(owner, files, packed):
    """A forgotten rebuild must not serve yesterday's script."""
    os.utime(Path(owner.static_folder) / "app.js.br", ns=(1, 1))

    assert "Content-Encoding" not in get(owner, files, "app.js", accept_encoding="br").headers


def test_a_sibling_replaced_behind_our_back_is_noticed(owner, files, packed):
    """The bytes, the length and the tag of an answer belong together."""
    tag = get(owner, files, "app.js", accept_encoding="br").headers["ETag"]
    (Path(owner.static_folder) / "app.js.br").write_bytes(b"other brotli bytes")

    response = get(owner, files, "app.js", accept_encoding="br")

    assert response.headers["ETag"] != tag
    assert content(response) == b"other brotli bytes"


# ── send_file ───────────────────────────────────────────────────────────────────────────────────────────────


def test_send_file_takes_paths_relative_to_the_app(owner):
    """A path is taken from root_path, and sent as a payload."""
    response = send_file(requested(owner), "static/app.js")

    assert response.direct_passthrough
    assert type(response.response) is FilePayload
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Content-Disposition"] == "inline; filename=app.js"
    assert "X-Sendfile" not in response.headers
    assert owner.asked == [os.path.join(owner.root_path, "static/app.js")]
    assert content(response) == SCRIPT


def test_send_file_takes_open_files(owner):
    """A file in memory needs a name or a type."""
    response = send_file(requested(owner), io.BytesIO(b"data"), download_name="a.txt", as_attachment=True)

    assert response.mimetype == "text/plain"
    assert response.headers["Content-Disposition"] == "attachment; filename=a.txt"
    assert content(response) == b"data"
    with pytest.raises(TypeError, match="MIME type"):
        send_file(requested(owner), io.BytesIO(b"data"))
    with pytest.raises(ValueError, match="binary mode"):
        send_file(requested(owner), io.StringIO("data"), mimetype="text/plain")  # type: ignore[arg-type]


def test_send_file_takes_what_it_is_told(owner):
    """Type, tag, date and age given outrank those of the file."""
    date = datetime(2020, 1, 2, tzinfo=UTC)

    response = send_file(
        requested(owner), Path("static/app.js"), mimetype="text/x", etag="mine", last_modified=date, max_age=60
    )

    assert response.mimetype == "text/x"
    assert response.get_etag() == ("mine", False)
    assert response.last_modified == date
    assert response.headers["Cache-Control"] == "public, max-age=60"
    assert send_file(requested(owner), "static/app.js", etag=False).get_etag() == (None, None)


def test_send_file_is_conditional_unless_told(owner):
    """304, 206, 412 and 416 as for static files, and nothing of it where conditional is off."""
    first = send_file(requested(owner), "static/app.js")
    tag = first.headers["ETag"]

    not_modified = send_file(requested(owner, if_none_match=tag), "static/app.js")
    part = send_file(requested(owner, range="bytes=0-2"), "static/app.js")
    failed = send_file(requested(owner, if_match='"x"'), "static/app.js")
    plain = send_file(requested(owner, if_none_match=tag, range="bytes=0-2"), "static/app.js", conditional=False)

    assert (not_modified.status_code, not_modified.headers["ETag"], content(not_modified)) == (304, tag, b"")
    assert (part.status_code, content(part)) == (206, SCRIPT[:3])
    assert (failed.status_code, content(failed)) == (412, b"")
    assert (plain.status_code, content(plain)) == (200, SCRIPT)
    with pytest.raises(RequestedRangeNotSatisfiable):
        send_file(requested(owner, range="bytes=9999-"), "static/app.js")


def test_send_file_fails_before_the_answer_begins(owner):
    """A path that is none, or a folder, is an error now, not in the middle of the body."""
    with pytest.raises(FileNotFoundError):
        send_file(requested(owner), "static/missing.js")
    with pytest.raises(IsADirectoryError):
        send_file(requested(owner), "static/sub")


def test_send_file_hands_over_to_x_sendfile(owner):
    """With the setting on, the server in front sends the file."""
    owner.config["USE_X_SENDFILE"] = True
    tag = send_file(requested(owner), "static/app.js").headers["ETag"]

    response = send_file(requested(owner), "static/app.js")
    not_modified = send_file(requested(owner, if_none_match=tag), "static/app.js")

    assert response.headers["X-Sendfile"].endswith("static/app.js")
    assert content(response) == b""
    assert not_modified.status_code == 304
    assert "X-Sendfile" not in not_modified.headers


def test_send_from_directory_stays_below_it(owner):
    """The path may be a client's; a folder, or a way out, is 404."""
    response = send_from_directory(requested(owner), "static", "app.js", as_attachment=True)

    assert response.headers["Content-Disposition"] == "attachment; filename=app.js"
    assert content(response) == SCRIPT
    for path in ("../secret", "missing", "sub", "", "a\0b", "..\\secret", "/etc/passwd"):
        with pytest.raises(NotFound):
            send_from_directory(requested(owner), "static", path)


@given(
    st.dictionaries(
        st.sampled_from(["range", "if_range", "if_match", "if_none_match", "if_modified_since", "accept_encoding"]),
        st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=20),
    ),
    st.sampled_from(["GET", "HEAD"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_headers_get_an_answer(owner, headers, method):
    """No header makes anything but an answer or a 4xx."""
    try:
        response = get(owner, StaticFiles(), "app.js", method, **headers)
    except HTTPException as error:
        assert error.code == 416
        return
    assert response.status_code in (200, 206, 304, 412)
    response.close()


def test_dates_are_whole_seconds(owner, files):
    """Last-Modified is HTTP's date of the file."""
    path = Path(owner.static_folder) / "app.js"
    os.utime(path, ns=(10**18 + 999_999_999, 10**18 + 999_999_999))

    assert get(owner, files, "app.js").headers["Last-Modified"] == http_date(10**9)


# ── the equipment ───────────────────────────────────────────────────────────────────────────────────────────


def test_stale_siblings_are_found_at_start(owner, packed):
    """What is not served is named, so that somebody builds it anew."""
    app = Carboy("shop", root_path=owner.root_path)
    if "static" not in app.fitted:
        app.fit(Static())
    assert ("static.siblings", check_siblings) in app.checks
    assert check_siblings(app) is None

    os.utime(Path(owner.static_folder) / "app.js.br", ns=(1, 1))

    assert "app.js.br; compress" in str(check_siblings(app))


def test_an_app_serves_its_static_folder(owner, packed):
    """From request to response: content, 304, range, and a miss."""
    app = Carboy("shop", root_path=owner.root_path)
    client = app.test_client()

    whole = client.get("/static/app.js", headers={"Accept-Encoding": "br"})

    assert (whole.data, whole.headers["Content-Encoding"]) == (packed["br"], "br")
    tag = {"If-None-Match": whole.headers["ETag"], "Accept-Encoding": "br"}
    assert client.get("/static/app.js", headers=tag).status_code == 304
    assert client.get("/static/app.js", headers={"Range": "bytes=4-8"}).data == SCRIPT[4:9]
    assert client.get("/static/app.js", headers={"Range": "bytes=99999-"}).status_code == 416
    assert client.head("/static/app.js").content_length == len(SCRIPT)
    for name in ("missing", "../secret", "%2e%2e/secret", "..%2fsecret", "a%00b", "sub", "..%5csecret"):
        assert client.get(f"/static/{name}").status_code == 404
