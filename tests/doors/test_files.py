"""Files: sent by a view or from the static folder, whole, in part, or not at all because they have not changed."""

from __future__ import annotations

import datetime
from io import BytesIO

import pytest
from werkzeug.http import http_date

from carboy import Blueprint, Carboy, send_file, send_from_directory, url_for

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def file(root):
    """A file of 102,400 bytes in the static folder."""
    path = root / "static" / "data.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def sends(app, coloured, file):
    """A view at /file that sends it."""

    @app.get("/file")
    @coloured
    def view():
        return send_file(file)


def test_file_is_sent(client, sends):
    """A file is sent with type, length, date and tag."""
    response = client.get("/file")

    assert response.status_code == 200
    assert response.data == CONTENT
    assert response.mimetype == "application/octet-stream"
    assert response.content_length == len(CONTENT)
    assert response.last_modified is not None
    assert response.headers["ETag"]
    assert response.headers["Cache-Control"] == "no-cache"


def test_static_file_is_sent(client, file):
    """What lies in the static folder is served below /static."""
    response = client.get("/static/data.bin")

    assert (response.status_code, response.data) == (200, CONTENT)


@pytest.mark.parametrize("path", ["/file", "/static/data.bin"])
def test_unchanged_file_is_not_sent_again(client, sends, path):
    """A client that has the file is told so, by tag or by date, without a body."""
    first = client.get(path)

    by_tag = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    by_date = client.get(path, headers={"If-Modified-Since": first.headers["Last-Modified"]})
    another = client.get(path, headers={"If-None-Match": '"another"'})
    old = client.get(path, headers={"If-Modified-Since": http_date(datetime.datetime(2001, 1, 1))})

    assert (by_tag.status_code, by_tag.data) == (304, b"")
    assert by_tag.headers["ETag"] == first.headers["ETag"]
    assert (by_date.status_code, by_date.data) == (304, b"")
    assert (another.status_code, old.status_code) == (200, 200)


@pytest.mark.parametrize("path", ["/file", "/static/data.bin"])
@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("0-0", 0, 1), ("10-19", 10, 20), ("102390-", 102390, 102400), ("-10", 102390, 102400), ("0-999999", 0, 102400)],
)
def test_part_of_a_file_is_sent(client, sends, path, wanted, start, stop):
    """A range is answered with 206, the bytes asked for, and where they lie."""
    response = client.get(path, headers={"Range": f"bytes={wanted}"})

    assert response.status_code == 206
    assert response.data == CONTENT[start:stop]
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/102400"
    assert response.content_length == stop - start


@pytest.mark.parametrize("wanted", ["102400-", "200000-200001"])
def test_part_that_is_not_there_is_refused(client, sends, wanted):
    """A range past the end is answered with 416, which tells the length."""
    response = client.get("/file", headers={"Range": f"bytes={wanted}"})

    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */102400"


def test_part_of_another_version_is_not_sent(client, sends):
    """A range with an If-Range that does not fit is answered with the whole file."""
    tag = client.get("/file").headers["ETag"]

    assert client.get("/file", headers={"Range": "bytes=0-9", "If-Range": tag}).status_code == 206
    assert client.get("/file", headers={"Range": "bytes=0-9", "If-Range": '"old"'}).data == CONTENT


def test_head_of_a_file_has_its_headers(client, sends):
    """HEAD gives the headers of the file and no body."""
    response = client.head("/file")

    assert (response.status_code, response.data, response.content_length) == (200, b"", len(CONTENT))


def test_file_may_be_a_download(app, client, coloured, file):
    """A file sent as an attachment has a name, also where that is not ASCII."""

    @app.get("/<name>")
    @coloured
    def view(name):
        return send_file(file, as_attachment=True, download_name=name)

    assert client.get("/plain.bin").headers["Content-Disposition"] == "attachment; filename=plain.bin"
    header = client.get("/%C3%BCber.bin").headers["Content-Disposition"]
    assert "filename*=UTF-8''%C3%BCber.bin" in header


def test_bytes_in_memory_are_sent_as_a_file(app, client, coloured):
    """A file object is sent from where it stands, with the type that its name says."""

    @app.get("/")
    @coloured
    def view():
        return send_file(BytesIO(b"a,b\n"), download_name="table.csv", max_age=60)

    response = client.get("/")

    assert (response.data, response.mimetype) == (b"a,b\n", "text/csv")
    assert response.cache_control.max_age == 60


@pytest.mark.parametrize("name", ["../secret.txt", "..%2Fsecret.txt", "/etc/passwd", "deep/../../secret.txt", "nothing.txt", "."])
def test_nothing_outside_of_a_directory_is_sent(app, client, coloured, root, name):
    """send_from_directory and the static folder send what lies inside, and 404 for all else."""
    (root / "secret.txt").write_text("secret")
    (root / "static" / "deep").mkdir()

    @app.get("/down/<path:name>")
    @coloured
    def down(name):
        return send_from_directory(root / "static", name)

    for folder in ("/down/", "/static/"):
        response = client.get(folder + name)
        assert response.status_code in {404, 308}, response
        assert b"secret" not in response.data
        assert b"root:" not in response.data


def test_static_files_may_live_long(app, client, file):
    """SEND_FILE_MAX_AGE_DEFAULT is how long static files may be kept."""
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600

    assert client.get("/static/data.bin").cache_control.max_age == 3600


def test_static_folder_has_its_own_path(root, make_client, file):
    """Folder and path of static files may be chosen; URLs follow."""
    app = Carboy("board", root_path=str(root), static_folder="static", static_url_path="/assets")

    assert make_client(app).get("/assets/data.bin").data == CONTENT
    assert make_client(app).get("/static/data.bin").status_code == 404
    with app.test_request_context():
        assert url_for("static", filename="data.bin") == "/assets/data.bin"


def test_blueprint_has_static_files(app, client, root):
    """A blueprint may have a static folder of its own, below its prefix."""
    folder = root / "shop" / "static"
    folder.mkdir(parents=True)
    (folder / "a.css").write_text("a {}")
    shop = Blueprint("shop", __name__, url_prefix="/shop", static_folder=str(folder), static_url_path="/files")
    app.register_blueprint(shop)

    response = client.get("/shop/files/a.css")

    assert (response.text, response.mimetype) == ("a {}", "text/css")
