"""Findings → a page for people, or JSON for programs."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .facts import Place, Project
from .judge import Finding

_TITLES = {"runs": "Runs as it is", "gains": "Gains", "look": "Needs a look"}
_WIDTH = 100
_SHOWN = 4  # places of one finding


def lines(project: Project, findings: Sequence[Finding]) -> list[str]:
    """The page."""
    count = len(project.files)
    page = [f"Read {count} Python file{'s' * (count != 1)} of {project.root}. Nothing was imported, run or changed."]
    for group, title in _TITLES.items():
        own = [finding for finding in findings if finding.group == group]
        page += ["", f"{title}: {'nothing' if not own else ''}".rstrip(" ")]
        for finding in own:
            page += _entry(finding)
    page += ["", *_next(project, findings)]
    return page


def _entry(finding: Finding) -> list[str]:
    mark = {"runs": "+", "gains": "*", "look": "!"}[finding.group]
    entry = textwrap.wrap(finding.text, _WIDTH, initial_indent=f"  {mark} ", subsequent_indent="    ", break_on_hyphens=False)
    if finding.places:
        shown = ", ".join(map(str, finding.places[:_SHOWN]))
        more = len(finding.places) - _SHOWN
        entry += textwrap.wrap(f"at {shown}{f' and {more} more' if more > 0 else ''}", _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    if finding.remedy:
        entry += textwrap.wrap(f"→ {finding.remedy}", _WIDTH, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False)
    return entry


def _next(project: Project, findings: Sequence[Finding]) -> list[str]:
    target = target_of(project)
    if target is None:
        return ["What is put together at run time (setattr, importlib) is not seen."]
    return [
        f"Next: carboy run {shlex.quote(target)}, and the application's own tests with `pytest -p carboy.testing.alias`.",
        "What is put together at run time (setattr, importlib) is not seen.",
    ]


def target_of(project: Project) -> str | None:
    """What `carboy run` is to be told, as far as it can be seen: the file of the factory, or of the app."""
    found = project.of("factory") or [fact for fact in project.of("app") if not fact.within]
    if not found:
        return None
    file = found[0].place.file.removesuffix("/__init__.py")
    name = f":{found[0].name}" if found[0].kind == "factory" else ""
    root = Path(project.root)
    if root.is_file():
        return f"{project.root}{name}"
    if project.root == "." and not Path("__init__.py").exists():
        return file.removesuffix(".py").replace("/", ".") + name
    # From elsewhere, or within the package itself: by its path, which `carboy run` understands as well.
    return f"{root if file == '__init__.py' else root / file}{name}"


def as_json(project: Project, findings: Sequence[Finding]) -> dict[str, Any]:
    """Everything, for programs: the findings, and the facts they come from."""
    return {
        "root": project.root,
        "files": project.files,
        "target": target_of(project),
        "findings": [{**asdict(finding), "places": [_place(place) for place in finding.places]} for finding in findings],
        "facts": [{**asdict(fact), "place": _place(fact.place)} for fact in project.facts],
    }


def _place(place: Place) -> str:
    return str(place)
