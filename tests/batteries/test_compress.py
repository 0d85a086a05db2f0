"""Compression: what is encoded and how, what is left alone, and what must not be measurable. Every door, both colours."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import brotli
import pytest

import carboy
from carboy.batteries.compress import Compression, Files, uncompressed
from carboy.batteries.compress.codings import make_codings, zstandard
from carboy.batteries.compress.streams import AsyncEncodedStream, EncodedStream, in_pieces
from carboy.wire.files import FilePayload
from carboy.wire.response import Answer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress}
TEXT = "a page with a good many words that come again and again. " * 100
CHROME = "gzip, deflate, br, zstd"


@pytest.fixture
def compressed(app: carboy.Carboy) -> carboy.Carboy:
    """The app with compression."""
    app.fit(Compression())
    return app


def decoded(response: Any) -> bytes:
    return DECODERS[response.headers["Content-Encoding"]](response.data)


# -- what is encoded ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        (CHROME, "zstd"),
        ("gzip, br", "br"),
        ("br;q=0.5, gzip;q=0.9", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, *;q=0.1", "br"),
    ],
)
def test_client_and_server_agree_on_a_coding(client: Any, compressed: Any, coloured: Any, accepts: str, coding: str) -> None:
    """The client's weights decide, then the server's order: zstd, brotli, gzip."""
    compressed.add_url_rule("/", view_func=coloured(lambda: TEXT), endpoint="page")

    response = client.get("/", headers={"Accept-Encoding": accepts})

    assert response.headers["Content-Encoding"] == coding
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["Content-Length"] == str(len(response.data))
    assert decoded(response) == TEXT.encode()


@pytest.mark.parametrize("accepts", [None, "", "identity", "gzip;q=0", "deflate", "compress, x-strange"])
def test_client_that_takes_no_coding_gets_the_body_as_it_is(client: Any, compressed: Any, accepts: str | None) -> None:
    """And Vary, since another client would get it encoded."""
    compressed.add_url_rule("/", view_func=lambda: TEXT, endpoint="page")

    response = client.get("/", headers={} if accepts is None else {"Accept-Encoding": accepts})

    assert "Content-Encoding" not in response.headers
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.text == TEXT


@pytest.mark.parametrize("coding", DECODERS)
def test_ten_megabytes_of_json_shrink_by_80_percent_and_more(client: Any, compressed: Any, coloured: Any, coding: str) -> None:
    """Records as an API gives them out; every coding, every door, both colours."""
    body = records(10_000_000)

    def report() -> Any:
        return carboy.Response(body, mimetype="application/json")

    compressed.add_url_rule("/", view_func=coloured(report), endpoint="report")

    response = client.get("/", headers={"Accept-Encoding": coding})

    assert decoded(response) == body
    assert len(response.data) < 0.2 * len(body)


@pytest.mark.parametrize("whole", [True, False], ids=["mapping", "response"])
def test_mapping_and_response_are_encoded_alike(client: Any, compressed: Any, coloured: Any, whole: bool) -> None:
    """The light answers of plain values too."""
    value = {"words": TEXT}

    def view() -> Any:
        return value if whole else carboy.jsonify(value)

    compressed.add_url_rule("/", view_func=coloured(view), endpoint="view")

    response = client.get("/", headers={"Accept-Encoding": "gzip"})

    assert json.loads(decoded(response)) == value


def test_page_of_an_error_is_encoded(client: Any, compressed: Any) -> None:
    """A long 404 is a page like any other."""
    compressed.register_error_handler(404, lambda error: (TEXT, 404))

    response = client.get("/nowhere", headers={"Accept-Encoding": "gzip"})

    assert response.status_code == 404
    assert decoded(response) == TEXT.encode()


def test_vary_is_added_to_what_is_there(client: Any, compressed: Any) -> None:
    """A Vary of the view's own stays; `*` says everything already."""
    compressed.add_url_rule("/own", view_func=lambda: (TEXT, {"Vary": "Accept-Language"}), endpoint="own")
    compressed.add_url_rule("/all", view_func=lambda: (TEXT, {"Vary": "*"}), endpoint="all")

    assert client.get("/own", headers={"Accept-Encoding": "gzip"}).headers["Vary"] == "Accept-Language, Accept-Encoding"
    assert client.get("/all", headers={"Accept-Encoding": "gzip"}).headers["Vary"] == "*"


# -- what is left alone ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        ("x" * 499, 200, {}),
        (TEXT, 200, {"Content-Type": "image/png"}),
        (TEXT, 200, {"Content-Type": "application/zip"}),
        (TEXT, 200, {"Content-Type": "video/mp4"}),
        (TEXT, 200, {"Content-Encoding": "br"}),
        (TEXT, 200, {"Cache-Control": "public, no-transform"}),
        (TEXT, 206, {"Content-Range": "bytes 0-5699/9999"}),
    ],
    ids=["small", "image", "archive", "film", "encoded already", "no-transform", "part"],
)
def test_what_gains_nothing_or_says_no_is_left_alone(client: Any, compressed: Any, coloured: Any, answer: Any) -> None:
    """Neither encoded nor given a Vary: nobody would get it encoded."""
    compressed.add_url_rule("/", view_func=coloured(lambda: answer), endpoint="view")

    response = client.get("/", headers={"Accept-Encoding": "gzip"})

    assert response.data == answer[0].encode()
    assert "Vary" not in response.headers


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_a_body_is_left_alone(client: Any, compressed: Any, status: int) -> None:
    """204 and 304 have no content to encode."""
    compressed.add_url_rule("/", view_func=lambda: ("", status), endpoint="view")

    response = client.get("/", headers={"Accept-Encoding": "gzip"})

    assert response.status_code == status
    assert "Content-Encoding" not in response.headers


def test_head_says_what_get_would_but_the_length(client: Any, compressed: Any, coloured: Any) -> None:
    """The length of what has not been encoded would be wrong, and a wrong one is worse than none."""
    compressed.add_url_rule("/light", view_func=coloured(lambda: TEXT), endpoint="light")
    compressed.add_url_rule("/whole", view_func=coloured(lambda: carboy.Response(TEXT)), endpoint="whole")

    for path in ("/light", "/whole"):
        response = client.head(path, headers={"Accept-Encoding": "gzip"})

        assert response.data == b""
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers.get("Content-Length", "") in ("", "0")  # 0: what a test client makes of none
        assert response.headers.get("Content-Length") != str(len(TEXT))


def test_view_says_no_for_one_answer(client: Any, compressed: Any, coloured: Any) -> None:
    """`response.compress = False`."""

    def view() -> Any:
        response = carboy.Response(TEXT)
        response.compress = False  # type: ignore[attr-defined]  # looked for by name
        return response

    compressed.add_url_rule("/", view_func=coloured(view), endpoint="view")

    assert client.get("/", headers={"Accept-Encoding": "gzip"}).text == TEXT


def test_route_says_no_for_all_its_answers(client: Any, compressed: Any, coloured: Any) -> None:
    """`@uncompressed`, on a blueprint's view too."""
    pages = carboy.Blueprint("pages", __name__)
    pages.add_url_rule("/light", view_func=uncompressed(coloured(lambda: TEXT)), endpoint="light")
    pages.add_url_rule("/whole", view_func=uncompressed(coloured(lambda: carboy.Response(TEXT))), endpoint="whole")
    compressed.register_blueprint(pages)

    assert client.get("/light", headers={"Accept-Encoding": "gzip"}).text == TEXT
    assert client.get("/whole", headers={"Accept-Encoding": "gzip"}).text == TEXT


def test_file_object_for_the_server_to_send_is_left_alone(client: Any, compressed: Any) -> None:
    """`send_file` of an open file: its bytes need not pass through Python."""
    compressed.add_url_rule("/", view_func=lambda: carboy.send_file(BytesIO(TEXT.encode()), "text/plain"), endpoint="view")

    assert client.get("/", headers={"Accept-Encoding": "gzip"}).text == TEXT


# -- tags -----------------------------------------------------------------------------------------


def test_tag_of_an_encoded_answer_is_weak(client: Any, compressed: Any, coloured: Any) -> None:
    """Other bytes of the same thing; the 304 carries the tag that the client has."""

    def view() -> Any:
        response = carboy.Response(TEXT)
        response.set_etag("v1")
        return response.make_conditional(carboy.request)

    compressed.add_url_rule("/", view_func=coloured(view), endpoint="view")

    encoded = client.get("/", headers={"Accept-Encoding": "gzip"})
    again = client.get("/", headers={"Accept-Encoding": "gzip", "If-None-Match": encoded.headers["ETag"]})
    plain = client.get("/", headers={"If-None-Match": '"v1"'})

    assert encoded.headers["ETag"] == 'W/"v1"'
    assert (again.status_code, again.headers["ETag"], again.headers["Vary"]) == (304, 'W/"v1"', "Accept-Encoding")
    assert (plain.status_code, plain.headers["ETag"]) == (304, '"v1"')


# -- streams --------------------------------------------------------------------------------------


def test_stream_is_encoded(client: Any, compressed: Any, colour: str) -> None:
    """A generator of either colour, text and bytes mixed, empty items among them."""

    def items() -> Iterator[Any]:
        yield from (TEXT, b"", TEXT.encode(), "")

    async def items_async() -> AsyncIterator[Any]:
        for item in items():
            await asyncio.sleep(0)
            yield item

    async def view_async() -> Any:
        return carboy.Response(items_async(), mimetype="text/plain")

    def view() -> Any:
        return carboy.Response(items(), mimetype="text/plain")

    compressed.add_url_rule("/", view_func=view if colour == "sync" else view_async, endpoint="view")

    for coding in DECODERS:
        response = client.get("/", headers={"Accept-Encoding": coding})
        assert decoded(response) == 2 * TEXT.encode()
        assert len(response.data) < 500


def test_length_of_a_stream_goes_when_it_is_encoded(client: Any, compressed: Any) -> None:
    """It would be the length of something else."""

    def view() -> Any:
        return carboy.Response(iter([TEXT]), headers={"Content-Length": str(len(TEXT))})

    compressed.add_url_rule("/", view_func=view, endpoint="view")

    assert decoded(client.get("/", headers={"Accept-Encoding": "br"})) == TEXT.encode()


def test_stream_of_events_is_not_encoded(client: Any, compressed: Any, coloured: Any, door: str) -> None:
    """Events go out as they are: an encoder for each client would cost megabytes for nothing."""

    def view() -> Any:
        return carboy.Response((f"data: {n} {TEXT}\n\n" for n in range(3)), mimetype="text/event-stream")

    compressed.add_url_rule("/", view_func=coloured(view), endpoint="view")

    response = client.get("/", headers={"Accept-Encoding": CHROME})

    assert "Content-Encoding" not in response.headers
    assert response.text.startswith("data: 0")


@pytest.mark.parametrize("coding", DECODERS)
def test_each_item_can_be_read_when_it_was_yielded(coding: str) -> None:
    """Nothing waits in the encoder for the next item."""
    made: list[int] = []

    def items() -> Iterator[str]:
        for n in range(3):
            made.append(n)
            yield f"item {n}\n"

    incremental: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstd.ZstdDecompressor().decompress,
    }
    decode = incremental[coding]()
    stream = EncodedStream(items(), make_codings([coding], {coding: 3})[coding].coder())

    for n in range(3):
        assert decode(next(stream)) == f"item {n}\n".encode()
        assert made == list(range(n + 1))


def test_stream_that_breaks_gets_no_proper_end() -> None:
    """So that a client sees it was cut off."""

    def items() -> Iterator[str]:
        yield TEXT
        raise RuntimeError("the database has gone")

    stream = EncodedStream(items(), make_codings(["gzip"], {"gzip": 4})["gzip"].coder())
    sent = next(stream)

    with pytest.raises(RuntimeError, match="gone"):
        next(stream)
    with pytest.raises(EOFError):
        gzip.decompress(sent)


def test_closing_a_stream_closes_what_it_encodes() -> None:
    """A generator's `finally` runs when the client leaves, in both colours."""
    closed = []

    def items() -> Iterator[str]:
        try:
            yield TEXT
            yield TEXT
        finally:
            closed.append("sync")

    async def items_async() -> AsyncIterator[str]:
        try:
            yield TEXT
            yield TEXT
        finally:
            closed.append("async")

    async def read_one() -> None:
        stream = AsyncEncodedStream(items_async(), coder())
        await stream.__anext__()
        await stream.aclose()

    def coder() -> Any:
        return make_codings(["gzip"], {"gzip": 4})["gzip"].coder()

    stream = EncodedStream(items(), coder())
    next(stream)
    stream.close()
    asyncio.run(read_one())

    assert closed == ["sync", "async"]


def test_large_body_does_not_stop_the_loop() -> None:
    """Ten megabytes at gzip's slowest: the loop turns all the while."""
    body = records(10_000_000)
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - before)

    async def main() -> bytes:
        watching = asyncio.create_task(watch())
        started = time.perf_counter()
        encoded = b"".join([piece async for piece in in_pieces(body, make_codings(["gzip"], {"gzip": 9})["gzip"].coder())])
        took = time.perf_counter() - started
        watching.cancel()
        assert worst < took / 3
        return encoded

    assert gzip.decompress(asyncio.run(main())) == body


# -- files ----------------------------------------------------------------------------------------


def test_static_file_is_encoded_once_and_kept(client: Any, compressed: Any, root: Path) -> None:
    """Without a build step; a change is seen; ranges are of the file as it is."""
    (root / "static" / "app.css").write_text(TEXT)

    first = client.get("/static/app.css", headers={"Accept-Encoding": "br"})
    second = client.get("/static/app.css", headers={"Accept-Encoding": "br", "If-None-Match": first.headers["ETag"]})
    part = client.get("/static/app.css", headers={"Accept-Encoding": "br", "Range": "bytes=0-3"})
    (root / "static" / "app.css").write_text("b" * 1000)
    os.utime(root / "static" / "app.css", (0, 0))
    third = client.get("/static/app.css", headers={"Accept-Encoding": "br"})

    assert decoded(first) == TEXT.encode()
    assert first.headers["ETag"].startswith('W/"')
    assert "Accept-Ranges" not in first.headers
    assert (second.status_code, second.headers["ETag"]) == (304, first.headers["ETag"])
    assert (part.status_code, part.data) == (206, TEXT[:4].encode())
    assert "Content-Encoding" not in part.headers
    assert decoded(third) == b"b" * 1000


def test_large_file_on_the_loop_is_encoded_in_a_thread(client: Any, compressed: Any, root: Path) -> None:
    """More than is encoded inline; the second time it is there."""
    (root / "static" / "app.js").write_text(TEXT * 100)

    for _ in range(2):
        assert decoded(client.get("/static/app.js", headers={"Accept-Encoding": "zstd"})) == (TEXT * 100).encode()


def test_picture_and_huge_file_are_left_to_the_server(client: Any, compressed: Any, root: Path) -> None:
    """No byte of them passes through Python for nothing."""
    (root / "static" / "a.png").write_bytes(b"\x89PNG" * 1000)
    (root / "static" / "huge.txt").write_text("x" * 1_100_000)

    for name in ("a.png", "huge.txt"):
        response = client.get(f"/static/{name}", headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in response.headers
        assert "Vary" not in response.headers


def test_precompressed_sibling_goes_out_as_it_is(client: Any, compressed: Any, root: Path) -> None:
    """What a build step has made is better than what is made here."""
    (root / "static" / "app.css").write_text(TEXT)
    (root / "static" / "app.css.br").write_bytes(brotli.compress(TEXT.encode(), quality=11))

    response = client.get("/static/app.css", headers={"Accept-Encoding": "br"})

    assert response.data == (root / "static" / "app.css.br").read_bytes()
    assert response.headers["Vary"] == "Accept-Encoding"


def test_kept_files_stay_within_their_memory(tmp_path: Path) -> None:
    """The least recently used go first."""
    files = Files(make_codings(["gzip"], {"gzip": 6}), 2500)
    payloads = []
    for n in range(4):
        path = tmp_path / f"{n}.txt"
        path.write_bytes(random.Random(n).randbytes(1000))
        payloads.append(FilePayload(path, 0, 1000))
        files.encode(payloads[-1], "gzip")

    assert files.size <= 2500
    assert [files.get(one, "gzip") is not None for one in payloads] == [False, False, True, True]


# -- secrets --------------------------------------------------------------------------------------

COOKIE = {"Cookie": "session=abc"}


@pytest.mark.parametrize(
    ("headers", "encodes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),  # nobody's credentials: nothing to learn
        ({**COOKIE, "Sec-Fetch-Site": "same-origin"}, True),
        ({**COOKIE, "Sec-Fetch-Site": "none"}, True),
        ({**COOKIE, "Sec-Fetch-Site": "cross-site"}, False),
        ({**COOKIE, "Sec-Fetch-Site": "same-site"}, False),
        (COOKIE, False),
        ({**COOKIE, "Referer": "http://localhost/page"}, True),
        ({**COOKIE, "Referer": "http://evil.example/localhost"}, False),
        ({**COOKIE, "Referer": "http://["}, False),
        ({**COOKIE, "Sec-Fetch-Site": "cross-site", "Referer": "http://localhost/page"}, False),
        ({**COOKIE, "Origin": "http://localhost"}, True),
        ({**COOKIE, "Origin": "null"}, False),
        ({"Authorization": "Basic YTpi", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Authorization": "Bearer abc", "Sec-Fetch-Site": "cross-site"}, True),
    ],
)
def test_answer_that_another_site_caused_is_not_encoded_for_its_visitor(
    client: Any, compressed: Any, coloured: Any, headers: dict[str, str], encodes: bool
) -> None:
    """The rule about BREACH: with credentials that a browser adds itself, only our own pages' requests are compressed."""
    compressed.add_url_rule("/", view_func=coloured(lambda: TEXT), endpoint="page")
    if "Cookie" in headers:
        client.set_cookie("session", "abc")

    response = client.get("/", headers={"Accept-Encoding": "gzip", **headers})

    assert ("Content-Encoding" in response.headers) is encodes
    assert response.headers["Vary"] == "Accept-Encoding"


def test_public_answer_holds_no_secret(client: Any, compressed: Any) -> None:
    """What every shared cache may keep is compressed for everybody."""
    compressed.add_url_rule("/", view_func=lambda: (TEXT, {"Cache-Control": "public, max-age=60"}), endpoint="page")

    client.set_cookie("session", "abc")
    response = client.get("/", headers={"Accept-Encoding": "gzip", "Sec-Fetch-Site": "cross-site"})

    assert decoded(response) == TEXT.encode()


def test_refusal_of_a_strange_host_stays_one(client: Any, compressed: Any) -> None:
    """The page of a 400 for an untrusted Host is sent, although nobody can say whether the request is our own."""
    compressed.config["TRUSTED_HOSTS"] = ["shop.example"]
    compressed.register_error_handler(400, lambda error: (TEXT, 400))
    client.set_cookie("session", "abc")

    for headers in ({"Origin": "http://localhost"}, {"Referer": "http://localhost/"}):
        response = client.get("/", headers={"Accept-Encoding": "gzip", **headers})
        assert (response.status_code, response.text) == (400, TEXT)


# -- settings -------------------------------------------------------------------------------------


def test_settings_come_from_the_config(app: Any, client: Any) -> None:
    """`COMPRESS_*`."""
    app.config.update(COMPRESS_MINIMUM=10, COMPRESS_CODINGS=["gzip"], COMPRESS_TYPES=["application/x-board"])
    app.fit(Compression())
    app.add_url_rule("/", view_func=lambda: ("x" * 20, {"Content-Type": "application/x-board"}), endpoint="page")

    response = client.get("/", headers={"Accept-Encoding": CHROME})

    assert response.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("config", [{"COMPRESS_CODINGS": ["lzma"]}, {"COMPRESS_GZIP_LEVEL": 10}, {"COMPRESS_ZSTD_LEVEL": 22}])
def test_setting_that_means_nothing_is_refused(app: Any, config: dict[str, Any]) -> None:
    """At the start, not in a request."""
    app.config.update(config)

    with pytest.raises(ValueError, match=r"known here|has no level"):
        app.fit(Compression())


def test_light_answers_stay_light(compressed: Any) -> None:
    """The step works on an Answer, so a plain text needs no Response."""
    compressed.add_url_rule("/", view_func=lambda: TEXT, endpoint="page")
    with compressed.test_request_context("/", headers={"Accept-Encoding": "gzip"}) as ctx:
        plan = compressed.explain("GET", "/")
        ctx.response = plan.respond(ctx, TEXT)
        for segment in plan.outward:
            segment.call(ctx)

        assert type(ctx.response) is Answer
        assert ("Content-Encoding", "gzip") in ctx.response.headers


def records(size: int) -> bytes:
    """JSON records of about that many bytes, as a shop's API gives them out."""
    chance = random.Random(1)
    names = ["Rye sourdough", "Spelt starter", "Water kefir", "Kombucha scoby", "Sauerkraut, white", "Kimchi, hot", "Miso, barley"]
    found = []
    for number in range(size // 290):
        found.append(
            {
                "id": number,
                "name": chance.choice(names),
                "price": {"amount": round(chance.random() * 100, 2), "currency": "EUR"},
                "created_at": f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T{chance.randint(0, 23):02}:00:00Z",
                "tags": chance.sample(["sour", "salty", "vegan", "gluten", "hot", "new"], 2),
                "stock": chance.randint(0, 500),
                "url": f"https://shop.example/items/{number}",
                "image": f"https://shop.example/images/{number}.webp",
                "active": chance.random() < 0.9,
            }
        )
    return json.dumps(found).encode()


@pytest.mark.parametrize("size", [0, 1, 500, 20_000, 128 * 1024, 128 * 1024 + 1, 400_000])
def test_compressor_that_is_used_again_encodes_as_a_new_one(size: int) -> None:
    """Byte for byte what the library makes at once, whatever it encoded before."""
    coding = zstandard(3)
    body = b"".join(b"row %d of a table; " % number for number in range(size // 18 + 1))[:size]

    assert [coding.encode(body), coding.encode(b"something else" * 40), coding.encode(body)] == [
        zstd.compress(body, 3), zstd.compress(b"something else" * 40, 3), zstd.compress(body, 3),
    ]  # fmt: skip


def test_compressors_are_nobody_elses_while_they_work() -> None:
    """Many threads, one coding."""
    coding = zstandard(3)

    def encode(number: int) -> bool:
        body = (b"%d " % number) * (500 + number * 37)
        return all(zstd.decompress(coding.encode(body)) == body for _ in range(20))

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(encode, range(60)))
