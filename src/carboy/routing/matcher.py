"""The tree that is walked: a node for each place in a path, made once from Werkzeug's state machine.

The order in which Werkzeug tries its transitions is the order here, ties included, because it is read from the map and not worked
out again. What differs is the way: answers are tables by method made in advance, one-way stretches are a loop, and a node with many
patterns finds those that can fit by the text around their variables. A walk only reads; any number of threads may walk one tree.

Three results: an entry with the matched pieces; `False`, which means that Werkzeug would decide here (a redirect, a rule we cannot
predict) and the walk must not go on; `None`, nothing here, try the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Literal

from werkzeug.routing import Rule
from werkzeug.routing.matcher import State
from werkzeug.routing.rules import RulePart

from .entry import Entry, is_predictable

Answer = Entry | Literal[False] | None
Found = tuple[Entry, tuple[str, ...]] | Literal[False] | None

TEXT, DIGITS, REST, PATTERN = range(4)

# What Werkzeug compiles a lone <string>, <int> and <path> to. Compared as text: another version's pattern is simply not recognised.
_KINDS = {
    (r"(?P<__werkzeug_0>[^/]{1,})\Z", False): TEXT,
    (r"(?P<__werkzeug_0>\d+)\Z", False): DIGITS,
    (r"(?P<__werkzeug_0>[^/].*?)\Z", True): REST,
}
_GROUP = "__werkzeug_"

# Up to here trying all patterns in turn costs less than choosing among them.
_FEW_EDGES = 6

_rank = attrgetter("rank")


class Answers:
    """The rule chosen at one place, by method."""

    __slots__ = ("by_method", "otherwise")

    def __init__(self, by_method: dict[str, Answer], otherwise: Answer) -> None:
        self.by_method = by_method
        self.otherwise: Answer = otherwise


class Node:
    """A place in a path: what stands here, and the ways on."""

    __slots__ = ("answers", "edges", "index", "literal", "loose", "loose_otherwise", "only", "otherwise")

    def __init__(self) -> None:
        # The path ends here.
        self.answers: dict[str, Answer] = {}
        self.otherwise: Answer = None
        # The path ends here but for a last slash that no way on could use.
        self.loose: dict[str, Answer] = {}
        self.loose_otherwise: Answer = None
        self.literal: dict[str, Node] = {}
        self.edges: tuple[Edge, ...] = ()
        self.only: Edge | None = None
        self.index: Index | None = None


class Edge:
    """A way on through a variable piece of the path."""

    __slots__ = ("groups", "is_digits", "kind", "match", "node", "part", "prefix", "rank", "suffix", "suffix_group", "takes_rest")

    def __init__(self, part: RulePart, rank: int) -> None:
        self.kind = PATTERN if part.suffixed else _KINDS.get((part.content, part.final), PATTERN)
        self.is_digits = self.kind == DIGITS
        self.takes_rest = part.final
        self.node = Node()
        self.rank = rank
        self.prefix, self.suffix = _text_around(part)
        self.part = part
        # PERF: compiling takes 100 to 300 µs, seconds for 10,000 patterns; it waits for the first path that comes by.
        self.match: Callable[[str], re.Match[str] | None] = self._match_first
        # None: all groups as they come.
        self.groups: tuple[int, ...] | None = None
        self.suffix_group = 0

    def _match_first(self, target: str) -> re.Match[str] | None:
        pattern = re.compile(self.part.content)
        numbered = {int(name.removeprefix(_GROUP)): at for name, at in pattern.groupindex.items() if name.startswith(_GROUP)}
        groups = tuple(numbered[number] for number in sorted(numbered))
        self.groups = None if groups == tuple(range(1, pattern.groups + 1)) else groups
        self.suffix_group = pattern.groups if self.part.suffixed else 0
        # Last: another thread that sees the pattern sees its groups.
        self.match = pattern.match
        return pattern.match(target)


class Index:
    """Finds those of many edges whose fixed text fits, in their order."""

    __slots__ = ("buckets", "shapes")

    def __init__(self, edges: Iterable[Edge]) -> None:
        self.buckets: dict[tuple[str, str], list[Edge]] = {}
        for edge in edges:
            self.buckets.setdefault((edge.prefix, edge.suffix), []).append(edge)
        self.shapes = sorted({(len(prefix), len(suffix)) for prefix, suffix in self.buckets})

    def candidates(self, part: str) -> Sequence[Edge]:
        """Give the edges that may fit this piece of a path."""
        found: list[list[Edge]] = []
        size = len(part)
        for head, tail in self.shapes:
            # NOTE: not part[-tail:], which is the whole text when tail is 0.
            bucket = self.buckets.get((part[:head], part[size - tail :] if tail <= size else ""))
            if bucket is not None:
                found.append(bucket)
        if len(found) == 1:
            return found[0]
        edges = [edge for bucket in found for edge in bucket]
        edges.sort(key=_rank)
        return edges


def grow(root: State, entries: dict[int, Entry], websocket: bool) -> Node:
    """Make the tree of one protocol from the state machine of a map that is up to date."""
    top = Node()
    # A list and not recursion: a rule may have more segments than Python has frames.
    waiting = [(root, top)]
    while waiting:
        state, node = waiting.pop()
        here = _choose(state, entries, websocket)
        node.answers = here.by_method
        node.otherwise = here.otherwise
        loose = _choose_loose(state.rules, entries, websocket)
        node.loose = loose.by_method
        node.loose_otherwise = loose.otherwise
        for text, following in state.static.items():
            child = node.literal[text] = Node()
            waiting.append((following, child))
        edges = []
        for rank, (part, following) in enumerate(state.dynamic):
            edge = Edge(part, rank)
            edges.append(edge)
            waiting.append((following, edge.node))
        node.edges = tuple(edges)
        if len(edges) == 1 and edges[0].kind in (TEXT, DIGITS):
            node.only = edges[0]
        if len(edges) > _FEW_EDGES:
            node.index = Index(edges)
    return top


def walk(node: Node, parts: Sequence[str], at: int, raws: tuple[str, ...], method: str) -> Found:
    """Find what stands at `parts[at:]` below `node`; `raws` are the pieces matched on the way here.

    Raises:
        re.error: a pattern on the way does not compile (two converters with a group of one name, say).
    """
    end = len(parts)
    while at < end:
        part = parts[at]
        at += 1
        child = node.literal.get(part)
        if part:
            # One way on means nothing to come back to.
            if child is not None:
                if not node.edges:
                    node = child
                    continue
            elif node.only is not None:
                if node.only.is_digits and not part.isdecimal():
                    return None
                raws = (*raws, part)
                node = node.only.node
                continue
        found: Found
        if child is not None:
            found = walk(child, parts, at, raws, method)
            if found is not None:
                return found
        for edge in node.edges if node.index is None else node.index.candidates(part):
            if edge.kind >= REST:
                target = "/".join(parts[at - 1 :]) if edge.takes_rest else part
                pieces: tuple[str, ...]
                # PERF: 0.4 µs less than the pattern; a newline is all that it does not take, but for the first character.
                if edge.kind == REST and "\n" not in target:
                    if not part:
                        continue
                    pieces = (*raws, target)
                else:
                    fit = edge.match(target)
                    if fit is None:
                        continue
                    # PERF: groups() is half the cost of asking for each group (0.2 against 0.45 µs).
                    pieces = raws + (fit.groups() if edge.groups is None else tuple([fit[group] for group in edge.groups]))
                    if edge.suffix_group and fit[edge.suffix_group] == "/":
                        found = walk(edge.node, ("",), 0, pieces, method)
                        if found is not None:
                            return found
                        continue
                found = walk(edge.node, parts, end if edge.takes_rest else at, pieces, method)
            elif not part or (edge.is_digits and not part.isdecimal()):
                continue
            else:
                found = walk(edge.node, parts, at, (*raws, part), method)
            if found is not None:
                return found
        if part or at < end:
            return None
        answer = node.loose.get(method, node.loose_otherwise)
        return (answer, raws) if answer else answer  # type: ignore[return-value]  # an Entry is always true
    answer = node.answers.get(method, node.otherwise)
    return (answer, raws) if answer else answer  # type: ignore[return-value]  # an Entry is always true


def _choose(state: State, entries: dict[int, Entry], websocket: bool) -> Answers:
    """Work out the answer for a path that ends at this state."""
    rules = state.rules
    slashed = state.static[""].rules if "" in state.static else []

    def answer(method: str | None) -> Answer:
        rule = _first(rules, method, websocket)
        if rule is not None:
            return _entry(rule, entries)
        # The path lacks its last slash: a strict rule redirects, another one does not mind.
        rule = _first(slashed, method, websocket)
        if rule is None:
            return None
        return False if rule.strict_slashes else _entry(rule, entries)

    return _tabulate([*rules, *slashed], answer)


def _choose_loose(rules: list[Rule], entries: dict[int, Entry], websocket: bool) -> Answers:
    """Work out the answer for a path with one slash more than this state's rules."""
    lenient = [rule for rule in rules if not (is_predictable(rule) and rule.strict_slashes)]

    def answer(method: str | None) -> Answer:
        rule = _first(lenient, method, websocket)
        return None if rule is None else _entry(rule, entries)

    return _tabulate(lenient, answer)


def _tabulate(rules: list[Rule], answer: Callable[[str | None], Answer]) -> Answers:
    methods = {
        method for rule in rules if is_predictable(rule) and rule.methods is not None for method in rule.methods
    }
    # Werkzeug raises the asked method to upper case first, so a name in lower case in a rule is never met.
    return Answers({method: answer(method) for method in methods if method == method.upper()}, answer(None))


def _first(rules: list[Rule], method: str | None, websocket: bool) -> Rule | None:
    """Give the first rule that takes the method (`None`: one that no rule names), or that may."""
    for rule in rules:
        if not is_predictable(rule):
            return rule
        if rule.websocket == websocket and (rule.methods is None or method in rule.methods):
            return rule
    return None


def _entry(rule: Rule, entries: dict[int, Entry]) -> Answer:
    entry = entries.get(id(rule))
    return entry if entry is not None and entry.is_hit and is_predictable(rule) else False


def _text_around(part: RulePart) -> tuple[str, str]:
    """Give the fixed text before and after the variables of a part, as far as it is certain."""
    start = part.content.find(f"(?P<{_GROUP}")
    if start < 0:
        return "", ""
    prefix = _unescaped(part.content[:start])
    if part.final:
        # Its end is the end of the path, not of this piece.
        return prefix, ""
    after = part.content[part.content.rfind(")") + 1 :]
    return prefix, _unescaped(after.removesuffix("\\Z")) if after.endswith("\\Z") else ""


def _unescaped(pattern: str) -> str:
    """Give the text a pattern stands for, or nothing if it is more than text."""
    text = re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)
    return text if re.escape(text) == pattern else ""


