"""The table of an application's routes: from a domain, a path and a method to an entry.

The law: a hit is ours, everything else is Werkzeug's. `match` gives an entry when, and only when, `MapAdapter.match` would give the
same rule with the same values and without a redirect. For all that remains (404, 405, redirects, rules it cannot predict) it gives
`None`, and the caller asks the adapter, so those answers are right by construction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from werkzeug.routing import Map as WerkzeugMap
from werkzeug.routing import Rule
from werkzeug.routing.matcher import State, StateMachineMatcher

from .entry import Entry as Entry  # noqa: PLC0414  # the engine takes it from here
from .entry import rivals_of
from .map import Map
from .matcher import DIGITS, TEXT, Edge, Node, grow, walk

# A map that overrides one of these may match in a way of its own.
_MATCHING_OF_A_MAP = ("bind", "bind_to_environ", "update")


class Last:
    """A fixed path followed by one variable: the commonest route after the fixed one."""

    __slots__ = ("hits", "is_digits", "literal")

    def __init__(self, node: Node, edge: Edge) -> None:
        self.literal = node.literal
        self.is_digits = edge.is_digits
        self.hits: dict[str, tuple[Entry, str, Callable[[str], Any] | None]] = {
            method: (answer, *answer.converters[0])
            for method, answer in edge.node.answers.items()
            if answer and answer.is_plain and len(answer.converters) == 1
        }


class Place:
    """A domain that is fixed text, with the short cuts to its paths.

    Werkzeug tries fixed text before variables at every step, so a path that can be walked along fixed text is tried that way first.
    What stands at its end, or behind the first of its variables, may therefore be looked up at once.
    """

    __slots__ = ("lasts", "paths", "start")

    def __init__(self, domain: Node, top: Node) -> None:
        self.paths: dict[str, dict[str, Entry]] = {}
        self.lasts: dict[str, Last] = {}
        self.start: Node | None = None
        # Each rule's path begins with a slash, so the walk can begin behind it if nothing else could fit.
        if not top.edges and not domain.edges and set(domain.literal) == {""}:
            self.start = domain.literal[""]
        waiting: list[tuple[str, Node]] = [(text, node) for text, node in domain.literal.items() if not text]
        while waiting:
            path, node = waiting.pop()
            if path:
                hits = {
                    method: answer
                    for method, answer in node.answers.items()
                    if answer and answer.is_plain and not answer.converters
                }
                if hits:
                    self.paths[path] = hits
            if node.edges and node.edges[0].kind in (TEXT, DIGITS) and path != "/":
                last = Last(node, node.edges[0])
                if last.hits:
                    self.lasts[path] = last
            # The adapter strips slashes from the front, so nothing is ever met behind two of them.
            if path != "/":
                waiting.extend((f"{path}/{text}", child) for text, child in node.literal.items())


class Table:
    """All routes of a map, ready to be matched; made once, then only read.

    Example:
        >>> from carboy.routing.map import Map, Rule
        >>> table = Table(Map([Rule("/users/<int:id>", endpoint="user")]))
        >>> entry, values = table.match("", "/users/42", "GET")
        >>> entry.endpoint, values
        ('user', {'id': 42})
    """

    __slots__ = ("_entries", "_map", "_pages", "_places", "_sockets", "_version")

    def __init__(self, url_map: WerkzeugMap) -> None:
        self._map = url_map
        # Before the first look: a change while we read must make this table old.
        self._version = _version(url_map)
        url_map.update()
        by_endpoint: dict[Any, list[Rule]] = {}
        for rule in url_map.iter_rules():
            by_endpoint.setdefault(rule.endpoint, []).append(rule)
        # By identity: Werkzeug's rules compare by pattern and have no hash.
        self._entries: dict[int, Entry] = {}
        for rules in by_endpoint.values():
            # One endpoint may have thousands of rules; comparing each with each is only for those with defaults.
            may_redirect = any(rule.defaults for rule in rules)
            for rule in rules:
                self._entries[id(rule)] = Entry(rule, rivals_of(rule, rules) if may_redirect else ())
        self._pages: Node | None = None
        self._sockets: Node | None = None
        self._places: dict[str, Place] = {}
        root = _root_of(url_map)
        if root is None:
            return
        self._pages = grow(root, self._entries, websocket=False)
        if any(entry.rule.websocket for entry in self._entries.values()):
            self._sockets = grow(root, self._entries, websocket=True)
        self._places = {domain: Place(node, self._pages) for domain, node in self._pages.literal.items()}

    def match(self, domain: str, path: str, method: str, websocket: bool = False) -> tuple[Entry, dict[str, Any]] | None:
        """Find the entry of a path with its values, or `None` if Werkzeug is to be asked.

        Args:
            domain: the subdomain ("" for none), or the host if the map matches hosts.
            path: decoded, with its leading slash.
            method: in upper case, as requests have it.
            websocket: look among the websocket rules.
        """
        place = None if websocket else self._places.get(domain)
        if place is not None:
            # PERF: with a fixed path, two look-ups from here (0.15 µs in all).
            hits = place.paths.get(path)
            if hits is not None:
                entry = hits.get(method)
                if entry is not None:
                    return entry, {}
            # PERF: 0.6 µs where the walk takes 1.2.
            cut = path.rfind("/")
            last = place.lasts.get(path[:cut])
            if last is not None:
                raw = path[cut + 1 :]
                if raw and raw not in last.literal and (raw.isdecimal() or not last.is_digits):
                    found = last.hits.get(method)
                    if found is not None:
                        entry, name, convert = found
                        if convert is None:
                            return entry, {name: raw}
                        try:
                            return entry, {name: convert(raw)}
                        except Exception:  # noqa: BLE001  # Werkzeug calls it again and raises it in its own place
                            return None
        # A method in lower case is raised by Werkzeug; a rule for any method would take it as it is.
        if not method.isupper():
            return None
        parts = path.split("/")
        # NOTE: the adapter strips slashes from the front of a path; that and a path without one is left to it.
        if len(parts) < 2 or parts[0] or (not parts[1] and len(parts) > 2):
            return None
        try:
            if place is not None and place.start is not None:
                way = walk(place.start, parts, 1, (), method)
            else:
                top = self._sockets if websocket else self._pages
                way = None if top is None else walk(top, [domain, *parts], 0, (), method)
        except re.error:  # Werkzeug compiles it again and raises it in its own place
            return None
        if not way:
            return None
        entry, raws = way
        values = entry.values(raws, method)
        return None if values is None else (entry, values)

    def entries(self) -> Iterator[Entry]:
        """Give all entries, in the order of the map's `iter_rules`."""
        return iter(list(self._entries.values()))

    def entry_for(self, rule: Rule) -> Entry:
        """Give the entry of a rule, also of one that the map had not yet, or has no longer."""
        entry = self._entries.get(id(rule))
        # One step, so that two threads get one entry.
        return entry if entry is not None else self._entries.setdefault(id(rule), Entry(rule))

    def is_current(self) -> bool:
        """Whether the map is unchanged since this table was made; cheap for a Carboy map, a count of all rules for others."""
        return self._version == _version(self._map)


def _version(url_map: WerkzeugMap) -> int:
    if isinstance(url_map, Map):
        return url_map.version
    # A plain map only grows. NOTE: its settings and the edits of its rules cannot be seen.
    return sum(map(len, url_map._rules_by_endpoint.values()))


def _root_of(url_map: WerkzeugMap) -> State | None:
    """Give the start of the map's state machine, or `None` if this map does not match the way we know."""
    known = {name: getattr(Map if isinstance(url_map, Map) else WerkzeugMap, name) for name in _MATCHING_OF_A_MAP}
    if any(getattr(type(url_map), name) is not method or name in vars(url_map) for name, method in known.items()):
        return None
    matcher = vars(url_map).get("_matcher")
    if type(matcher) is not StateMachineMatcher or "match" in vars(matcher):
        return None
    return matcher._root
