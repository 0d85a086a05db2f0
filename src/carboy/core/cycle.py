"""A circular import, told as what it is: which line of which file needs what is not made yet.

Python says only "partially initialized module … most likely due to a circular import". The places are in the
traceback, and the line that makes the missing name is in the source; this file puts them together. It reads the
exception, never the running program, so it can be tested with two small files.
"""

import ast
import linecache
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_PARTIAL = re.compile(r"partially initialized module '(?P<module>[^']+)'")
_WANTED = re.compile(r"cannot import name '(?P<a>[^']+)'|has no attribute '(?P<b>[^']+)'")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, in the module that was being imported there."""

    module: str
    path: str
    line: int

    @property
    def where(self) -> str:
        """The place as `file:line`, relative to the working directory where that is shorter."""
        return f"{shown(self.path)}:{self.line}"

    @property
    def code(self) -> str:
        """The text of the line, or nothing if the source cannot be read."""
        return linecache.getline(self.path, self.line).strip()


@dataclass(frozen=True, slots=True)
class Cycle:
    """A ring of imports.

    Attributes:
        module: the module that was needed before it was ready.
        wanted: the name asked of it; None if Python did not say.
        chain: the import lines from that module back to itself, in order.
        made: the place where the wanted name is made in the module; None if it is made nowhere.
    """

    module: str
    wanted: str | None
    chain: tuple[Place, ...]
    made: Place | None

    def __str__(self) -> str:
        first, last = self.chain[0], self.chain[-1]
        name = f"{self.wanted!r} of {self.module!r}" if self.wanted else repr(self.module)
        rows = [(place.where, place.code) for place in self.chain]
        if self.made is not None:
            rows.append((self.made.where, f"{self.made.code}    <- {self.wanted!r} is made only here"))
        width = max(len(where) for where, _ in rows)
        lines = [f"Circular import: {last.where} needs {name}, which is still being imported.", ""]
        lines += [f"  {where:<{width}}  {code}".rstrip() for where, code in rows]
        return "\n".join([*lines, "", f"Remedy: {self._remedy(first, last)}"])

    def _remedy(self, first: Place, last: Place) -> str:
        inside = f"do the import of {last.where} inside the function that uses it"
        if first == last:
            return f"{last.module!r} imports itself; remove that line, or rename the file if another module was meant."
        if self.wanted is not None and self.made is None:
            return f"{self.module!r} makes no {self.wanted!r} at its top level: correct the name, or {inside}."
        third = f"move {self.wanted or 'what both need'!r} to a third module that imports neither"
        if self.made is not None and self.made.line > first.line:
            return f"move the import of {first.where} below line {self.made.line}, or {inside}, or {third}."
        return f"{inside}, or {third}."


def find_cycle(error: BaseException) -> Cycle | None:
    """Read the import cycle out of an error raised while importing; None if it was not one."""
    match = _PARTIAL.search(str(error))
    if match is None or not isinstance(error, ImportError | AttributeError):
        return None
    module = match["module"]
    places = list(_places(error.__traceback__))
    if not places:
        return None
    # The last time the module's own lines ran before the end of the trace is where the ring begins.
    starts = [n for n, place in enumerate(places[:-1]) if place.module == module]
    chain = tuple(places[starts[-1] :]) if starts else (places[-1],)
    wanted = _WANTED.search(str(error))
    name = (wanted["a"] or wanted["b"]) if wanted else None
    return Cycle(module, name, chain, _made(module, name, chain[0]))


def shown(path: str) -> str:
    """The path as a reader wants it: relative if it lies in the working directory."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith(os.pardir) else relative


def _places(tb: TracebackType | None) -> list[Place]:
    """Every line of the traceback that stands in a source file, importlib's own left out."""
    return [
        Place(str(frame.f_globals.get("__name__", "?")), frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(tb)
        if not frame.f_code.co_filename.startswith("<") and frame.f_globals.get("__name__") != "importlib"
    ]


def _made(module: str, name: str | None, first: Place) -> Place | None:
    """Where the module's top level binds the name, by its source."""
    path = first.path if first.module == module else getattr(sys.modules.get(module), "__file__", None)
    if name is None or path is None:
        return None
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if name in _bound(node):
            return Place(module, path, node.lineno)
    return None


def _bound(node: ast.stmt) -> set[str]:
    """The names a statement binds at its own level; `if` and `try` blocks included."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
