"""What an app's JSON provider writes, reads and lets itself be taught."""

import dataclasses
import datetime
import gc
import io
import json
import uuid
from decimal import Decimal

import pytest

from carboy.standard.json import DefaultJSONProvider, JSONProvider
from carboy.wire.response import Response


class App:
    """As much of an app as a provider knows."""

    debug = False
    response_class = Response


@pytest.fixture
def app():
    return App()


@pytest.fixture
def provider(app):
    return DefaultJSONProvider(app)


def test_text_has_sorted_keys_and_spaces(provider):
    """`dumps` writes as the standard library does by default, keys in order."""
    assert provider.dumps({"b": [1, 2], "a": "é"}) == '{"a": "\\u00e9", "b": [1, 2]}'


@pytest.mark.parametrize(("ensure_ascii", "text"), [(True, '"\\u2603"'), (False, '"\N{SNOWMAN}"')])
def test_characters_beyond_ascii_are_escaped_unless_told_otherwise(provider, ensure_ascii, text):
    """`ensure_ascii` is read at each call."""
    provider.ensure_ascii = ensure_ascii

    assert provider.dumps("\N{SNOWMAN}") == text
    assert provider.response("\N{SNOWMAN}").data.decode() == text + "\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"indent": 1}, '[\n {\n  "a": 1\n }\n]'),
        ({"separators": (",", ":")}, '[{"a":1}]'),
        ({"separators": ("; ", " = ")}, '[{"a" = 1}]'),
        ({"skipkeys": True}, '[{"a": 1}]'),
    ],
)
def test_arguments_of_the_standard_library_are_passed_on(provider, options, text):
    """Those we know and those we do not."""
    assert provider.dumps([{"a": 1}], **options) == text


def test_an_encoder_class_of_ones_own_is_used_with_the_default(provider):
    """`cls` works, and still knows UUIDs."""

    class Encoder(json.JSONEncoder):
        def encode(self, o):
            return "~" + super().encode(o)

    assert provider.dumps([uuid.UUID(int=1)], cls=Encoder) == '~["00000000-0000-0000-0000-000000000001"]'


def test_sorting_can_be_turned_off_for_one_call_or_for_all(provider):
    """Keys of two types can then be written."""
    assert provider.dumps({"b": 1, 2: 3}, sort_keys=False) == '{"b": 1, "2": 3}'

    provider.sort_keys = False

    assert provider.response({"b": 1, "a": 2}).data == b'{"b":1,"a":2}\n'


def test_kinds_beyond_json_are_written(provider):
    """Dates, decimals, UUIDs and dataclasses."""

    @dataclasses.dataclass
    class Offer:
        price: Decimal
        until: datetime.date

    assert json.loads(provider.dumps(Offer(Decimal("9.90"), datetime.date(2020, 1, 2)))) == {
        "price": "9.90",
        "until": "Thu, 02 Jan 2020 00:00:00 GMT",
    }


def test_default_is_callable_on_the_class(provider):
    """One's own `default` falls back on it."""

    def default(value):
        return "?" if isinstance(value, complex) else DefaultJSONProvider.default(value)

    provider.default = default

    assert provider.dumps([1j, Decimal(1)]) == '["?", "1"]'
    assert provider.response([1j, Decimal(1)]).data == b'["?","1"]\n'
    with pytest.raises(TypeError, match="Object of type object is not JSON serializable"):
        provider.dumps(object())


def test_a_subclass_may_define_default(app):
    """As a static method, as the base has it."""

    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(value):
            return f"<{value}>"

    assert Provider(app).response({"a": 1j}).data == b'{"a":"<1j>"}\n'


def test_files_are_written_and_read(provider):
    """`dump` writes text; `load` reads text and bytes."""
    out = io.StringIO()

    provider.dump({"name": "carboy"}, out, indent=1)

    assert out.getvalue() == '{\n "name": "carboy"\n}'
    assert provider.load(io.StringIO(out.getvalue())) == {"name": "carboy"}
    assert provider.load(io.BytesIO(b"[1.5]"), parse_float=str) == ["1.5"]


@pytest.mark.parametrize("text", [b'{"a":', "[" * 100_000, "9" * 100_000, b"\xff", ""])
def test_what_is_no_json_is_a_value_error(provider, text):
    """Whatever a client sends, the request answers 400 by catching ValueError."""
    with pytest.raises(ValueError):
        provider.loads(text)


@pytest.mark.parametrize(
    ("args", "kwargs", "body"),
    [
        ((), {}, b"null\n"),
        (({"a": 1},), {}, b'{"a":1}\n'),
        ((1, "2"), {}, b'[1,"2"]\n'),
        (([],), {}, b"[]\n"),
        ((None,), {}, b"null\n"),
        ((), {"b": 1, "a": 2}, b'{"a":2,"b":1}\n'),
    ],
)
def test_a_response_is_made_of_a_value_of_several_or_of_items(provider, args, kwargs, body):
    """One argument as it is, several as a list, keywords as a dict."""
    response = provider.response(*args, **kwargs)

    assert response.data == body
    assert response.content_type == "application/json"


def test_a_response_takes_values_or_items_not_both(provider):
    """Both would have to be two values."""
    with pytest.raises(TypeError, match="either args or kwargs, not both"):
        provider.response(1, a=2)


@pytest.mark.parametrize(
    ("debug", "compact", "indented"),
    [(False, None, False), (True, None, True), (True, True, False), (False, False, True)],
)
def test_responses_are_laid_out_for_readers_in_debug_mode_or_on_demand(app, provider, debug, compact, indented):
    """`compact` decides; undecided, debug mode does."""
    app.debug = debug
    provider.compact = compact

    body = b'{\n  "a": [\n    1\n  ]\n}\n' if indented else b'{"a":[1]}\n'

    assert provider.response({"a": [1]}).data == body
    assert provider.encode_response({"a": [1]}) == body


def test_the_mimetype_can_be_changed(provider):
    """For a whole app that speaks a dialect."""
    provider.mimetype = "application/problem+json"

    assert provider.response({}).content_type == "application/problem+json"


def test_a_response_is_of_the_apps_class(app, provider):
    """Looked up at each call."""

    class Special(Response):
        pass

    app.response_class = Special

    assert type(provider.response(1)) is Special


def test_a_response_is_written_with_an_overridden_dumps(app):
    """It is given the layout as arguments of `json.dumps`; on the class or on the object."""
    seen = []

    class Provider(DefaultJSONProvider):
        def dumps(self, obj, **kwargs):
            seen.append(kwargs)
            return "~" + super().dumps(obj, **kwargs)

    assert Provider(app).response([1, 2]).data == b"~[1,2]\n"
    assert Provider(app).encode_response([1, 2]) == b"~[1,2]\n"
    assert seen == [{"separators": (",", ":")}] * 2

    provider = DefaultJSONProvider(app)
    provider.dumps = lambda obj, **kwargs: "mine"

    assert provider.response([1, 2]).data == b"mine\n"


def test_an_overridden_response_cannot_be_skipped(app, provider):
    """There is no short way to the body then."""

    class Provider(DefaultJSONProvider):
        def response(self, *args, **kwargs):
            return super().response({"data": args[0]})

    assert Provider(app).encode_response is None

    provider.response = lambda *args: None

    assert provider.encode_response is None


def test_a_provider_is_standard_until_its_text_changes(app, provider):
    """Layout and mimetype do not count; options, subclasses' methods and replaced functions do."""
    provider.compact = False
    provider.mimetype = "application/x+json"
    assert provider.is_standard

    for name, value in {"sort_keys": False, "ensure_ascii": False, "default": str, "loads": json.loads}.items():
        touched = DefaultJSONProvider(app)
        setattr(touched, name, value)
        assert not touched.is_standard


def test_a_bare_provider_needs_dumps_and_loads(app):
    """The base has the rest."""
    bare = JSONProvider(app)
    with pytest.raises(NotImplementedError, match="dumps"):
        bare.dumps(1)
    with pytest.raises(NotImplementedError, match="loads"):
        bare.loads("1")

    class Provider(JSONProvider):
        def dumps(self, obj, **kwargs):
            return json.dumps(obj, **kwargs)

        def loads(self, s, **kwargs):
            return json.loads(s, **kwargs)

    response = Provider(app).response(a=1)

    assert (response.data, response.content_type) == (b'{"a": 1}', "application/json")
    assert Provider(app).load(io.StringIO("[1]")) == [1]


def test_a_provider_does_not_keep_its_app_alive():
    """The app holds the provider, so the provider holds the app weakly."""
    app = App()
    provider = DefaultJSONProvider(app)

    del app
    gc.collect()

    with pytest.raises(ReferenceError):
        provider.response(1)
