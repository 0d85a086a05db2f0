"""Conditions, ranges and codings: RFC 9110's rules, one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carboy.wire.conditional import choose_coding, decide, select_range

TAG, OTHER = '"v2"', '"v1"'
DATE = "Sat, 29 Oct 1994 19:43:31 GMT"
EARLIER = "Sat, 29 Oct 1994 19:43:30 GMT"
LATER = "Sat, 29 Oct 1994 19:43:32 GMT"


def outcome(method: str = "GET", size: int | None = 100, etag: str | None = TAG, **headers: str) -> tuple[int, int, int]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return tuple(decide(method, sent.get, etag, DATE, size))  # type: ignore[return-value]


def status(method: str = "GET", size: int | None = 100, etag: str | None = TAG, **headers: str) -> int:
    return outcome(method, size, etag, **headers)[0]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"if_none_match": TAG}, 304),
        ({"if_none_match": f"W/{TAG}"}, 304),
        ({"if_none_match": f"{OTHER}, {TAG}"}, 304),
        ({"if_none_match": '"a,b", "v2"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": OTHER}, 200),
        ({"if_none_match": "v2"}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": LATER}, 304),
        ({"if_modified_since": EARLIER}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_match": TAG}, 200),
        ({"if_match": f"{OTHER}, {TAG}"}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": OTHER}, 412),
        ({"if_match": f"W/{TAG}"}, 412),
        ({"if_unmodified_since": DATE}, 200),
        ({"if_unmodified_since": LATER}, 200),
        ({"if_unmodified_since": EARLIER}, 412),
        ({"if_unmodified_since": "never"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_each_condition(method, headers, expected):
    """Every condition alone gives what RFC 9110 §13.1 says, for GET and HEAD."""
    assert status(method, **headers) == expected


def test_a_tag_outranks_a_date():
    """A date is not looked at where its tag condition is there (§13.2.2)."""
    assert status(if_none_match=OTHER, if_modified_since=DATE) == 200
    assert status(if_match=TAG, if_unmodified_since=EARLIER) == 200


def test_if_match_is_asked_first():
    """A failed If-Match is 412 even where If-None-Match would say 304."""
    assert status(if_match=OTHER, if_none_match=TAG) == 412
    assert status(if_match=TAG, if_none_match=TAG) == 304


def test_conditions_do_not_touch_other_methods():
    """What POST means by a condition is the application's to say."""
    assert status("POST", if_none_match=TAG, range="bytes=0-1") == 200


def test_a_weak_tag_never_matches_strongly():
    """If-Match and If-Range need the very same bytes."""
    assert status(etag='W/"v2"', if_none_match='W/"v2"') == 304
    assert status(etag='W/"v2"', if_match='W/"v2"') == 412
    assert status(etag='W/"v2"', if_range='W/"v2"', range="bytes=0-1") == 200


def test_a_thing_without_tag_matches_nothing_but_a_star():
    """Without a tag only `*` is a match: the thing exists."""
    assert status(etag=None, if_none_match=TAG) == 200
    assert status(etag=None, if_none_match="*") == 304
    assert status(etag=None, if_match=TAG) == 412


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=0-0", (206, 0, 1)),
        ("bytes=0-99", (206, 0, 100)),
        ("bytes=10-", (206, 10, 90)),
        ("bytes=10-500", (206, 10, 90)),
        ("bytes=-10", (206, 90, 10)),
        ("bytes=-500", (206, 0, 100)),
        ("Bytes = 5-6", (206, 5, 2)),
        ("bytes=100-", (416, 0, 0)),
        ("bytes=-0", (416, 0, 0)),
        ("bytes=5-4", (200, 0, 0)),
        ("bytes=-", (200, 0, 0)),
        ("bytes=", (200, 0, 0)),
        ("bytes=a-b", (200, 0, 0)),
        ("bytes=٣-", (200, 0, 0)),
        ("bytes=0-1,5-6", (200, 0, 0)),
        ("lines=0-1", (200, 0, 0)),
        ("bytes=0-" + "9" * 5000, (200, 0, 0)),
    ],
)
def test_each_range(wanted, expected):
    """One satisfiable range is 206, an unsatisfiable one 416; several, or nonsense, are ignored."""
    assert outcome(range=wanted) == expected


def test_ranges_count_for_get_alone():
    """HEAD answers as if the Range were not there (§14.2)."""
    assert status("HEAD", range="bytes=0-1") == 200
    assert status(size=None, range="bytes=0-1") == 200


def test_an_empty_thing_has_no_ranges():
    """Nothing can be had of zero bytes."""
    assert select_range("bytes=0-", 0).status == 416
    assert select_range("bytes=-5", 0).status == 416


@pytest.mark.parametrize(
    ("if_range", "expected"),
    [(TAG, 206), (OTHER, 200), (f"W/{TAG}", 200), (DATE, 206), (EARLIER, 200), (LATER, 200), ("nonsense", 200)],
)
def test_a_range_counts_only_for_the_same_thing(if_range, expected):
    """If-Range gives the whole thing to who has a part of another version."""
    assert status(if_range=if_range, range="bytes=0-1") == expected


def test_conditions_come_before_ranges():
    """A part is not sent where nothing is to be sent."""
    assert status(if_none_match=TAG, range="bytes=0-1") == 304
    assert status(if_match=OTHER, range="bytes=500-") == 412


@given(st.text(), st.integers(0, 10**6))
def test_any_range_is_answered_within_the_thing(wanted, size):
    """No header leads outside the bytes there are."""
    for header in (wanted, f"bytes={wanted}"):
        found = select_range(header, size)
        assert found.status in (200, 206, 416)
        if found.status == 206:
            assert 0 <= found.start < found.start + found.length <= size


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 150))
def test_ranges_are_python_slices(first, last, size):
    """bytes=a-b is thing[a:b+1], wherever it is valid."""
    thing = bytes(size)
    found = select_range(f"bytes={first}-{last}", size)

    if found.status == 206:
        assert (found.start, found.length) == (first, len(thing[first : last + 1]))
    else:
        assert found.status == (200 if last < first else 416)


@given(st.text(), st.text(), st.text())
def test_any_condition_is_answered(none_match, match, since):
    """No header makes an error."""
    assert status(if_none_match=none_match, if_match=match, if_modified_since=since, if_range=since) in (200, 304, 412)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("gzip; q=0.5, br; q=0.500", "br"),
        ("*", "zstd"),
        ("*;q=0.1, zstd;q=0", "br"),
        ("gzip;q=0", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity, gzip", "gzip"),
        ("*;q=0", None),
        ("gzip;q=nan", None),
        ("gzip;q=2", None),
        ("gzip;q=-1", None),
        ("gzip;q=", None),
        (", ,;q=1", None),
        ("compress", None),
    ],
)
def test_each_accepted_coding(accepted, chosen):
    """The heaviest coding wins, the server's favourite among equals; a refused or broken one never."""
    assert choose_coding(accepted, ("zstd", "br", "gzip")) == chosen


@given(st.text())
def test_any_accept_encoding_chooses_one_there_is(accepted):
    """No header makes an error or an answer that is not there."""
    assert choose_coding(accepted, ("br",)) in (None, "br")
