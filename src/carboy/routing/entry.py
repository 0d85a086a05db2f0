"""One rule as the engine sees it: what a match gives back, with room for the plan.

An entry is made once per rule and table. What a match has to do after the path fitted (convert, add defaults, look for a redirect
to a shorter URL) is decided here, when the entry is made, and only done when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from werkzeug.routing import BaseConverter, IntegerConverter, Rule

from .map import Rule as CarboyRule

# Read by Werkzeug from a rule while it matches. A subclass that turns one into a property can answer differently each time.
_READ_WHILE_MATCHING = (
    "_converters",
    "alias",
    "defaults",
    "endpoint",
    "map",
    "merge_slashes",
    "methods",
    "redirect_to",
    "strict_slashes",
    "websocket",
)


class Entry:
    """A rule of the map with the plan that answers it.

    Attributes:
        rule: the Werkzeug rule itself.
        endpoint: the rule's endpoint.
        plan: whatever the engine compiled for this rule; `None` until it does.
        auto_options: the engine answers OPTIONS itself (Flask's `provide_automatic_options`).
    """

    __slots__ = ("auto_options", "converters", "defaults", "endpoint", "is_hit", "is_plain", "plan", "rivals", "rule")

    def __init__(self, rule: Rule, rivals: tuple[Rule, ...] = ()) -> None:
        self.rule = rule
        # Any: an endpoint is whatever the rule's author put there; usually a string.
        self.endpoint: Any = rule.endpoint
        self.plan: object | None = None
        self.auto_options: bool = bool(getattr(rule, "provide_automatic_options", False))
        # A bound rule has a map; one that is not bound is only ever asked for its plan.
        redirects = rule.alias and (rule.map is None or rule.map.redirect_defaults)
        self.is_hit: bool = rule.redirect_to is None and not redirects
        self.defaults: dict[str, Any] = dict(rule.defaults or ())
        self.converters: tuple[tuple[str, Callable[[str], Any] | None], ...] = tuple(
            (str(name), _conversion(converter)) for name, converter in getattr(rule, "_converters", {}).items()
        )
        self.rivals = rivals
        # Nothing to add or to compare: the pieces of the path are the values.
        self.is_plain: bool = self.is_hit and not (self.defaults or rivals)

    def __repr__(self) -> str:
        return f"<Entry {self.rule!r} plan={self.plan!r}>"

    def values(self, raws: tuple[str, ...], method: str) -> dict[str, Any] | None:
        """Give the rule's values for the matched pieces of the path, or `None` if Werkzeug has to decide."""
        values: dict[str, Any] = {}
        try:
            # PERF: strict= would cost 0.1 µs, and both lengths are those of the rule's pattern.
            for (name, convert), raw in zip(self.converters, raws):
                values[name] = raw if convert is None else convert(raw)
        except Exception:  # noqa: BLE001  # a stranger's converter may raise anything; Werkzeug raises it again in its own place
            return None
        if self.defaults:
            values.update(self.defaults)
        for rival in self.rivals:
            # The same endpoint and values have a shorter URL: that is a redirect.
            if rival.suitable_for(values, method):
                return None
        return values


def rivals_of(rule: Rule, siblings: list[Rule]) -> tuple[Rule, ...]:
    """Give the rules of the same endpoint, in the map's order, to which a URL of `rule` may be redirected for their defaults."""
    if rule.map is None or not rule.map.redirect_defaults:
        return ()
    # Only those in front of it: that is the order of preference.
    before = takewhile(lambda other: other is not rule, siblings)
    return tuple(other for other in before if other.defaults and other.provides_defaults_for(rule))


def is_predictable(rule: Rule) -> bool:
    """Whether all that Werkzeug asks of the rule during a match is plain data."""
    kind = type(rule)
    if kind is Rule or kind is CarboyRule:
        return True
    return all(getattr(kind, name, None) is getattr(Rule, name, None) for name in _READ_WHILE_MATCHING)


def _conversion(converter: BaseConverter) -> Callable[[str], Any] | None:
    """Give what turns the piece of a path into a value; `None` leaves it a string."""
    kind = type(converter)
    if "to_python" in getattr(converter, "__dict__", ()):
        return converter.to_python
    if kind.to_python is BaseConverter.to_python:
        return None
    if kind is IntegerConverter and not converter.fixed_digits and converter.min is None and converter.max is None:  # type: ignore[attr-defined]  # narrowed by `kind is`, which mypy does not follow
        return int
    return converter.to_python
