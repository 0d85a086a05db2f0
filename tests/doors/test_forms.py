"""What a request brings in its body: forms, files, bytes; and where the limits are."""

from __future__ import annotations

from io import BytesIO

import pytest

from carboy import request


def test_form_is_read(app, client, coloured):
    """An urlencoded form gives each value of a name, in order, decoded."""

    @app.post("/")
    @coloured
    def index():
        return {"name": request.form["name"], "tags": request.form.getlist("tag"), "more": request.form.get("more")}

    response = client.post("/", data={"name": "Zoë & co", "tag": ["a", "b"]})

    assert response.json == {"name": "Zoë & co", "tags": ["a", "b"], "more": None}


def test_values_join_query_and_form(app, client, coloured):
    """In values, the query comes before the form."""

    @app.post("/")
    @coloured
    def index():
        return {"both": request.values.getlist("x"), "args": len(request.args), "form": len(request.form)}

    assert client.post("/?x=1", data={"x": "2", "y": "3"}).json == {"both": ["1", "2"], "args": 1, "form": 2}


def test_file_is_received(app, client, coloured):
    """An uploaded file has its name, its type and its bytes; the fields beside it are in the form."""

    @app.post("/")
    @coloured
    def index():
        file = request.files["file"]
        content = file.read()
        return {
            "name": file.filename,
            "type": file.mimetype,
            "size": len(content),
            "same": content == bytes(range(256)) * 1200,
            "title": request.form["title"],
        }

    data = {"file": (BytesIO(bytes(range(256)) * 1200), "pïcture.png", "image/png"), "title": "Ä"}
    response = client.post("/", data=data)

    assert response.json == {"name": "pïcture.png", "type": "image/png", "size": 307200, "same": True, "title": "Ä"}


def test_several_files_of_one_name(app, client, coloured, tmp_path):
    """Files of one name are all there, in order, and can be saved."""

    @app.post("/")
    @coloured
    def index():
        for file in request.files.getlist("file"):
            file.save(tmp_path / file.filename)
        return "ok"

    client.post("/", data={"file": [(BytesIO(b"one"), "1.txt"), (BytesIO(b"two"), "2.txt")]})

    assert (tmp_path / "1.txt").read_bytes() == b"one"
    assert (tmp_path / "2.txt").read_bytes() == b"two"


def test_body_is_read_as_bytes(app, client, coloured):
    """get_data gives the whole body, as often as it is asked."""

    @app.put("/")
    @coloured
    def index():
        return {"same": request.get_data() == request.data == bytes(range(256)) * 1000, "length": request.content_length}

    assert client.put("/", data=bytes(range(256)) * 1000).json == {"same": True, "length": 256000}


def test_body_is_read_as_a_stream(app, client, coloured):
    """request.stream gives the body piece by piece and ends where it ends."""

    @app.put("/")
    @coloured
    def index():
        sizes = []
        while piece := request.stream.read(1000):
            sizes.append(len(piece))
        return {"total": sum(sizes), "most": max(sizes), "rest": len(request.stream.read())}

    assert client.put("/", data=b"x" * 2500).json == {"total": 2500, "most": 1000, "rest": 0}


def test_body_of_unknown_length_is_read(app, client, coloured):
    """A body sent in chunks, without a length, is as good as another."""

    @app.put("/")
    @coloured
    def index():
        return request.get_data()

    overrides = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    response = client.put("/", data=b"chunk " * 1000, environ_overrides=overrides)

    assert response.data == b"chunk " * 1000


def test_request_without_a_body_is_empty(app, client, coloured):
    """Where nothing is sent, form, files and data are empty."""

    @app.route("/", methods=["GET", "POST"])
    @coloured
    def index():
        return {"form": dict(request.form), "files": dict(request.files), "data": request.get_data(as_text=True)}

    assert client.get("/").json == {"form": {}, "files": {}, "data": ""}
    assert client.post("/").json == {"form": {}, "files": {}, "data": ""}


def test_view_need_not_read_the_body(app, client, coloured):
    """A view that takes no interest in the body answers all the same."""

    @app.post("/")
    @coloured
    def index():
        return "ok"

    assert client.post("/", data=b"x" * 300_000).text == "ok"


@pytest.mark.parametrize("kind", ["form", "json", "raw", "files"])
def test_body_over_the_limit_is_too_large(app, client, coloured, kind):
    """A body longer than MAX_CONTENT_LENGTH is answered with 413 when it is read; one below it is read."""
    app.config["MAX_CONTENT_LENGTH"] = 1000

    @app.post("/")
    @coloured
    def index():
        read = {
            "form": lambda: request.form,
            "json": lambda: request.get_json(),
            "raw": lambda: request.get_data(),
            "files": lambda: request.files,
        }[kind]
        read()
        return "ok"

    def send(size):
        body = {
            "form": {"data": {"x": "x" * size}},
            "json": {"json": "x" * size},
            "raw": {"data": b"x" * size},
            "files": {"data": {"file": (BytesIO(b"x" * size), "x.txt")}},
        }[kind]
        return client.post("/", **body)

    assert send(500).text == "ok"
    assert send(5000).status_code == 413


def test_limit_is_answered_by_its_handler(app, client, coloured):
    """The app may say in its own words that a body is too large."""
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.register_error_handler(413, coloured(lambda error: ("too much", 413)))

    @app.post("/")
    @coloured
    def index():
        return request.get_data()

    response = client.post("/", data=b"x" * 11)

    assert (response.status_code, response.text) == (413, "too much")


def test_field_over_the_form_limit_is_too_large(app, client, coloured):
    """A form field that would fill the memory is answered with 413; a file of that size is not."""
    app.config["MAX_FORM_MEMORY_SIZE"] = 100_000

    @app.post("/")
    @coloured
    def index():
        return {"field": len(request.form.get("field", "")), "files": len(request.files)}

    assert client.post("/", data={"field": "x" * 200_000, "file": (BytesIO(b""), "x")}).status_code == 413
    assert client.post("/", data={"file": (BytesIO(b"x" * 200_000), "x")}).json == {"field": 0, "files": 1}


def test_form_with_too_many_parts_is_too_large(app, client, coloured):
    """A multipart form with more parts than MAX_FORM_PARTS is answered with 413."""
    app.config["MAX_FORM_PARTS"] = 3

    @app.post("/")
    @coloured
    def index():
        return str(len(request.form) + len(request.files))

    def send(fields):
        data = {f"field{number}": "x" for number in range(fields)}
        return client.post("/", data=data, content_type="multipart/form-data")

    assert send(3).text == "3"
    assert send(4).status_code == 413
