"""The map is Werkzeug's and says when it has changed."""

from __future__ import annotations

import pytest
from werkzeug.routing import EndpointPrefix, Subdomain, Submount
from werkzeug.routing import Map as WerkzeugMap
from werkzeug.routing import Rule as WerkzeugRule

from carboy.routing.map import Map, Rule


def test_adding_is_one_change() -> None:
    """However many rules a factory makes, one change is announced, when all of them are there."""
    url_map = Map([Rule("/", endpoint="index")])
    before, seen = url_map.version, []
    url_map.on_change = lambda: seen.append(len(list(url_map.iter_rules())))

    url_map.add(Submount("/sub", [Rule("/a", endpoint="a"), Rule("/b", endpoint="b")]))

    assert url_map.version == before + 1
    assert seen == [3]


def test_failed_adding_is_a_change_too() -> None:
    """A rule that cannot be bound raises; what was added before it is announced."""
    url_map = Map()
    before = url_map.version

    with pytest.raises(LookupError):
        url_map.add(Submount("/sub", [Rule("/a", endpoint="a"), Rule("/<nosuch:b>", endpoint="b")]))

    assert url_map.version == before + 1


@pytest.mark.parametrize(
    "setting", ["strict_slashes", "merge_slashes", "redirect_defaults", "host_matching", "default_subdomain", "converters"]
)
def test_settings_of_the_map_are_seen(setting: str) -> None:
    """Assigning a setting announces a change."""
    url_map = Map()
    before = url_map.version

    setattr(url_map, setting, getattr(url_map, setting))

    assert url_map.version == before + 1


@pytest.mark.parametrize("setting", ["methods", "defaults", "strict_slashes", "redirect_to", "alias", "websocket", "options"])
def test_settings_of_a_rule_are_seen(setting: str) -> None:
    """Assigning a setting of a bound rule announces a change; an unbound one has nobody to tell."""
    rule = Rule("/", endpoint="index")
    setattr(rule, setting, getattr(rule, setting))
    url_map = Map([rule])
    before = url_map.version

    setattr(rule, setting, getattr(rule, setting))

    assert url_map.version == before + 1


def test_refreshing_a_rule_is_seen() -> None:
    """`refresh` binds the rule anew and announces it."""
    rule = Rule("/", endpoint="index")
    url_map = Map([rule])
    before = url_map.version

    rule.refresh()

    assert url_map.version > before


def test_touch_announces_what_cannot_be_seen() -> None:
    """After an edit inside a value the editor calls `touch`."""
    calls = []
    url_map = Map()
    url_map.on_change = lambda: calls.append(1)

    url_map.touch()

    assert calls == [1]


def test_reading_is_no_change() -> None:
    """Matching and building sort the map for themselves and announce nothing."""
    url_map = Map([Rule("/<int:id>", endpoint="x")])
    before = url_map.version

    adapter = url_map.bind("example.org")

    assert adapter.match("/1") == ("x", {"id": 1})
    assert adapter.build("x", {"id": 2}) == "/2"
    assert url_map.version == before


def test_asking_werkzeug_to_sort_anew_is_a_change() -> None:
    """Code that edits the map's lists sets its remap mark, as it would on Werkzeug's own map."""
    url_map = Map([Rule("/", endpoint="x")])
    before = url_map.version

    url_map._remap = True

    assert url_map.version == before + 1


def test_options_follow_through_rule_factories() -> None:
    """Submount, Subdomain and EndpointPrefix copy the rule, and its options go along."""
    options = object()
    rule = Rule("/a", endpoint="a")
    rule.options = options

    url_map = Map([Subdomain("api", [Submount("/sub", [EndpointPrefix("p.", [rule])])])])
    (copy,) = url_map.iter_rules()

    assert isinstance(copy, Rule)
    assert (copy.rule, copy.endpoint, copy.subdomain) == ("/sub/a", "p.a", "api")
    assert copy.options is options


def test_map_and_rules_are_werkzeugs() -> None:
    """Who checks for Werkzeug's classes finds them, and a plain rule goes into our map."""
    url_map = Map([WerkzeugRule("/", endpoint="x")])

    assert isinstance(url_map, WerkzeugMap)
    assert isinstance(Rule("/"), WerkzeugRule)
    assert [rule.endpoint for rule in url_map.iter_rules()] == ["x"]
