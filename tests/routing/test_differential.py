"""Whatever the rules are: a hit of the table is the hit of Werkzeug's adapter, and no plain hit is missed.

Rule sets are drawn from the whole of Werkzeug's rule syntax, with few names and letters so that rules collide; paths are filled from
those rules and then damaged, so that hits, near misses and redirects are all frequent.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, RequestRedirect, ValidationError
from werkzeug.routing import Map as WerkzeugMap
from werkzeug.routing import Rule as WerkzeugRule

from carboy.routing.map import Map, Rule
from carboy.routing.table import Table


class Shout(BaseConverter):
    """A converter with a choice for a pattern."""

    regex = "a|b|ab"

    def to_python(self, value: str) -> Any:
        return value.upper()


class Picky(BaseConverter):
    """A converter that refuses what its pattern took."""

    weight = 60

    def to_python(self, value: str) -> Any:
        if value.startswith("b"):
            raise ValidationError
        return [value]


class Pair(BaseConverter):
    """A converter over two segments, with groups of its own."""

    part_isolating = False
    regex = r"(a|b)/(?P<second>\d)"
    weight = 150


class Hollow(BaseConverter):
    """A converter that takes nothing, too."""

    regex = "[^/]*?"
    weight = 120


class Broken(BaseConverter):
    """A converter with a fault."""

    regex = "[xy]+"

    def to_python(self, value: str) -> Any:
        if value == "y":
            raise KeyError(value)
        return value


CONVERTERS = {"shout": Shout, "picky": Picky, "pair": Pair, "hollow": Hollow, "broken": Broken}
UUID = "12345678-1234-5678-1234-567812345678"
# How a variable is written, and what may stand for it.
VARIABLES: dict[str, list[str]] = {
    "{}": ["a", "b", "ab", "1", "é", "a b", "a-b", "%2F", "A", "a\nb"],
    "string(length=2):{}": ["ab", "a", "11"],
    "string(minlength=2,maxlength=3):{}": ["ab", "abcd", "a", "111"],
    "int:{}": ["1", "42", "007", "-1", "٣", "²", "1\n"],
    "int(min=2,max=9):{}": ["1", "5", "10"],
    "int(fixed_digits=2):{}": ["11", "1", "01"],
    "int(signed=True):{}": ["-1", "1"],
    "float:{}": ["1.5", "1", "-1.5"],
    "float(signed=True):{}": ["-1.5", "1.5"],
    "path:{}": ["a", "a/b", "a/1", "a//b", "ab/", "a/edit", "a\nb"],
    "any(a,b,'a b'):{}": ["a", "b", "a b", "c"],
    "uuid:{}": [UUID, UUID.upper(), "a"],
    "shout:{}": ["a", "ab", "c"],
    "picky:{}": ["a", "b"],
    "pair:{}": ["a/1", "b/2", "a"],
    "hollow:{}": ["", "a"],
    "broken:{}": ["x", "y"],
}
LITERALS = ["a", "b", "ab", "1", "edit", "A", "é", "a b", "%2F", "a.b", "11"]
AFFIXES = ["", "", "", "a", "-", ".", "v1", "(", "+"]
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS"]

# A segment's text and the ways to fill it.
Drawn = tuple[str, list[str]]


@st.composite
def segments(draw: st.DrawFn, names: list[str]) -> Drawn:
    """Draw one segment of a rule with several ways to fill it."""

    def variable() -> tuple[str, list[str]]:
        kind = draw(st.sampled_from([*["{}", "int:{}"] * 4, *VARIABLES]))
        name = f"v{len(names)}"
        names.append(name)
        return f"<{kind.format(name)}>", VARIABLES[kind]

    shape = draw(st.sampled_from(["literal", "literal", "literal", "variable", "variable", "affixed", "several"]))
    if shape == "literal":
        text = draw(st.sampled_from(LITERALS))
        return text, [text]
    rule, fillings = variable()
    if shape == "variable":
        return rule, fillings
    before, between = draw(st.sampled_from(AFFIXES)), draw(st.sampled_from(AFFIXES))
    if shape == "affixed":
        return f"{before}{rule}{between}", [f"{before}{value}{between}" for value in fillings]
    other, more = variable()
    return f"{rule}{between}{other}", [f"{one}{between}{two}" for one in fillings for two in more]


@st.composite
def rules(draw: st.DrawFn, kind: type[WerkzeugRule], host_matching: bool) -> tuple[WerkzeugRule, list[list[str]], list[str]]:
    """Draw a rule, the fillings of its segments and those of its domain."""
    names: list[str] = []
    drawn: list[Drawn] = [draw(segments(names)) for _ in range(draw(st.integers(0, 3)))]
    text = "/" + "/".join(segment for segment, _ in drawn)
    fillings = [filling for _, filling in drawn]
    slashed: bool = draw(st.booleans())
    if drawn and slashed:
        text += "/"
        fillings.append([""])
    if draw(st.integers(0, 15)) == 0:
        text = text.replace("/", "//", 1) if draw(st.booleans()) else text + "/"
    options: dict[str, Any] = {
        "endpoint": draw(st.sampled_from(["one", "two", "three"])),
        "methods": draw(st.sampled_from([None, ["GET"], ["GET"], ["POST"], ["GET", "POST"], ["PUT", "OPTIONS"]])),
    }
    rare = draw(st.integers(0, 19))
    if rare == 0:
        options["strict_slashes"] = draw(st.booleans())
    elif rare == 1:
        options["merge_slashes"] = draw(st.booleans())
    elif rare == 2:
        options["redirect_to"] = "a"
    elif rare == 3:
        options["build_only"] = True
    elif rare == 4:
        options["alias"] = True
    elif rare == 5:
        options["websocket"] = True
        options["methods"] = None
    elif rare in (6, 7):
        options["defaults"] = draw(st.sampled_from([{"v0": "a"}, {"v0": 1}, {"v1": "b"}, {"extra": 7}]))
        if options["defaults"].keys() & set(names):
            options["defaults"] = {"extra": 7}
    domains = [""]
    if host_matching:
        options["host"], domains = draw(st.sampled_from([("a.org", ["a.org"]), ("<h>.org", ["a.org", "b.org"])]))
    elif draw(st.integers(0, 5)) == 0:
        options["subdomain"], domains = draw(
            st.sampled_from([("api", ["api"]), ("<s>", ["api", "b"]), ("<s>.x", ["b.x"]), ("<any(api,b):s>", ["api", "c"])])
        )
    return kind(text, **options), fillings, domains


@st.composite
def worlds(draw: st.DrawFn) -> tuple[WerkzeugMap, list[tuple[str, str, str, bool]]]:
    """Draw a map and what is asked of it: domains, paths, methods, websocket or not."""
    host_matching = draw(st.integers(0, 7)) == 0
    ours = draw(st.integers(0, 3)) > 0
    drawn = [draw(rules(Rule if ours else WerkzeugRule, host_matching)) for _ in range(draw(st.integers(1, 10)))]
    url_map = (Map if ours else WerkzeugMap)(
        [rule for rule, _, _ in drawn],
        converters=CONVERTERS,
        host_matching=host_matching,
        strict_slashes=draw(st.integers(0, 3)) > 0,
        merge_slashes=draw(st.integers(0, 3)) > 0,
        redirect_defaults=draw(st.integers(0, 3)) > 0,
    )
    asked = []
    for _ in range(draw(st.integers(1, 12))):
        _, fillings, domains = draw(st.sampled_from(drawn))
        path = "/" + "/".join(draw(st.sampled_from(filling)) for filling in fillings)
        damage = draw(st.integers(0, 11))
        if damage == 0:
            path += "/"
        elif damage == 1:
            path = path.removesuffix("/")
        elif damage == 2:
            place = draw(st.integers(0, len(path)))
            path = path[:place] + draw(st.sampled_from(["/", "a", "\n", "%", "-"])) + path[place:]
        elif damage == 3:
            place = draw(st.integers(0, len(path)))
            path = path[:place] + path[place + 1 :]
        elif damage == 4:
            path = draw(st.text(alphabet="/ab1-é", max_size=8))
        domain = draw(st.sampled_from([*domains, *domains, "a.org" if host_matching else ""]))
        method = draw(st.sampled_from([*["GET"] * 4, *METHODS, "PATCH", "get"]))
        asked.append((domain, path, method, draw(st.integers(0, 9)) == 0))
    return url_map, asked


def werkzeug_says(
    url_map: WerkzeugMap, domain: str, path: str, method: str, websocket: bool
) -> tuple[WerkzeugRule, dict[str, Any]] | str:
    """Ask the adapter; what is no plain hit comes back as a word."""
    adapter = url_map.bind(domain) if url_map.host_matching else url_map.bind("example.org", subdomain=domain)
    try:
        rule, values = adapter.match(path, method, return_rule=True, websocket=websocket)
    except RequestRedirect:
        return "redirect"
    except HTTPException as error:
        return str(error.code)
    except Exception as error:  # noqa: BLE001  # a converter's own fault, or a pattern that does not compile
        return type(error).__name__
    return rule, dict(values)


def typed(values: dict[str, Any]) -> list[tuple[str, type, Any]]:
    """Give values so that 1 and True, or 1 and 1.0, differ, and their order counts."""
    return [(name, type(value), value) for name, value in values.items()]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(worlds())
def test_table_and_adapter_agree(world: tuple[WerkzeugMap, list[tuple[str, str, str, bool]]]) -> None:
    """A hit is Werkzeug's hit with its values; a `None` is never a hit of Werkzeug's but for strange slashes in front."""
    url_map, asked = world
    table = Table(url_map)

    for domain, path, method, websocket in asked:
        ours = table.match(domain, path, method, websocket)
        theirs = werkzeug_says(url_map, domain, path, method, websocket)
        context = f"{url_map!r} {domain=} {path=} {method=} {websocket=} {theirs=}"
        if ours is not None:
            entry, values = ours
            assert not isinstance(theirs, str), context
            rule, expected = theirs
            assert entry.rule is rule, context
            assert typed(values) == typed(expected), context
            assert entry is table.entry_for(rule), context
            event("hit")
        elif isinstance(theirs, str):
            event(f"none: {theirs}")
        else:
            # Left to Werkzeug on purpose: see Table.match.
            excused = not path.startswith("/") or path.startswith("//") or method == "get"
            assert excused, f"missed: {context}"
            event("excused")
