"""What the table answers, one fact at a time, and that it stays as quick with many routes as with few."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest
from werkzeug.routing import BaseConverter, IntegerConverter, MapAdapter, ValidationError
from werkzeug.routing import Map as WerkzeugMap
from werkzeug.routing import Rule as WerkzeugRule

from carboy.routing.map import Map, Rule
from carboy.routing.table import Table


def table_of(*rules: Rule, **settings: Any) -> Table:
    """Make a table of a map of these rules."""
    return Table(Map(rules, **settings))


def get(path: str, endpoint: str, **options: Any) -> Rule:
    """Make a rule for GET."""
    return Rule(path, endpoint=endpoint, methods=["GET"], **options)


def found(table: Table, path: str, method: str = "GET", domain: str = "") -> tuple[str, dict[str, Any]] | None:
    """Give the endpoint and the values of a match."""
    hit = table.match(domain, path, method)
    return None if hit is None else (hit[0].endpoint, hit[1])


MANY = "/" + "-".join(f"<v{n}>" for n in range(12))
# The last is the most specific, and its text stands in another bucket than that of the others.
AMONG_MANY = [*(f"/a{letter}<x>" for letter in "cdefghij"), "/a<x>", "/<x>-1", "/<x>1", "/ab-<x>", "/ab-<int:x>"]
HITS: list[tuple[str, list[str], str, tuple[str, dict[str, Any]] | None]] = [
    ("the root is a path", ["/"], "/", ("/", {})),
    ("fixed text wins over a variable", ["/<name>", "/me"], "/me", ("/me", {})),
    ("int wins over string", ["/<name>", "/<int:id>"], "/42", ("/<int:id>", {"id": 42})),
    ("string takes what int cannot", ["/<int:id>", "/<name>"], "/x42", ("/<name>", {"name": "x42"})),
    ("digits of any script are digits", ["/<int:id>"], "/٣", ("/<int:id>", {"id": 3})),
    ("a superscript is no digit", ["/<int:id>"], "/²", None),
    ("string takes a superscript", ["/<int:id>", "/<name>"], "/²", ("/<name>", {"name": "²"})),
    ("a path takes no newline but in front", ["/f/<path:p>"], "/f/a\nb", None),
    ("a path takes a newline in front", ["/f/<path:p>"], "/f/\nb", ("/f/<path:p>", {"p": "\nb"})),
    ("among many patterns the order holds", AMONG_MANY, "/ab-1", ("/ab-<int:x>", {"x": 1})),
    ("a newline is no digit", ["/<int:id>"], "/1\n", None),
    ("a minus needs signed", ["/<int:id>"], "/-1", None),
    ("signed takes a minus", ["/<int(signed=True):id>"], "/-1", ("/<int(signed=True):id>", {"id": -1})),
    ("a value below min is not ours", ["/<int(min=5):id>"], "/4", None),
    ("fixed_digits counts", ["/<int(fixed_digits=3):id>"], "/042", ("/<int(fixed_digits=3):id>", {"id": 42})),
    ("too few digits are not ours", ["/<int(fixed_digits=3):id>"], "/42", None),
    ("a float is a float", ["/<float:x>", "/<int:x>"], "/1.5", ("/<float:x>", {"x": 1.5})),
    ("a walk comes back from a dead end", ["/a/b/c", "/<x>/b/d"], "/a/b/d", ("/<x>/b/d", {"x": "a"})),
    ("two dead ends deep", ["/a/<int:n>/c", "/a/<x>/d", "/<y>/1/e"], "/a/1/e", ("/<y>/1/e", {"y": "a"})),
    ("a path takes slashes", ["/f/<path:p>"], "/f/a/b.css", ("/f/<path:p>", {"p": "a/b.css"})),
    ("fixed text wins over a path", ["/f/<path:p>", "/f/a/b"], "/f/a/b", ("/f/a/b", {})),
    ("text after a path counts", ["/<path:p>/edit", "/<path:p>"], "/a/b/edit", ("/<path:p>/edit", {"p": "a/b"})),
    ("a path does not begin with a slash", ["/f/<path:p>"], "/f//a", None),
    ("several variables in a segment", ["/<a>-<int:b>"], "/x-y-3", ("/<a>-<int:b>", {"a": "x-y", "b": 3})),
    ("text around a variable", ["/v<int:n>.json", "/<x>"], "/v2.json", ("/v<int:n>.json", {"n": 2})),
    ("any takes its choices", ["/<any(a,b):x>", "/<y>"], "/b", ("/<any(a,b):x>", {"x": "b"})),
    ("any takes nothing else", ["/<any(a,b):x>"], "/c", None),
    ("a string's length counts", ["/<string(length=2):x>"], "/abc", None),
    ("case counts", ["/me"], "/Me", None),
    ("letters beyond ASCII are letters", ["/été/<x>"], "/été/ü", ("/été/<x>", {"x": "ü"})),
    ("an escaped slash was decoded by the door or is text", ["/<x>"], "/a%2Fb", ("/<x>", {"x": "a%2Fb"})),
    ("an empty segment is no string", ["/a/<x>/b"], "/a//b", None),
    ("a missing last slash is a redirect", ["/a/"], "/a", None),
    ("one slash too many is a 404", ["/a"], "/a/", None),
    ("slashes in front are the adapter's", ["/a"], "//a", None),
    ("a path without a slash in front is the adapter's", ["/a"], "a", None),
    ("no path is the adapter's", ["/"], "", None),
    ("a number too long for an int is not ours", ["/<int:id>"], "/" + "9" * 5000, None),
    (
        "more than ten variables keep their order",
        [MANY],
        "/" + "-".join("abcdefghijkl"),
        (MANY, {f"v{n}": letter for n, letter in enumerate("abcdefghijkl")}),
    ),
]


@pytest.mark.parametrize(("paths", "path", "expected"), [case[1:] for case in HITS], ids=[case[0] for case in HITS])
def test_path_finds_its_rule(paths: list[str], path: str, expected: tuple[str, dict[str, Any]] | None) -> None:
    """Each case's name is the fact; the rule's text is its endpoint; None is left to Werkzeug."""
    url_map = Map([get(text, text) for text in paths])

    ours = found(Table(url_map), path)

    assert ours == expected


def test_method_chooses_among_rules_of_one_path() -> None:
    """Two rules of one path answer their own methods, and a third method finds nothing."""
    table = table_of(get("/x", "read"), Rule("/x", endpoint="write", methods=["POST"]))

    assert found(table, "/x", "GET") == ("read", {})
    assert found(table, "/x", "POST") == ("write", {})
    assert found(table, "/x", "PUT") is None


def test_method_may_lead_past_fixed_text() -> None:
    """A fixed path that lacks the method leaves it to a variable that has it."""
    table = table_of(get("/me", "me"), Rule("/<name>", endpoint="any", methods=["GET", "POST"]))

    assert found(table, "/me", "GET") == ("me", {})
    assert found(table, "/me", "POST") == ("any", {"name": "me"})


def test_head_finds_what_get_finds() -> None:
    """A rule for GET answers HEAD."""
    assert found(table_of(get("/x/<int:n>", "x")), "/x/1", "HEAD") == ("x", {"n": 1})


def test_rule_without_methods_takes_any() -> None:
    """No methods means every method, also one nobody named; in lower case it is left to Werkzeug."""
    table = table_of(Rule("/x", endpoint="x"), get("/y", "y"))

    assert found(table, "/x", "BREW") == ("x", {})
    assert found(table, "/x", "get") is None
    assert found(table, "/y", "get") is None


@pytest.mark.parametrize("path", ["//x", "//y", "//y/z"])
def test_slashes_in_front_are_the_adapters_even_with_a_rule_for_them(path: str) -> None:
    """The adapter strips them, so a rule that begins with two is never met, and the path without them may be another's."""
    url_map = Map([get("//x", "x"), get("//<y>", "y"), get("//<y>/<z>", "z"), get("/<path:p>", "p")], merge_slashes=False)

    assert found(Table(url_map), path) is None
    assert url_map.bind("example.org").match(path) == ("p", {"p": path[2:]})


def test_method_in_lower_case_is_never_met() -> None:
    """Werkzeug raises the asked method first, so a name in lower case among a rule's methods is dead."""
    rule = get("/x", "x")
    assert rule.methods is not None
    rule.methods.add("get")

    assert found(table_of(rule), "/x", "get") is None


def test_lenient_rule_takes_a_slash_more_or_less() -> None:
    """Without strict slashes both spellings are hits."""
    table = table_of(get("/leaf", "leaf"), get("/branch/", "branch"), get("/v/<int:n>/", "n"), strict_slashes=False)

    assert found(table, "/leaf/") == ("leaf", {})
    assert found(table, "/branch") == ("branch", {})
    assert found(table, "/v/3") == ("n", {"n": 3})


def test_slash_redirect_comes_before_a_variable() -> None:
    """`/a` is redirected to `/a/` although `/<x>` would take it, but only for the methods of `/a/`."""
    table = table_of(get("/a/", "a"), Rule("/<x>", endpoint="x", methods=["GET", "POST"]))

    assert found(table, "/a") is None
    assert found(table, "/a", "POST") == ("x", {"x": "a"})


def test_defaults_join_the_values() -> None:
    """A rule's defaults are values, a fresh dict each time."""
    table = table_of(get("/", "list", defaults={"page": 1}), get("/page/<int:page>", "list"))

    first = table.match("", "/", "GET")
    assert first is not None
    first[1]["page"] = 9

    assert found(table, "/") == ("list", {"page": 1})
    assert found(table, "/page/2") == ("list", {"page": 2})


def test_defaults_redirect_is_left_to_werkzeug() -> None:
    """The long URL of a default is a redirect, unless the map has those switched off."""
    rules = [get("/", "list", defaults={"page": 1}), get("/page/<int:page>", "list")]

    assert found(table_of(*[rule.empty() for rule in rules]), "/page/1") is None
    assert found(table_of(*rules, redirect_defaults=False), "/page/1") == ("list", {"page": 1})


def test_redirects_and_aliases_are_left_to_werkzeug() -> None:
    """redirect_to and alias rules are never hits, and rules for building only are not there."""
    table = table_of(
        get("/old", "old", redirect_to="new"),
        get("/new", "new"),
        get("/also", "new", alias=True),
        get("/built", "built", build_only=True),
        get("/<x>", "x"),
    )

    assert found(table, "/old") is None
    assert found(table, "/also") is None
    assert found(table, "/built") == ("x", {"x": "built"})


def test_websocket_rules_are_apart() -> None:
    """A websocket finds websocket rules only, and a page finds none of them."""
    table = table_of(Rule("/live/<int:n>", endpoint="live", websocket=True), get("/live/<x>", "page"))

    socket = table.match("", "/live/1", "GET", websocket=True)

    assert socket is not None
    assert (socket[0].endpoint, socket[1]) == ("live", {"n": 1})
    assert found(table, "/live/1") == ("page", {"x": "1"})
    assert table.match("", "/live/x", "GET", websocket=True) is None
    assert table_of(get("/", "x")).match("", "/", "GET", websocket=True) is None


def test_subdomain_is_part_of_the_rule() -> None:
    """Fixed subdomains come before variable ones, whose value is among the values."""
    table = table_of(get("/", "bare"), get("/", "api", subdomain="api"), get("/<int:n>", "user", subdomain="<user>"))

    assert found(table, "/", domain="") == ("bare", {})
    assert found(table, "/", domain="api") == ("api", {})
    assert found(table, "/7", domain="ann") == ("user", {"user": "ann", "n": 7})
    assert found(table, "/", domain="ann") is None


def test_host_is_part_of_the_rule() -> None:
    """With host matching the domain is the host."""
    table = table_of(get("/", "a", host="a.org"), get("/", "any", host="<h>.org"), host_matching=True)

    assert found(table, "/", domain="a.org") == ("a", {})
    assert found(table, "/", domain="b.org") == ("any", {"h": "b"})
    assert found(table, "/", domain="a.com") is None


class Even(IntegerConverter):
    """An int that is even."""

    def to_python(self, value: str) -> int:
        if int(value) % 2:
            raise ValidationError
        return int(value) // 2


def test_converter_subclass_converts_itself() -> None:
    """A subclass of int is asked; what it refuses is left to Werkzeug."""
    table = table_of(get("/<even:n>", "half"), get("/<int:n>", "int"), converters={"even": Even})

    assert found(table, "/4") == ("half", {"n": 2})
    assert found(table, "/3") is None


def test_converter_patched_on_the_object_converts_itself() -> None:
    """A to_python set on one converter object is the one that is called."""
    rule = get("/<x>", "x")
    url_map = Map([rule])
    rule._converters["x"].to_python = str.upper  # type: ignore[assignment, method-assign]  # what a test of an application may do

    assert found(Table(url_map), "/a") == ("x", {"x": "A"})


def test_pattern_that_does_not_compile_spoils_only_its_own_place() -> None:
    """Two groups of one name in a segment: other paths are still hits, this one is left to Werkzeug, which raises."""

    class Named(BaseConverter):
        regex = "(?P<same>a|b)"

    url_map = Map([get("/ok/<int:n>", "ok"), get("/bad/<named:x>-<named:y>", "bad")], converters={"named": Named})
    table = Table(url_map)

    assert found(table, "/ok/1") == ("ok", {"n": 1})
    assert found(table, "/bad/a-b") is None
    with pytest.raises(re.error):
        url_map.bind("example.org").match("/bad/a-b")


def test_rule_with_a_will_of_its_own_is_left_to_werkzeug() -> None:
    """A rule class that computes its methods may answer anything, so nothing is answered where it stands."""

    class Moody(WerkzeugRule):
        @property
        def methods(self) -> set[str]:  # the very thing a subclass should not do
            return {"GET"}

        @methods.setter
        def methods(self, value: object) -> None:
            pass

    table = Table(WerkzeugMap([WerkzeugRule("/other", endpoint="o"), Moody("/x", endpoint="m"), WerkzeugRule("/<x>", endpoint="x")]))

    assert found(table, "/x") is None
    assert found(table, "/x/") is None
    assert found(table, "/y") == ("x", {"x": "y"})
    assert found(table, "/other") == ("o", {})


def test_map_with_a_way_of_its_own_is_left_to_werkzeug() -> None:
    """A map that binds to an adapter of its own is never answered for, but its entries are there."""

    class Own(Map):
        def bind(self, *args: Any, **kwargs: Any) -> MapAdapter:
            return super().bind(*args, **kwargs)

    rule = get("/", "x")
    table = Table(Own([rule]))

    assert found(table, "/") is None
    assert [entry.rule for entry in table.entries()] == [rule]


def test_plain_werkzeug_map_and_rules_are_served() -> None:
    """An application may bring Werkzeug's own classes or harmless subclasses of them."""

    class Plain(WerkzeugRule):
        def suitable_for(self, *args: Any, **kwargs: Any) -> bool:
            return super().suitable_for(*args, **kwargs)

    assert found(Table(WerkzeugMap([Plain("/<int:n>", endpoint="x")])), "/1") == ("x", {"n": 1})


def test_entry_is_one_object_per_rule() -> None:
    """A match, the list and the rule give the same entry, which keeps its plan."""
    rule, stranger = get("/", "x"), get("/y", "y")
    rule.provide_automatic_options = True  # set by the application, as Flask does
    table = table_of(rule)

    (entry,) = table.entries()
    entry.plan = "plan"
    hit = table.match("", "/", "GET")

    assert hit is not None
    assert hit[0] is entry is table.entry_for(rule)
    assert table.entry_for(rule).plan == "plan"
    assert entry.auto_options
    assert table.entry_for(stranger) is table.entry_for(stranger)
    assert not table.entry_for(stranger).auto_options


def test_table_knows_when_it_is_old() -> None:
    """Adding to the map, ours or Werkzeug's, makes the table old."""
    for url_map in (Map([get("/", "x")]), WerkzeugMap([WerkzeugRule("/", endpoint="x")])):
        table = Table(url_map)
        assert table.is_current()

        url_map.add(WerkzeugRule("/y", endpoint="x"))

        assert not table.is_current()
        assert found(Table(url_map), "/y") == ("x", {})


def test_rule_taken_out_behind_the_maps_back_is_not_passed_over() -> None:
    """Werkzeug still meets a rule that was cut from its lists, so its place is left to Werkzeug and not given to the next."""
    url_map = Map([get("/x", "fixed"), get("/<x>", "x")])
    del url_map._rules_by_endpoint["fixed"]

    table = Table(url_map)

    assert found(table, "/x") is None
    assert found(table, "/y") == ("x", {"x": "y"})


def test_one_table_serves_many_threads() -> None:
    """Matching only reads, so threads get the same answers as one."""
    table = table_of(*[get(f"/r{n}/<int:id>", f"r{n}") for n in range(50)], get("/<path:p>", "rest"))
    paths = [f"/r{n % 60}/{n}" for n in range(600)]
    expected = [found(table, path) for path in paths]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: found(table, path), paths * 5))

    assert answers == expected * 5


def steps(work: Callable[[], object]) -> int:
    """Count the calls of Python and C functions that the work makes."""
    count = 0

    def profile(frame: FrameType, happening: str, argument: object) -> None:
        nonlocal count
        count += happening in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


# A rule's text, a path for it, and how many of the 10,000 are such. Werkzeug takes time that grows with the square for the
# patterns that share a parent, to make the map, so there are fewer of those.
SHAPES = [
    ("/fixed{}", "/fixed{}", 4000),
    ("/r{}/<int:id>", "/r{}/7", 4000),
    ("/user/<int:id>/part{}", "/user/7/part{}", 1100),
    ("/pre/u{}-<int:id>", "/pre/u{}-7", 300),
    ("/suf/<name>.e{}", "/suf/x.e{}", 300),
    ("/doc/d{}-<path:rest>", "/doc/d{}-a/b", 300),
]


def test_ten_thousand_routes_take_the_steps_of_sixty() -> None:
    """Counted in calls and not in time: a match does no more work among 10,000 routes, whichever of them it is, hit or miss."""

    def table(small: bool) -> Table:
        # Numbers of one width, so that the fixed texts of both tables have one length.
        rules = [
            get(rule.format(10_000 + n), f"{rule} {n}") for rule, _, count in SHAPES for n in range(10 if small else count)
        ]
        assert len(rules) == (60 if small else 10_000)
        return table_of(*rules)

    few, many = table(small=True), table(small=False)

    for _, path, count in SHAPES:
        for number in (0, count // 2, count - 1, 9999):
            asked = path.format(10_000 + number)
            reference = path.format(10_000 + min(number, 9) if number < count else 10_000 + number)
            # The first time a pattern is compiled.
            assert (many.match("", asked, "GET") is None) == (number >= count)
            assert (few.match("", reference, "GET") is None) == (number >= count)
            taken = steps(lambda asked=asked: many.match("", asked, "GET"))  # type: ignore[misc]  # mypy cannot infer a default
            assert taken <= steps(lambda reference=reference: few.match("", reference, "GET"))  # type: ignore[misc]  # the same
            assert 0 < taken < 60


def test_steps_are_counted() -> None:
    """The measure of the test above sees each candidate that is tried."""
    table = table_of(*[get(f"/<any(a{n}):x>", str(n)) for n in range(30)])
    table.match("", "/a29", "GET")

    assert steps(lambda: table.match("", "/a29", "GET")) > 30
