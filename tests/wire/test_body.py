"""Bodies on their way in: lengths, limits, states, and what comes out at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from carboy.wire.body import (
    BodyBuffer,
    BodyMeter,
    BodyOverrun,
    BodyState,
    BodyStateError,
    BodyTooLarge,
    BodyTruncated,
    InvalidLength,
    declared_length,
)

# ── declared_length ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "length"),
    [
        ([], None),
        (["0"], 0),
        ([b"42"], 42),
        ([" 42\t"], 42),
        (["007"], 7),
        (["42", "42"], 42),
        (["42, 42"], 42),
    ],
)
def test_length_is_read(values, length):
    """Digits are a length; the same length said twice is one length."""
    assert declared_length(values) == length


@pytest.mark.parametrize(
    "values",
    [[""], ["-1"], ["+1"], ["1_0"], ["1e3"], ["0x10"], ["1 2"], ["٣"], ["²"], ["1", "2"], ["1,2"], ["1,"], ["9" * 20], ["9" * 5000]],
)
def test_length_that_is_no_number_is_refused(values):
    """Whatever int() would be lenient about is a bad request here."""
    with pytest.raises(InvalidLength) as caught:
        declared_length(values)

    assert caught.value.code == 400


@given(st.lists(st.one_of(st.text(), st.binary()), max_size=3))
def test_any_header_gives_a_length_or_a_bad_request(values):
    """No input makes anything else happen."""
    try:
        length = declared_length(values)
    except BadRequest:
        return
    assert length is None or length >= 0


# ── BodyBuffer ──────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 100))
def test_what_goes_in_comes_out(chunks, memory):
    """The body is its chunks in order, wherever it was kept."""
    whole = b"".join(chunks)
    body = BodyBuffer(limit=len(whole), declared=len(whole), memory=memory)

    for chunk in chunks:
        body.feed(chunk)
    stream = body.finish()

    assert stream.read() == whole
    assert body.size == len(whole)
    assert body.is_spooled == (len(whole) > memory)
    assert body.state is BodyState.BUFFERED
    body.close()


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8), st.data())
def test_a_body_over_the_limit_is_413(chunks, data):
    """The first byte over the limit ends the body, and nothing of it is handed out."""
    whole = b"".join(chunks)
    body = BodyBuffer(limit=data.draw(st.integers(0, len(whole) - 1)), memory=10)

    with pytest.raises(BodyTooLarge) as caught:
        for chunk in chunks:
            body.feed(chunk)

    assert isinstance(caught.value, RequestEntityTooLarge)
    assert body.state is BodyState.FAILED
    with pytest.raises(BodyStateError, match="cannot finish a request body that is failed"):
        body.finish()


def test_a_declared_length_over_the_limit_is_413_at_once():
    """The client is told before it sends a byte."""
    with pytest.raises(BodyTooLarge):
        BodyBuffer(limit=10, declared=11)


def test_a_short_body_is_400():
    """A body that ends early is never handed out in part."""
    body = BodyBuffer(declared=4)
    body.feed(b"abc")

    with pytest.raises(BodyTruncated) as caught:
        body.finish()

    assert caught.value.code == 400
    assert body.state is BodyState.FAILED


def test_a_body_longer_than_declared_is_400():
    """A gateway that lets too much through is noticed."""
    body = BodyBuffer(declared=2)

    with pytest.raises(BodyOverrun):
        body.feed(b"abc")


def test_a_body_in_one_chunk_is_not_copied():
    """The stream shares the bytes it was given."""
    chunk = bytes(100_000)
    body = BodyBuffer(declared=len(chunk))
    body.feed(chunk)

    stream = body.finish()

    assert stream.getvalue() is chunk  # type: ignore[attr-defined]


def test_a_body_without_bytes_is_an_empty_stream():
    """Finishing what was never fed is fine."""
    assert BodyBuffer().finish().read() == b""


def test_closing_drops_the_file_and_may_be_repeated():
    """close is safe at any time; a spooled file does not outlive it."""
    body = BodyBuffer(memory=1)
    body.feed(b"abc")
    stream = body.finish()

    body.close()
    body.close()

    assert stream.closed


def test_bytes_after_the_end_are_an_error_of_the_caller():
    """A body that is complete takes no more."""
    body = BodyBuffer()
    body.finish()

    with pytest.raises(BodyStateError, match="cannot feed a request body that is buffered"):
        body.feed(b"more")


# ── streaming ───────────────────────────────────────────────────────────────────────────────────────────────


async def sent(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_a_streamed_body_is_counted_like_a_buffered_one():
    """Limits and lengths hold on the way through."""

    async def read(meter: BodyMeter, *chunks: bytes) -> bytes:
        return b"".join([chunk async for chunk in meter.over(sent(*chunks))])

    assert asyncio.run(read(BodyMeter(6, 6), b"abc", b"def")) == b"abcdef"
    with pytest.raises(BodyTooLarge):
        asyncio.run(read(BodyMeter(5), b"abc", b"def"))
    with pytest.raises(BodyTruncated):
        asyncio.run(read(BodyMeter(9, 9), b"abc", b"def"))


def test_a_body_is_streamed_from_its_first_byte_or_not_at_all():
    """Half a body in memory and half in a stream is refused."""
    fresh, begun = BodyBuffer(limit=5), BodyBuffer(limit=5)
    begun.feed(b"a")

    meter = fresh.hand_on()

    assert fresh.state is BodyState.STREAMED
    assert meter.limit == 5
    with pytest.raises(BodyStateError, match="cannot finish a request body that is streamed"):
        fresh.finish()
    with pytest.raises(BodyStateError, match="1 bytes are buffered"):
        begun.hand_on()
