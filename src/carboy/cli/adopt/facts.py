"""What can be found in the files of an application: values, in the order of the files and their lines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, by its path from where the reading began."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was found.

    Attributes:
        kind: app, factory, blueprint, view, hook, handler, command, flask-name, import, setting, replaced, middleware,
            overridden, call, global, thread, run, requirement, server, unreadable.
        name: what it is about: a name, a dotted call, a setting.
        place: where.
        within: the function around it, if that matters.
        is_async: whether that function, or the view itself, is an `async def`.
        is_view: whether that function answers requests.
        detail: anything else to be said of it.
    """

    kind: str
    name: str
    place: Place
    within: str = ""
    is_async: bool = False
    is_view: bool = False
    detail: str = ""


@dataclass(slots=True)
class Project:
    """All that was read.

    Attributes:
        root: what was asked for, as it was written.
        files: the Python files that were read.
        modules: names of the application's own top-level modules and packages.
        facts: of files that are not tests.
        test_facts: of tests: the names that they import from Flask alone.
    """

    root: str
    files: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    facts: list[Fact] = field(default_factory=list)
    test_facts: list[Fact] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Fact]:
        """The facts of some kinds, in order."""
        return [fact for fact in self.facts if fact.kind in kinds]
