"""Bodies read while they come, and forms: through every door, in both colours."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from werkzeug.exceptions import ClientDisconnected, HTTPException

from carboy import request
from carboy.wire.multipart import FormLimits, PartGone

BOUNDARY = "b0"


def form_of(*parts: tuple[str, str | None, bytes]) -> bytes:
    body = b""
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


FORM = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture
def upload(app, client, colour):
    """Declare a view that runs *sync* or *awaited*, by this run's colour; give a function that sends it a body."""

    def declare(sync: Any, awaited: Any, **options: Any) -> Any:
        app.post("/", **{"stream": True, **options})(sync if colour == "sync" else awaited)

        def send(data: bytes, content_type: str = "application/octet-stream", **kwargs: Any) -> Any:
            return client.post("/", data=data, content_type=content_type, **kwargs)

        return send

    return declare


def test_chunks_are_the_body(upload):
    """`for` and `async for` give the same bytes, in pieces."""
    body = bytes(range(256)) * 2_000

    def sync():
        pieces = list(request.chunks())
        return {"pieces": len(pieces), "same": b"".join(pieces) == body}

    async def awaited():
        pieces = [piece async for piece in request.chunks()]
        return {"pieces": len(pieces), "same": b"".join(pieces) == body}

    found = upload(sync, awaited)(body).json

    assert found["same"]
    assert found["pieces"] > 1


def test_request_without_a_body_has_no_chunks(upload):
    """Nothing comes, nothing is waited for."""

    def sync():
        return {"pieces": list(request.chunks())}

    async def awaited():
        return {"pieces": [piece async for piece in request.chunks()]}

    assert upload(sync, awaited)(b"").json == {"pieces": []}


def test_chunks_of_a_route_that_reads_the_body(upload):
    """Without `stream=True` they are of the body that was read, and may be had after it was looked at."""

    def sync():
        data = request.get_data()
        return {"same": b"".join(request.chunks()) == data == b"abc"}

    async def awaited():
        data = request.get_data()
        return {"same": b"".join([piece async for piece in request.chunks()]) == data == b"abc"}

    assert upload(sync, awaited, stream=False)(b"abc").json == {"same": True}


def test_declared_length_over_the_limit_is_413(upload):
    """Before the view is called."""
    called = []

    def sync():
        called.append(1)
        return "x"

    async def awaited():
        return sync()

    response = upload(sync, awaited, max_body=10)(b"x" * 11)

    assert response.status_code == 413
    assert called == []


def reads_first(door: str, colour: str) -> bool:
    """Whether a door has the body whole, in memory or in a file, before any view is called."""
    return door in ("cgi", "fastcgi") or (door, colour) == ("rsgi", "sync")


def test_body_that_grows_over_the_limit_is_413(upload, door, colour):
    """In the middle, out of the iteration; the view's cleaning up runs."""
    if door == "cgi":
        pytest.skip("CGI has no bodies without a length")
    cleaned = []

    def sync():
        try:
            return {"size": sum(map(len, request.chunks()))}
        finally:
            cleaned.append(1)

    async def awaited():
        try:
            return {"size": sum([len(piece) async for piece in request.chunks()])}
        finally:
            cleaned.append(1)

    send = upload(sync, awaited, max_body=100_000)
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}

    response = send(b"x" * 200_000, environ_overrides=chunked)

    assert response.status_code == 413
    assert cleaned == ([] if reads_first(door, colour) else [1])


def test_body_that_breaks_off_is_an_error_in_the_view(app, make_client, colour, door):
    """A view never takes half a body for a whole one."""
    seen = []
    ended = threading.Event()

    def sync():
        try:
            return str(sum(map(len, request.chunks())))
        except HTTPException as error:
            seen.append(type(error))
            raise
        finally:
            ended.set()

    async def awaited():
        try:
            return str(sum([len(piece) async for piece in request.chunks()]))
        except HTTPException as error:
            seen.append(type(error))
            raise
        finally:
            ended.set()

    app.post("/", stream=True)(sync if colour == "sync" else awaited)
    client = make_client(app)

    try:
        response = client.post("/", data=b"x" * 50_000, environ_overrides={"CONTENT_LENGTH": "100000"})
    except Exception:
        assert door in ("asgi", "fastcgi", "rsgi"), "the client has left: there is nobody to answer"
    else:
        assert response.status_code == 400
    if not reads_first(door, colour):
        assert ended.wait(5)
        assert seen and issubclass(seen[0], ClientDisconnected)


def test_files_of_an_async_stream_say_what_to_do(app, client, door):
    """What would read a file on the loop raises, and names the ways there are."""
    seen = []

    @app.post("/", stream=True)
    async def index():
        for ask in (request.get_data, lambda: request.get_json(force=True), lambda: request.form, lambda: request.files, lambda: request.stream.read()):
            try:
                ask()
            except RuntimeError as error:
                seen.append("request.chunks()" in str(error))
        return "done"

    app.config["DEBUG"] = False
    assert client.post("/", data=form_of(("a", None, b"1")), content_type=FORM).text == "done"
    assert seen[-1:] == [True]
    assert all(seen)
    assert len(seen) >= 4


def test_load_body_makes_a_whole_of_it(app, client):
    """After it everything works as on any route."""

    @app.post("/form", stream=True)
    async def form():
        await request.load_body()
        await request.load_body()
        return {"a": request.form["a"], "b": request.files["b"].read().decode()}

    @app.post("/json", stream=True)
    async def json():
        await request.load_body()
        return {"json": request.get_json(), "chunks": b"".join([piece async for piece in request.chunks()]).decode()}

    assert client.post("/form", data=form_of(("a", None, b"1"), ("b", "b.txt", b"x" * 10)), content_type=FORM).json == {"a": "1", "b": "x" * 10}
    assert client.post("/json", json=[1]).json["json"] == [1]


def test_wrong_kind_of_loop_is_told(upload, door, colour):
    """`for` in an `async def` view, and `async for` where a file is read, say which one it is."""

    def sync():
        try:
            aiter(request.chunks())
        except RuntimeError as error:
            return {"error": str(error)}
        return {"error": "none"}

    async def awaited():
        try:
            list(request.chunks())
        except RuntimeError as error:
            return {"error": str(error)}
        return {"error": "nothing was said"}

    error = upload(sync, awaited)(b"abc").json["error"]

    if colour == "async":
        assert "use `async for`, not `for`" in error
    elif door == "asgi":
        assert "use `for`, not `async for`" in error
    else:
        # The body is in memory or in a file, and may be read in either way.
        assert error == "none"


def test_two_readers_are_told(app, client):
    """Pieces of one body that two tasks take by turns would be of use to neither."""

    @app.post("/", stream=True)
    async def index():
        async def read():
            return [piece async for piece in request.chunks()]

        found = await asyncio.gather(read(), read(), return_exceptions=True)
        return {"errors": [str(each) for each in found if isinstance(each, RuntimeError)]}

    errors = client.post("/", data=b"x" * 1000).json["errors"]

    assert len(errors) == 1
    assert "two tasks" in errors[0]


def test_wait_that_is_given_up_loses_nothing(app, client):
    """A time-out around a piece leaves the piece for the next who asks."""

    @app.post("/", stream=True)
    async def index():
        pieces = aiter(request.chunks())
        try:
            async with asyncio.timeout(0):
                await anext(pieces)
        except TimeoutError:
            pass
        return str(sum([len(piece) async for piece in request.chunks()]))

    assert client.post("/", data=b"x" * 200_000).text == "200000"


def test_view_may_answer_without_reading(upload):
    """What is not asked for is not waited for."""

    def sync():
        return "no, thank you", 403

    async def awaited():
        await asyncio.sleep(0.01)
        return "no, thank you", 403

    assert upload(sync, awaited)(b"x" * 100_000).status_code == 403


# -- forms ----------------------------------------------------------------------------------------


def test_parts_come_one_after_the_other(upload, tmp_path):
    """Names, file names, headers; read, saved, in chunks, or left alone."""
    target = tmp_path / "saved"
    body = form_of(("title", None, "Žluťoučký".encode()), ("skipped", "s.bin", b"s" * 100_000), ("saved", "v.bin", b"v" * 300_000), ("last", "l.bin", b"l" * 70_000))

    def sync():
        found: dict[str, Any] = {}
        for part in request.stream_form():
            if part.name == "title":
                found["title"] = part.text()
            elif part.name == "saved":
                found["saved"] = [part.filename, part.save(target)]
            elif part.name == "last":
                found["last"] = sum(map(len, part))
                found["headers"] = part.headers["Content-Disposition"]
        return found

    async def awaited():
        found: dict[str, Any] = {}
        async for part in request.stream_form():
            if part.name == "title":
                found["title"] = await part.text()
            elif part.name == "saved":
                found["saved"] = [part.filename, await part.save(target)]
            elif part.name == "last":
                found["last"] = sum([len(piece) async for piece in part])
                found["headers"] = part.headers["Content-Disposition"]
        return found

    found = upload(sync, awaited)(body, FORM).json

    assert found == {
        "title": "Žluťoučký",
        "saved": ["v.bin", 300_000],
        "last": 70_000,
        "headers": 'form-data; name="last"; filename="l.bin"',
    }
    assert target.read_bytes() == b"v" * 300_000
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["saved"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"abc", "multipart/form-data", 400),
        (b"no boundary anywhere", FORM, 400),
        (form_of(("a", None, b"1"))[:-8], FORM, 400),
        (form_of(*(("a", None, b"1"),) * 4), FORM, 413),
        (form_of(("a", None, b"1" * 101)), FORM, 413),
    ],
    ids=["json", "no boundary", "no form", "cut off", "too many parts", "long field"],
)
def test_form_that_is_none_is_refused(app, upload, body, content_type, status):
    """415, 400 and 413 as for a form that is read before the view; the limits are the app's."""
    app.config.update(MAX_FORM_PARTS=3, MAX_FORM_MEMORY_SIZE=100)

    def sync():
        return {"parts": [len(part.read()) for part in request.stream_form()]}

    async def awaited():
        return {"parts": [len(await part.read()) async for part in request.stream_form()]}

    assert upload(sync, awaited)(body, content_type).status_code == status


def test_form_without_limits(app, upload):
    """None in the config is no limit, here as there; limits may be given for one form."""
    app.config.update(MAX_FORM_PARTS=None, MAX_FORM_MEMORY_SIZE=None)
    body = form_of(*(("a", None, b"1" * 1000),) * 5)

    def sync():
        return {"parts": [len(part.read()) for part in request.stream_form()]}

    async def awaited():
        return {"parts": [len(await part.read()) async for part in request.stream_form(FormLimits(parts=5))]}

    assert upload(sync, awaited)(body, FORM).json == {"parts": [1000] * 5}


def test_part_that_has_gone_by_is_told(upload):
    """The bytes of a part are there until the next part is asked for."""

    def sync():
        parts = list(request.stream_form())
        with pytest.raises(PartGone):
            parts[0].read()
        return "told"

    async def awaited():
        parts = [part async for part in request.stream_form()]
        with pytest.raises(PartGone):
            await parts[0].read()
        return "told"

    assert upload(sync, awaited)(form_of(("a", None, b"1"), ("b", None, b"2")), FORM).text == "told"


def test_form_of_a_body_over_the_limit_saves_nothing(upload, tmp_path):
    """413 in the middle of a file leaves no half of it behind."""
    body = form_of(("file", "f.bin", b"f" * 300_000))

    def sync():
        for part in request.stream_form():
            part.save(tmp_path / "file")
        return "saved"

    async def awaited():
        async for part in request.stream_form():
            await part.save(tmp_path / "file")
        return "saved"

    response = upload(sync, awaited, max_body=100_000)(body, FORM)

    assert response.status_code == 413
    assert [path for path in Path(tmp_path).iterdir() if path.is_file()] == []
