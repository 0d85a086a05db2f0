"""A Tornado application under a prefix of a Carboy app: a typical one, through every door that can hold it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carboy import Carboy

web = pytest.importorskip("tornado.web", reason="`pip install tornado`")
SECRET = "a secret of the old application"


class Base(web.RequestHandler):
    """What a typical application has in common."""

    def prepare(self) -> None:
        self.set_header("X-Prepared", self.request.method)

    def get_current_user(self) -> bytes | None:
        user: bytes | None = self.get_signed_cookie("user")
        return user

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.finish({"error": status_code, "reason": self._reason})


class Main(Base):
    def initialize(self, greeting: str) -> None:
        self.greeting = greeting

    def get(self) -> None:
        self.write(f"{self.greeting}, {self.get_argument('name', 'you')}")


class Item(Base):
    async def prepare(self) -> None:
        await asyncio.sleep(0)
        super().prepare()

    async def get(self, number: str, word: str) -> None:
        await asyncio.sleep(0.001)
        self.write({"number": number, "word": word, "path": self.request.path, "url": self.reverse_url("item", 1, "x")})

    async def delete(self, number: str, word: str) -> None:
        self.set_status(204)


class Login(Base):
    def get(self) -> None:
        self.write(self.xsrf_form_html())

    def post(self) -> None:
        self.set_signed_cookie("user", self.get_body_argument("name"))
        self.set_cookie("plain", "1")
        self.redirect("/legacy/me")


class Me(Base):
    @web.authenticated
    def get(self) -> None:
        self.write(self.current_user)


class Stream(Base):
    async def get(self) -> None:
        for n in range(3):
            self.write(f"part {n}\n")
            await self.flush()


class Upload(Base):
    def check_xsrf_cookie(self) -> None: ...

    def post(self) -> None:
        (file,) = self.request.files["file"]
        self.write({"name": file["filename"], "size": len(file["body"]), "word": self.get_body_argument("word")})


@web.stream_request_body
class Streamed(Base):
    def check_xsrf_cookie(self) -> None: ...

    def prepare(self) -> None:
        self.request.connection.set_max_body_size(1_000_000)
        self.size = 0

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.size += len(chunk)

    def put(self) -> None:
        self.write(str(self.size))


class Broken(Base):
    def get(self, kind: str) -> None:
        if kind == "http":
            raise web.HTTPError(418, reason="Teapot")
        raise ValueError("a bug of the handler's")


class Peer(Base):
    def get(self) -> None:
        self.write({"ip": self.request.remote_ip, "protocol": self.request.protocol, "host": self.request.host})


@pytest.fixture
def app(app: Carboy, tmp_path: Path) -> Carboy:
    """A Carboy app with the old application below /legacy."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "style.css").write_text("body {}" * 1000)
    (tmp_path / "t.html").write_text("<p>{{ word }}</p>")

    class Page(Base):
        def get(self) -> None:
            self.render("t.html", word="<&>")

    old = web.Application(
        [
            (r"/", Main, {"greeting": "Hello"}),
            web.url(r"/items/(\d+)/([^/]+)", Item, name="item"),
            (r"/login", Login), (r"/me", Me), (r"/stream", Stream), (r"/upload", Upload), (r"/streamed", Streamed),
            (r"/broken/(\w+)", Broken), (r"/peer", Peer), (r"/page", Page),
        ],
        cookie_secret=SECRET, xsrf_cookies=True, login_url="/legacy/login", static_path=str(tmp_path / "old"), template_path=str(tmp_path),
        static_url_prefix="/static/", compress_response=True,
    )  # fmt: skip
    app.mount("/legacy", old)
    app.get("/")(lambda: "new")
    return app


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tornado logs every 4xx; the tests ask for them."""
    logger = logging.getLogger("tornado.access")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before


def test_a_plain_handler_with_initialize_and_an_argument(client: Any) -> None:
    """And the new application beside it; hooks of Tornado's handler run."""
    answer = client.get("/legacy/?name=Ann+%26+Bob")

    assert (answer.status_code, answer.text) == (200, "Hello, Ann & Bob")
    assert answer.headers["X-Prepared"] == "GET"
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert answer.headers["Etag"]
    assert client.get("/legacy").text == "Hello, you"
    assert client.get("/").text == "new"
    assert client.get("/legacyother").status_code == 404


def test_an_async_handler_with_path_arguments(client: Any) -> None:
    """Decoded as Tornado does; paths are below the mount."""
    answer = client.get("/legacy/items/7/a%20b%C3%A9")

    assert answer.json["number"] == "7" and answer.json["word"] == "a bé"
    assert answer.json["path"].startswith("/items/7/")
    assert answer.json["url"] == "/items/1/x"


def test_conditional_answers_and_heads(client: Any) -> None:
    """Tornado's own 304; HEAD is refused as the handler has none."""
    tag = client.get("/legacy/").headers["Etag"]

    assert client.get("/legacy/", headers={"If-None-Match": tag}).status_code == 304
    assert client.head("/legacy/").status_code == 405


def test_cookies_and_the_xsrf_check(client: Any) -> None:
    """Without the token 403; with it in, by a signed cookie; two cookies are two headers."""
    assert client.get("/legacy/me").status_code == 302
    assert client.post("/legacy/login", data={"name": "ann"}).json["error"] == 403
    token = re.search('value="([^"]+)"', client.get("/legacy/login").text)
    assert token is not None

    answer = client.post("/legacy/login", data={"name": "ann", "_xsrf": token[1]})

    assert (answer.status_code, answer.headers["Location"]) == (302, "/legacy/me")
    assert [each.partition("=")[0] for each in answer.headers.getlist("Set-Cookie")] == ["user", "plain"]
    assert client.get("/legacy/me").text == "ann"


def test_streams_in_both_directions(client: Any) -> None:
    """`flush` sends a piece; `data_received` is given the body in pieces, within the handler's own limit."""
    assert client.get("/legacy/stream").text == "part 0\npart 1\npart 2\n"
    assert client.put("/legacy/streamed", data=b"x" * 300_000).text == "300000"
    assert client.put("/legacy/streamed", data=b"x" * 1_000_001).status_code == 413


def test_an_upload(client: Any) -> None:
    """A multipart form, parsed by Tornado."""
    # By hand: Tornado takes no line break before the first boundary, which the test client sends.
    body = (
        b'--b\r\nContent-Disposition: form-data; name="word"\r\n\r\nw\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="z.bin"\r\n\r\n' + b"z" * 100_000 + b"\r\n--b--\r\n"
    )

    answer = client.post("/legacy/upload", data=body, content_type="multipart/form-data; boundary=b")

    assert answer.json == {"name": "z.bin", "size": 100_000, "word": "w"}


@pytest.mark.parametrize(("path", "status"), [("broken/http", 418), ("broken/bug", 500)])
def test_errors_are_written_by_the_handler(client: Any, path: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """`write_error` of the old application; the bug is logged by Tornado."""
    answer = client.get(f"/legacy/{path}")

    assert (answer.status_code, answer.json["error"]) == (status, status)
    assert ("a bug of the handler's" in caplog.text) == (status == 500)


def test_what_no_handler_takes(client: Any) -> None:
    """Tornado's 404, not ours."""
    answer = client.get("/legacy/nowhere")

    assert answer.status_code == 404
    assert "404: Not Found" in answer.text


def test_static_files_and_templates(client: Any) -> None:
    """With ranges, compression by Tornado's own transform, and escaping."""
    assert client.get("/legacy/static/style.css").text == "body {}" * 1000
    part = client.get("/legacy/static/style.css", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.text) == (206, "body")
    packed = client.get("/legacy/static/style.css", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and len(packed.data) < 200
    assert client.get("/legacy/page").text == "<p>&lt;&amp;&gt;</p>"


def test_an_answer_without_a_body(client: Any) -> None:
    """204 to a DELETE with the token in a header."""
    client.get("/legacy/login")
    token = re.search('value="([^"]+)"', client.get("/legacy/login").text)
    assert token is not None

    answer = client.delete("/legacy/items/1/x", headers={"X-XSRFToken": token[1]})

    assert (answer.status_code, answer.data) == (204, b"")


def test_who_asks(client: Any) -> None:
    """Address, scheme and host are those that Carboy's own views see."""
    assert client.get("/legacy/peer", base_url="https://shop.example").json == {
        "ip": "127.0.0.1", "protocol": "https", "host": "shop.example",
    }  # fmt: skip


def test_a_client_that_goes_is_told_to_the_handler(app: Carboy) -> None:
    """`on_connection_close` is called, and what is written after that fails as under Tornado's own server."""
    from tornado.iostream import StreamClosedError

    seen: list[str] = []

    class Long(web.RequestHandler):
        def on_connection_close(self) -> None:
            seen.append("closed")

        async def get(self) -> None:
            self.write("begun")
            await self.flush()
            while not seen:
                await asyncio.sleep(0.005)
            self.write("more")
            try:
                await self.flush()
            except StreamClosedError:
                seen.append("told")

    other = Carboy("other")
    other.mount("/t", web.Application([("/", Long)]))
    gone = asyncio.Event()

    async def main() -> None:
        events = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for event in events:
                return event
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message.get("body") == b"begun":
                gone.set()

        scope = {
            "type": "http", "method": "GET", "path": "/t/", "raw_path": b"/t/", "query_string": b"", "root_path": "", "scheme": "http",
            "http_version": "1.1", "headers": [(b"host", b"x")], "client": ("127.0.0.1", 1), "server": ("x", 80), "extensions": {}, "state": {},
        }  # fmt: skip
        await asyncio.wait_for(other.asgi_app(scope, receive, send), 5)
        for _ in range(200):
            if "told" in seen:
                return
            await asyncio.sleep(0.01)

    asyncio.run(main())

    assert seen == ["closed", "told"]
