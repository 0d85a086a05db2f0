"""Streaming forms: events, limits, parts in both colours, and what malformed bodies do."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException

from carboy.wire.multipart import (
    FormLimits,
    FormTooLarge,
    MalformedMultipart,
    MultipartStream,
    NotMultipart,
    PartGone,
    boundary_of,
    stream_form,
)

TYPE = "multipart/form-data; boundary=cut"


def body(*parts: tuple[str, bytes], end: bytes = b"--cut--\r\n") -> bytes:
    return b"".join(b"--cut\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + end


def a_field(name: str, content: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', content


def a_file(name: str, filename: str, content: bytes, kind: str = "image/png") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {kind}', content


def cut(whole: bytes, size: int) -> Iterator[bytes]:
    return (whole[start : start + size] for start in range(0, len(whole), size))


async def sent(whole: bytes, size: int) -> AsyncIterator[bytes]:
    for chunk in cut(whole, size):
        yield chunk


TWO = body(a_field("who", "Zoë".encode()), a_file("pic", "C:\\x\\a.png", b"\x89PNG" * 500))


# ── the boundary ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_boundary_is_read_from_the_content_type():
    """Quoted or not, whatever the case of the type."""
    assert boundary_of("multipart/form-data; boundary=abc") == "abc"
    assert boundary_of('Multipart/Form-Data; charset=utf-8; boundary="a b:c"') == "a b:c"


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "multipart/mixed; boundary=a"])
def test_another_kind_of_body_is_415(content_type):
    """Only multipart/form-data is read as a form."""
    with pytest.raises(NotMultipart) as caught:
        boundary_of(content_type)

    assert caught.value.code == 415


def test_a_boundary_of_71_characters_is_taken():
    """One more than RFC 2046 §5.1.1 allows: Werkzeug's test client makes it of two numbers, whose length is chance."""
    boundary = "---------------WerkzeugFormPart_1795305999.89929990.0018919242398163227"
    assert len(boundary) == 71
    assert boundary_of(f'multipart/form-data; boundary="{boundary}"') == boundary


@pytest.mark.parametrize("boundary", ["", "a" * 129, '"a "', "é", '"a\\"b"', "{a}"])
def test_a_boundary_that_is_none_is_400(boundary):
    """RFC 2046 says what a boundary may be."""
    with pytest.raises(MalformedMultipart):
        boundary_of(f"multipart/form-data; boundary={boundary}")


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 3000))
def test_events_do_not_depend_on_how_the_bytes_are_cut(size):
    """However the network cuts the body, the same parts come out."""
    form = MultipartStream("cut")
    heads, contents = [], []

    for chunk in cut(TWO, size):
        for event in form.feed(chunk):
            if isinstance(event, bytes):
                contents[-1] += event
            elif event is not None:
                heads.append(event)
                contents.append(b"")
    form.end()

    assert [(head.name, head.filename, head.content_type) for head in heads] == [
        ("who", None, "text/plain"),
        ("pic", "a.png", "image/png"),
    ]
    assert contents == ["Zoë".encode(), b"\x89PNG" * 500]


@given(
    st.lists(st.tuples(st.text("abcdefgh", min_size=1, max_size=5), st.binary(max_size=60)), max_size=6),
    st.integers(1, 50),
)
@example([("a", b"--cut"), ("b", b"\r\n--cu"), ("c", b"\r\n--cu\r\n")], 1)
def test_what_was_put_in_comes_out(fields, size):
    """Any content survives, look-alikes of the boundary among it."""
    fields = [(name, content) for name, content in fields if b"\r\n--cut" not in b"\r\n" + content or content == b"--cut"]
    fields = [(name, content if content != b"--cut" else b"x--cut") for name, content in fields]
    whole = body(*(a_field(name, content) for name, content in fields))

    read = [(part.name, part.read()) for part in stream_form(cut(whole, size), TYPE)]

    assert read == fields


@given(st.binary(max_size=300), st.integers(1, 40))
@example(b"--cut\r\n\r\n\r\n--cut--", 40)
@example(b"--cut\r\nContent-Disposition: form-data\r\n\r\n\r\n--cut--", 40)
def test_any_bytes_give_a_form_or_a_4xx(garbage, size):
    """No body makes anything else happen."""
    for whole in (garbage, b"--cut\r\n" + garbage, body(a_field("a", b"b"), end=b"--cut\r\n") + garbage):
        try:
            for part in stream_form(cut(whole, size), TYPE):
                part.read()
        except HTTPException as error:
            assert error.code in (400, 413)


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        TWO[:-6],
        TWO[:200],
        TWO.replace(b' name="who"', b""),
        TWO.replace(b"Content-Disposition", b"Disposition", 1),
        TWO.replace(b'"who"', b'"\xff"'),
        TWO.replace(b"\r\n", b"\n"),
        TWO.replace(b"Content-Type: image/png", b'Content-Disposition: form-data; name="other"'),
    ],
    ids=["empty", "no end", "cut off", "no name", "no disposition", "no UTF-8", "bare LF", "two dispositions"],
)
def test_a_malformed_form_is_400(whole):
    """A form that is not one is refused with a short text, and says nothing of the inside."""
    with pytest.raises(MalformedMultipart) as caught:
        for part in stream_form(cut(whole, 64), TYPE):
            part.read()

    assert caught.value.code == 400
    assert caught.value.description == "The form data is malformed."


def test_what_follows_the_closing_boundary_is_ignored():
    """An epilogue is no part; it is read, so that the connection is left clean."""
    for chunks in ([TWO + b"epilogue", b"more"], [TWO[:-2], b"\r\n"], [TWO, b"--cut\r\n"]):
        left = iter(chunks)

        assert [part.name for part in stream_form(left, TYPE)] == ["who", "pic"]
        assert list(left) == []


def test_a_broken_form_stays_broken():
    """Who goes on after an error does not get a form that looks complete."""
    form = stream_form(iter([b"garbage in front --cut\r\n", TWO]), TYPE)

    for _ in range(3):
        with pytest.raises(MalformedMultipart):
            list(form)


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (FormLimits(parts=1), "parts"),
        (FormLimits(headers=1), "headers"),
        (FormLimits(header_size=20), "headers"),
        (FormLimits(field_size=3), "field_size"),
        (FormLimits(total=2000), "total"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_each_limit_is_413(limits, named, size):
    """Every limit holds however the bytes come, and the error names it."""
    with pytest.raises(FormTooLarge) as caught:
        for part in stream_form(cut(TWO, size), TYPE, limits):
            for _ in part:
                pass

    assert (caught.value.code, caught.value.limit) == (413, named)


def test_a_file_may_be_larger_than_a_field():
    """Files are streamed, so only what is read into memory is limited."""
    limits = FormLimits(field_size=100)
    parts = stream_form(cut(TWO, 100), TYPE, limits)
    next(parts)

    assert sum(len(chunk) for chunk in next(parts)) == 2000
    with pytest.raises(FormTooLarge):
        [part.read() for part in stream_form(cut(TWO, 100), TYPE, limits)]
    assert [len(part.read(2000)) for part in stream_form(cut(TWO, 100), TYPE, limits)] == [4, 2000]


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_parts_are_read_in_both_colours():
    """An asynchronous body and a plain one give the same."""

    async def gather():
        return [(part.name, part.filename, await part.read()) async for part in stream_form(sent(TWO, 100), TYPE)]

    plain = [(part.name, part.filename, part.read()) for part in stream_form(cut(TWO, 100), TYPE)]

    assert asyncio.run(gather()) == plain
    assert plain == [("who", None, "Zoë".encode()), ("pic", "a.png", b"\x89PNG" * 500)]


def test_a_part_is_streamed_chunk_by_chunk():
    """The bytes of a part are handed on as they come; the form reads no further."""
    taken = []

    async def chunks():
        for chunk in cut(TWO, 100):
            taken.append(chunk)
            yield chunk

    async def first_of_the_file():
        async for part in stream_form(chunks(), TYPE):
            if part.filename:
                async for chunk in part:
                    return chunk, len(taken)
        raise AssertionError

    chunk, read = asyncio.run(first_of_the_file())

    assert chunk.startswith(b"\x89PNG")
    assert read <= 4


def test_parts_that_nobody_reads_are_skipped():
    """Going on to the next part drops what is left of this one."""
    assert [part.name for part in stream_form(cut(TWO, 10), TYPE)] == ["who", "pic"]


def test_a_part_that_has_gone_by_says_so():
    """Bytes cannot be had twice, nor after the form went on."""
    parts = list(stream_form(cut(TWO, 10), TYPE))
    with pytest.raises(PartGone, match="before going on"):
        parts[0].read()

    part = next(stream_form(cut(TWO, 10), TYPE))
    part.read()
    with pytest.raises(PartGone, match="read already"):
        part.read()


def test_text_is_decoded_as_the_part_says():
    """UTF-8 unless the part names another charset; nonsense is 400."""
    latin = 'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=latin-1', b"\xe9"
    unknown = 'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=klingon', b"x"

    def texts(*parts: tuple[str, bytes]) -> list[str]:
        return [part.text() for part in stream_form([body(*parts)], TYPE)]

    assert texts(a_field("a", "é".encode()), latin) == ["é", "é"]
    for bad in (a_field("a", b"\xe9"), unknown):
        with pytest.raises(MalformedMultipart):
            texts(bad)


def test_a_part_is_saved_to_a_path_or_a_file(tmp_path):
    """save writes in both colours and tells how much."""
    content = bytes(range(256)) * 10_000
    whole = body(a_file("pic", "a.png", content))
    target, into = tmp_path / "saved.png", io.BytesIO()

    async def save():
        async for part in stream_form(sent(whole, 64_000), TYPE):
            return await part.save(target)

    written = asyncio.run(save())

    assert written == len(content)
    assert target.read_bytes() == content
    assert next(stream_form([whole], TYPE)).save(into) == len(content)
    assert into.getvalue() == content


def test_a_body_that_breaks_off_leaves_what_was_there(tmp_path):
    """A path holds the whole file or what was there before, and no draft stays behind."""
    (tmp_path / "old.png").write_bytes(b"old")

    for name in ("old.png", "new.png"):
        form = stream_form(cut(TWO[:-100], 100), TYPE)
        next(form)
        with pytest.raises(MalformedMultipart):
            next(form).save(tmp_path / name)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"old.png": b"old"}


def test_errors_of_the_body_go_through():
    """A client that goes away is not taken for a malformed form."""

    def chunks():
        yield TWO[:100]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        list(stream_form(chunks(), TYPE))
