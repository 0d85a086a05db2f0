"""Tables and trees of plain text."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import click


@dataclass(slots=True)
class Branch:
    """A line of a tree and the lines under it."""

    text: str
    branches: list["Branch"] = field(default_factory=list)

    def add(self, text: str) -> "Branch":
        """Put a line under this one and return it."""
        branch = Branch(text)
        self.branches.append(branch)
        return branch


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table under its titles; a column with nothing in it is left out."""
    body = [list(row) for row in rows]
    kept = [n for n in range(len(titles)) if any(row[n] for row in body)]
    lines = [[titles[n] for n in kept], *([row[n] for n in kept] for row in body)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(kept))]
    lines.insert(1, ["-" * width for width in widths])
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def tree(roots: Iterable[Branch]) -> list[str]:
    """The lines of a tree, drawn with lines if the terminal can show them."""
    fork, last, pipe = ("├─ ", "└─ ", "│  ") if _can_draw() else ("|- ", "`- ", "|  ")
    lines: list[str] = []

    def draw(branches: Sequence[Branch], indent: str) -> None:
        for n, branch in enumerate(branches):
            is_last = n == len(branches) - 1
            lines.append(indent + (last if is_last else fork) + branch.text)
            draw(branch.branches, indent + ("   " if is_last else pipe))

    for root in roots:
        lines.append(root.text)
        draw(root.branches, "")
    return lines


def show(lines: Iterable[str]) -> None:
    """Print lines to stdout."""
    click.echo("\n".join(lines))


def _can_draw() -> bool:
    try:
        "├─└│".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
