"""Tagged JSON gives back the very types it was given, in the text that Flask writes."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from carboy.wire import json
from carboy.wire.tagged import JSONTag, TaggedJSONSerializer, TagTuple

KEYS = st.text(max_size=5) | st.sampled_from([" t", " b", " m", " u", " d", " di", " t__", " di__", " x", "a"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.text().map(Markup)
    | st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=20,
)


class Angle:
    def __init__(self, degrees):
        self.degrees = degrees


class TagAngle(JSONTag):
    __slots__ = ()
    key = " a"

    def check(self, value):
        return isinstance(value, Angle)

    def to_json(self, value):
        return self.serializer.tag(value.degrees)

    def to_python(self, value):
        return Angle(value)


def types_of(value):
    """A value's types all the way down, for == does not tell a Markup from a str."""
    if isinstance(value, dict):
        return {key: types_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [types_of(item) for item in value]
    return type(value)


@given(VALUES)
def test_every_value_comes_back_as_it_was(value):
    """Value and types survive, at any depth, marks among the keys included."""
    serializer = TaggedJSONSerializer()

    found = serializer.loads(serializer.dumps(value))

    assert found == value
    assert types_of(found) == types_of(value)


@given(VALUES)
def test_the_short_cut_writes_what_tagging_writes(value):
    """Where nothing needs a mark, leaving out the tagging changes nothing."""
    serializer = TaggedJSONSerializer()

    tagged = json.dumps(serializer.tag(value), separators=(",", ":"))

    assert serializer.dumps(value) == tagged
    assert serializer.encode(value) == tagged.encode()
    assert types_of(serializer.loads(tagged)) == types_of(serializer._untag_scan(json.loads(tagged)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": (1, 2)}, '{"a":{" t":[1,2]},"b":1}'),
        ({" t": 1}, '{" di":{" t__":1}}'),
        ({" t__": 1}, '{" t__":1}'),
        ({" di": {" b": b"x"}}, '{" di":{" di__":{" di":{" b__":{" b":"eA=="}}}}}'),
        ({" t": 1, "a": 2}, '{" t":1,"a":2}'),
        (b"\xff\x00", '{" b":"/wA="}'),
        (Markup("<x>"), '{" m":"<x>"}'),
        (UUID(int=5), '{" u":"00000000000000000000000000000005"}'),
        (datetime(2020, 1, 1, tzinfo=UTC), '{" d":"Wed, 01 Jan 2020 00:00:00 GMT"}'),
        (date(2020, 1, 1), '"Wed, 01 Jan 2020 00:00:00 GMT"'),
        ({1: 2}, '{"1":2}'),
        ("é", '"\\u00e9"'),
        ({"x": [{"a": ()}]}, '{"x":[{"a":{" t":[]}}]}'),
        (Decimal("1.0"), '"1.0"'),
    ],
)
def test_the_text_is_flasks(value, text):
    """Each kind of value gives the text that Flask 3.1 was seen to write."""
    assert TaggedJSONSerializer().dumps(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{ " t" : [1] }', (1,)),
        ('{"\\u0020t":[1]}', (1,)),
        ('[{" t":[{" t":[1]}]}]', [((1,),)]),
        ('{" di":{" t__":1}}', {" t": 1}),
        ('{" zz":1}', {" zz": 1}),
        ('{" t":[1],"a":2}', {" t": [1], "a": 2}),
        ('{"a": "{ b", "c": " t"}', {"a": "{ b", "c": " t"}),
    ],
)
def test_a_mark_is_found_however_it_was_written(text, value):
    """Spaces and escapes do not hide a mark; an unknown one is an ordinary key."""
    assert TaggedJSONSerializer().loads(text) == value


def test_an_aware_datetime_is_stored_in_utc():
    """A moment elsewhere comes back as the same moment."""
    serializer = TaggedJSONSerializer()

    found = serializer.loads(serializer.dumps(datetime.fromisoformat("2020-01-01T12:00:00+09:00")))

    assert found == datetime(2020, 1, 1, 3, tzinfo=UTC)


def test_a_tag_of_ones_own_is_written_and_read():
    """A registered tag marks its type, in any place."""
    serializer = TaggedJSONSerializer()
    serializer.register(TagAngle)

    text = serializer.dumps({"turn": [Angle((1, 2))]})

    assert text == '{"turn":[{" a":{" t":[1,2]}}]}'
    assert serializer.loads(text)["turn"][0].degrees == (1, 2)


def test_a_mark_may_be_any_string():
    """A tag whose key has no space before it is found too."""

    class TagOdd(TagAngle):
        key = "angle"

    serializer = TaggedJSONSerializer()
    serializer.register(TagOdd)

    assert serializer.loads(serializer.dumps(Angle(5))).degrees == 5
    assert serializer.loads(serializer.dumps({"angle": 5})) == {"angle": 5}


def test_a_mark_can_be_taken_only_once():
    """A second tag of the same mark is a KeyError unless it is forced."""

    class TagPair(TagTuple):
        pass

    serializer = TaggedJSONSerializer()

    with pytest.raises(KeyError, match="already registered"):
        serializer.register(TagPair)
    serializer.register(TagPair, force=True, index=0)

    assert isinstance(serializer.tags[" t"], TagPair)
    assert isinstance(serializer.order[0], TagPair)


def test_a_tag_stands_where_it_is_put():
    """An index gives its place in the order; without one it goes to the end."""
    first = TaggedJSONSerializer()
    first.register(TagAngle, index=-1)
    last = TaggedJSONSerializer()
    last.register(TagAngle)

    assert isinstance(first.order[-2], TagAngle)
    assert isinstance(last.order[-1], TagAngle)


def test_a_bare_tag_answers_nothing():
    """The base class is only a shape."""
    tag = JSONTag(None)  # type: ignore[arg-type]

    for method in (tag.check, tag.to_json, tag.to_python):
        with pytest.raises(NotImplementedError):
            method(None)


def test_a_subclass_that_tags_in_its_own_way_is_asked():
    """The short cut is not taken past an overriding method."""

    class Shouting(TaggedJSONSerializer):
        def tag(self, value):
            return value.upper() if isinstance(value, str) else super().tag(value)

    assert Shouting().dumps("quiet") == '"QUIET"'


def test_json_can_be_written_and_read_by_other_functions():
    """An app's own provider takes part; the tags stay the same."""
    serializer = TaggedJSONSerializer()
    serializer.register(TagAngle)
    other = serializer.through(
        lambda value, **options: "!" + json.dumps(value, default=lambda unknown: "?", **options),
        lambda text: json.loads(text[1:]),
    )

    text = other.dumps({"turn": Angle(uuid4().int), "odd": 1j})

    assert text.startswith('!{"odd":"?","turn":{" a":')
    assert isinstance(other.loads(text)["turn"], Angle)
    assert serializer.dumps(1) == "1"
