"""The house stands if every import points down. FLOORS is the plan; nothing else decides."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "carboy"

FLOORS = [
    {"wire", "pipeline"},
    {"routing", "gateways", "typing"},
    {"core"},
    {"extend"},
    {"standard", "typed", "realtime", "observe", "batteries", "server", "testing"},
    {"cli"},
    {"generate", "app"},
    {"globals"},
    {"helpers"},
    {"alias"},
    {"__init__"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
#: Which batteries may know which others.
WITHIN = {
    "batteries": {"admin": {"auth", "db", "forms"}, "migrate": {"db"}, "ratelimit": {"cache"}, "schedule": {"tasks"}}
}
A_BATTERY_MAY_USE = {"wire", "pipeline", "extend", "batteries"}
PROXIES = {"request", "session", "g", "current_app", "app_ctx", "request_ctx"}

Name = tuple[str, ...]


def modules() -> Iterator[tuple[Name, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield parts, path


def known() -> set[Name]:
    names: set[Name] = set()
    for parts, _ in modules():
        names.add(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    return names


def arrows() -> list[tuple[Name, Name]]:
    """Every import inside the house, those in functions and for typing only among them."""
    names = known()
    found = []
    for parts, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and node.level):
                continue
            base = parts[: len(parts) - node.level]
            if node.module:
                base = (*base, *node.module.split("."))
            for alias in node.names:
                inner = (*base, alias.name)
                used = inner if inner in names else base
                if used:
                    found.append((parts, used))
    return sorted(set(found))


ARROWS = arrows()


def test_imports_inside_the_house_are_relative() -> None:
    """No file of the house names `carboy`, so that arrows can be read off."""
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert "carboy" not in {name.split(".")[0] for name in names}, path


def test_every_room_has_a_floor() -> None:
    """A file in a room that the plan does not know is a file without a place."""
    assert {parts[0] for parts, _ in modules()} <= set(FLOOR)


@pytest.mark.parametrize(("user", "used"), ARROWS, ids=".".join)
def test_import_points_down(user: Name, used: Name) -> None:
    """A room knows the rooms below it, and nothing above or beside it."""
    if user[0] == used[0]:
        if user[0] in WITHIN and len(user) > 1 < len(used) and user[1] != used[1]:
            assert used[1] in WITHIN[user[0]].get(user[1], ()), f"{user[1]} may not know {used[1]}"
        return

    assert FLOOR[used[0]] < FLOOR[user[0]], f"{'.'.join(user)} reaches up or across to {'.'.join(used)}"
    if user[0] == "batteries":
        assert used[0] in A_BATTERY_MAY_USE


def test_no_ring_of_files() -> None:
    """Within a room too, what uses a file is not used by it, by any way round."""
    graph: dict[Name, set[Name]] = {}
    for user, used in ARROWS:
        name = user[:-1] if user[-1] == "__init__" and len(user) > 1 else user
        if name != used:
            graph.setdefault(name, set()).add(used)
    state: dict[Name, int] = {}

    def visit(name: Name, way: tuple[Name, ...]) -> None:
        state[name] = 1
        for used in sorted(graph.get(name, ())):
            if state.get(used) == 1:
                ring = [*way[way.index(used) :], used] if used in way else [name, used]
                raise AssertionError("a ring: " + " -> ".join(".".join(one) for one in ring))
            if used not in state:
                visit(used, (*way, used))
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            visit(name, (name,))


def test_nobody_below_the_guests_uses_the_proxies() -> None:
    """Inside the house the context is passed; `request` and its like are for guests."""
    for user, used in ARROWS:
        if used[0] in ("globals", "helpers"):
            assert FLOOR[user[0]] > FLOOR["globals"], f"{'.'.join(user)} uses the guests' {used[0]}"
