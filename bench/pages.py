"""Figures into a page of the docs: what stands between two marks is written anew."""

from __future__ import annotations

from pathlib import Path


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME: … -->` and `<!-- end of NAME -->`.

    Raises:
        SystemExit: the page has no such marks.
    """
    found = page.read_text()
    before, start, rest = found.partition(f"<!-- {name}: ")
    how, arrow, rest = rest.partition(" -->")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    if not (start and arrow and end):
        raise SystemExit(f"{page} has lost its marks '<!-- {name}: … -->' and '<!-- end of {name} -->', between which the figures go")
    page.write_text(f"{before}{start}{how}{arrow}\n\n{text.strip()}\n\n{end}{after}")
