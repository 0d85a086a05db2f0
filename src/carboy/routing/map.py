"""The URL map and its rules: Werkzeug's own, which also say when they have changed.

Matching is not done here. A `Table` is made from a map once and must be made again after a change, so the map counts its changes
(`version`) and calls whoever keeps a table (`on_change`). Everything else is Werkzeug's, and extensions may treat it so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.routing import Map as WerkzeugMap
from werkzeug.routing import Rule as WerkzeugRule
from werkzeug.routing import RuleFactory

# What decides over a match or over what stands behind it. `converters` is missing on purpose: a converter is looked up while a rule
# is added, never later, and adding is seen.
_MAP_SETTINGS = frozenset(
    {"strict_slashes", "merge_slashes", "redirect_defaults", "host_matching", "default_subdomain", "converters", "_remap"}
)
_RULE_SETTINGS = frozenset(
    {
        "alias",
        "build_only",
        "defaults",
        "endpoint",
        "merge_slashes",
        "methods",
        "options",
        "provide_automatic_options",
        "redirect_to",
        "strict_slashes",
        "websocket",
    }
)


class Map(WerkzeugMap):
    """A Werkzeug map that counts its changes and announces them.

    A change is a rule added, a setting of the map assigned, a setting of one of its (Carboy) rules assigned, or `refresh` called on
    one. What is changed inside a value, as in `rule.methods.add("PUT")`, is not seen: call `touch` after it.

    Attributes:
        version: grows by at least one with each change; equal numbers mean an unchanged map.
        on_change: called after each change, in the thread that made it; `None` for nobody.

    Example:
        >>> url_map = Map()
        >>> before = url_map.version
        >>> url_map.add(Rule("/", endpoint="index"))
        >>> url_map.version > before
        True
    """

    version: int = 0
    on_change: Callable[[], None] | None = None
    # While rules are added they are edited by the map itself; that is one change, announced when the map is whole again.
    _quiet: bool = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._quiet = False

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # Werkzeug sets `_remap` to False when it has sorted what was already announced; True is a request to sort anew.
        if name in _MAP_SETTINGS and not (name == "_remap" and not value):
            self.touch()

    def add(self, rulefactory: RuleFactory) -> None:
        """Add a rule or what a rule factory makes, then announce one change."""
        quiet, self._quiet = self._quiet, True
        try:
            super().add(rulefactory)
        finally:
            self._quiet = quiet
            # Also when it failed: a factory may have added some of its rules before it did.
            self.touch()

    def touch(self) -> None:
        """Announce a change; call it after an edit that the map cannot see."""
        if self._quiet:
            return
        self.version += 1
        if self.on_change is not None:
            self.on_change()


class Rule(WerkzeugRule):
    """A Werkzeug rule that carries the route's options and tells its map of edits.

    Attributes:
        options: what the route was declared with beyond Werkzeug's own settings; copied along by rule factories.

    Example:
        >>> rule = Rule("/health", endpoint="health")
        >>> rule.options is None
        True
    """

    options: object | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _RULE_SETTINGS:
            self._tell()

    def empty(self) -> Rule:
        """Give an unbound copy, options included; rule factories ask for it."""
        # Werkzeug makes the copy as type(self), which its annotation does not say.
        copy = super().empty()
        assert isinstance(copy, Rule)
        copy.options = self.options
        return copy

    def refresh(self) -> None:
        """Bind the rule to its map again after it was edited in place."""
        super().refresh()
        self._tell()

    def _tell(self) -> None:
        # The attribute does not exist yet while the rule is being made.
        bound = self.__dict__.get("map")
        if isinstance(bound, Map):
            bound.touch()
