"""The house's JSON is the standard library's, byte for byte, however it was made."""

import datetime
import decimal
import enum
import json as stdlib
import math
import sys
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carboy.wire import json

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.integers(-(10**40), 10**40)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(ANY_TEXT, inner, max_size=12),
    max_leaves=30,
)


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    NO = "no"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Page:
    def __html__(self) -> str:
        return "<p>page</p>"


@dataclass
class Point:
    x: int
    y: object


Pair = namedtuple("Pair", "left right")


def written(value, **options):
    """Write with the standard library and our default; an error's type stands for an error."""
    try:
        return stdlib.dumps(value, default=json.default, **options)
    except (TypeError, ValueError) as error:
        return type(error)


@given(VALUES, st.booleans(), st.booleans())
def test_dumps_writes_what_the_standard_library_writes(value, sort_keys, ensure_ascii):
    """Any value, sorted or not, escaped or not, gives the same text."""
    options = {"sort_keys": sort_keys, "ensure_ascii": ensure_ascii}

    assert json.dumps(value, **options) == written(value, **options)
    assert json.dumps(value, separators=(",", ":"), **options) == written(value, separators=(",", ":"), **options)
    assert json.dumps(value, indent=2, **options) == written(value, indent=2, **options)


@given(VALUES, st.booleans())
def test_encode_writes_what_the_standard_library_writes(value, sort_keys):
    """The compact bytes are those of the standard library's text."""
    expected = written(value, sort_keys=sort_keys, separators=(",", ":"))

    assert json.encode(value, sort_keys=sort_keys) == expected.encode()


@given(st.floats() | st.floats(1e-5, 1e-3) | st.floats(1e15, 1e17) | st.integers(0, 2**60).map(lambda n: n / 1e4))
def test_a_float_is_written_as_repr_writes_it(value):
    """Near the bounds of the fast way, and away from them."""
    assert json.encode([value]) == written([value]).encode()


@pytest.mark.parametrize(
    "value",
    [1e16, math.nextafter(1e16, 0), 1e-4, math.nextafter(1e-4, 0), -0.0, 0.1 + 0.2, 5e-324, 2.0**-44, 2.0**53 + 2],
)
def test_floats_at_the_bounds_are_written_as_repr_writes_them(value):
    """The range that msgspec may write is exactly the range in which it writes as repr does."""
    assert json.encode(value).decode() == repr(value)
    assert json.encode(-value).decode() == repr(-value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_written_as_the_standard_library_writes_it(value):
    """NaN and the infinities keep Python's names, not null."""
    assert json.encode({"a": value}) == written({"a": value}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "character", [chr(n) for n in (*range(0x30), 0x5C, *range(0x7E, 0xA1), 0x2028, 0xFFFF, 0x1F600)]
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_each_character_is_escaped_alike(character, ensure_ascii):
    """Control characters, DEL, quotes, backslashes and line separators, in keys and in values."""
    value = {character: f'{character}\\"{character}\\u00e9é'}

    assert json.dumps(value, ensure_ascii=ensure_ascii) == stdlib.dumps(value, ensure_ascii=ensure_ascii)


@pytest.mark.parametrize(
    "value",
    [
        Text("é"),
        {Text("b"): 1, "a": 2},
        Number(3),
        [Colour.RED, Word.NO],
        {Colour.RED: Word.NO},
        OrderedDict(b=1, a=2),
        Pair(1, [2]),
        {1: "one", 2: "two"},
        {None: 1},
        {True: 1},
        {1.5: 1},
        {"a": decimal.Decimal("1.10"), "b": uuid.UUID(int=7)},
        [datetime.datetime(2020, 1, 2, 3, 4, 5), datetime.date(2020, 1, 2)],
        Point(1, Point(2, (3,))),
        [Page()],
        {str(n): n for n in range(50)},
        [[]] * 200,
    ],
)
def test_values_of_other_types_mean_what_they_mean_to_the_standard_library(value):
    """Subclasses, enums, keys that are no strings, and what `default` knows."""
    assert json.dumps(value) == written(value, sort_keys=True)
    assert json.dumps(value, sort_keys=False) == written(value)
    assert json.dumps(value, indent=1) == written(value, sort_keys=True, indent=1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.datetime(2020, 1, 2, 3, 4, 5), '"Thu, 02 Jan 2020 03:04:05 GMT"'),
        (
            datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=-8))),
            '"Thu, 02 Jan 2020 11:04:05 GMT"',
        ),
        (datetime.date(2020, 1, 2), '"Thu, 02 Jan 2020 00:00:00 GMT"'),
        (decimal.Decimal("0.003"), '"0.003"'),
        (uuid.UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (Point(1, 2), '{"x": 1, "y": 2}'),
        (Page(), '"<p>page</p>"'),
    ],
)
def test_default_knows_dates_decimals_uuids_dataclasses_and_html(value, text):
    """The kinds beyond JSON that Flask's provider knows are written as it writes them."""
    assert json.dumps(value) == text


def test_an_unknown_object_is_refused_with_a_remedy():
    """The error begins as the standard library's does and says what to do."""
    with pytest.raises(TypeError, match=r"^Object of type object is not JSON serializable; .*app\.json\.default"):
        json.dumps({"a": object()})


@pytest.mark.parametrize(
    "value", [{1, 2}, b"bytes", bytearray(b"x"), 1j, datetime.time(1), datetime.timedelta(1), range(2)]
)
def test_what_only_msgspec_could_write_is_refused(value):
    """Types that msgspec knows and the standard library does not are errors in the fast way too."""
    with pytest.raises(TypeError, match="is not JSON serializable"):
        json.encode({"a": [value]})


def test_a_default_of_ones_own_is_asked_at_any_depth():
    """It is asked for each unknown object and may give a container."""
    out = json.encode({"a": [{"b": 1j}]}, default=lambda value: [value.real, value.imag])

    assert out == b'{"a":[{"b":[0.0,1.0]}]}'


def test_keys_of_mixed_types_cannot_be_sorted():
    """As in Flask, that is a TypeError, unless sorting is off."""
    with pytest.raises(TypeError, match="not supported between instances"):
        json.dumps({1: 1, "a": 2})

    assert json.dumps({1: 1, "a": 2}, sort_keys=False) == '{"1": 1, "a": 2}'


def test_a_circle_is_a_value_error():
    """A value that contains itself is found out, not followed."""
    small: dict[str, object] = {"a": 1}
    small["self"] = small
    large: list[object] = [0] * 100
    large.append(large)

    for value in (small, large):
        with pytest.raises(ValueError, match="Circular reference"):
            json.encode(value)


def test_depth_within_the_standard_librarys_reach_is_written():
    """A value too deep for the fast way takes the other."""
    value: object = 1
    for _ in range(100):
        value = {"a": [value]}

    assert json.dumps(value) == stdlib.dumps(value)


@pytest.mark.parametrize("size", [1, 10, 100, 1_000, 10_000])
@pytest.mark.parametrize("name", ["Joe", "J\xf6rg", "\u0418\u0432\u0430\u043d", "J\x7f", '\\"', "\U0001f600"])
@pytest.mark.parametrize("last", [None, 1e-300, datetime.date(2020, 1, 2)])
def test_size_makes_no_difference(size, name, last):
    """Short and long, plain to the end or not: whichever way is taken, the text is the same."""
    value = {"rows": [{"name": name, "id": n, name: [True, 0.5]} for n in range(size)], "z": last}

    assert json.encode(value) == written(value, sort_keys=True, separators=(",", ":")).encode()
    assert json.dumps(value, ensure_ascii=False) == written(value, sort_keys=True, ensure_ascii=False)


def test_an_int_beyond_the_limit_on_digits_is_a_value_error():
    """Python's own limit on the length of printed ints holds."""
    with pytest.raises(ValueError, match="digits"):
        json.encode([10 ** (sys.get_int_max_str_digits() + 1)])


def test_options_that_cannot_be_hashed_are_honoured():
    """Separators may be a list, as the standard library allows."""
    assert json.dumps([1, 2j], default=str, separators=[";", "="]) == '[1;"2j"]'  # type: ignore[arg-type]


def read(text):
    try:
        return repr(stdlib.loads(text))
    except (ValueError, RecursionError):
        return ValueError


def read_by_us(text):
    try:
        return repr(json.loads(text))
    except ValueError:
        return ValueError


@given(VALUES, st.booleans())
def test_loads_gives_back_what_was_written(value, ensure_ascii):
    """The text of any value is read alike, as str and as bytes."""
    text = stdlib.dumps(value, ensure_ascii=ensure_ascii)

    assert read_by_us(text) == read(text)
    raw = text.encode("utf-8", "surrogatepass")
    assert read_by_us(raw) == read(raw)


@given(st.text(st.sampled_from('[]{}",:\\u0019-+.eE truefalsn\ud800é\x00\n\x7f\ufeff/')))
def test_loads_refuses_and_accepts_what_the_standard_library_does(text):
    """Near-JSON is read alike or refused alike."""
    assert read_by_us(text) == read(text)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32-be"):
        raw = text.encode(encoding, "surrogatepass")
        assert read_by_us(raw) == read(raw)


@given(st.binary())
def test_loads_reads_any_bytes_as_the_standard_library_does(raw):
    """Bytes that are no text are a ValueError, not a surprise."""
    assert read_by_us(raw) == read(raw)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", fullmatch=True))
def test_loads_reads_numbers_exactly(text):
    """Every number is the same number, to the last bit and of the same type."""
    assert read_by_us(text) == read(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        "NaN",
        "[Infinity, -Infinity]",
        "1e400",
        "-0",
        "-0.0",
        "18446744073709551616",
        "2.2250738585072011e-308",
        "0e99999999999",
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        "[1]".encode("utf-16"),
        " [ 1 , 2 ] ",
        "[\x0b1]",
        '"\t"',
        "",
        "[1,]",
        "01",
        "1 2",
        '{"a"}',
        "'a'",
        b'{"\xff": 1}',
        b"[1]\x00",
    ],
)
def test_the_corners_of_json_are_read_as_the_standard_library_reads_them(text):
    """Duplicate keys, NaN, marks, encodings, surrogates, numbers out of range, and refusals."""
    assert read_by_us(text) == read(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, b"[" * 100_000, "[" * 100_000 + "]" * 100_000])
def test_deep_json_is_a_value_error(text):
    """A client can send a hundred thousand brackets; that is its mistake and no crash of ours."""
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting"):
        json.loads(text)


@pytest.mark.parametrize("text", ["1" * 100_000, b"[-" + b"9" * 100_000 + b"]"])
def test_an_int_of_too_many_digits_is_a_value_error(text):
    """Reading it would take quadratic time."""
    with pytest.raises(ValueError, match="digits"):
        json.loads(text)


def test_a_malformed_text_says_where():
    """The error is the standard library's, with its position."""
    with pytest.raises(stdlib.JSONDecodeError, match=r"line 1 column 6 \(char 5\)"):
        json.loads(b'{"a":')
