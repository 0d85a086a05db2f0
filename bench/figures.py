"""What was measured, cell by cell, and its way into a JSON file and back: a part of it can be measured again and put beside the rest."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Cell:
    """One contestant at one workload, a value a round.

    Attributes:
        rates: requests (echoes of WebSockets) per CPU-second of the server.
        shares: the same as a ratio to the bare callable of the same door in the same round; None where that has failed.
        wall: requests per second.
        p99: milliseconds; empty for WebSockets.
        fault: why there is no figure.
        run: the key of the run in which it was measured.
    """

    rates: list[float] = field(default_factory=list)
    shares: list[float | None] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    fault: str | None = None
    run: str = ""


def middle(values: list[float]) -> tuple[float, float]:
    """The median, and half the distance between the least and the most."""
    return statistics.median(values), (max(values) - min(values)) / 2


@dataclass
class Figures:
    """All cells, by the contestant's name and the workload's, and the runs they come from.

    Attributes:
        memory: MiB of the worker after the load, by contestant.
        absent: why a contestant is not there at all.
        versions: of packages.
        runs: what was noted of each run: date, Python, rounds, load of the machine.
    """

    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def cell(self, contestant: str, work: str) -> Cell | None:
        return self.cells.get(contestant, {}).get(work)

    def set(self, contestant: str, work: str, cell: Cell) -> None:
        self.cells.setdefault(contestant, {})[work] = cell

    def merge(self, newer: Figures) -> None:
        """Take over what was measured again; the rest stays."""
        for contestant, works in newer.cells.items():
            self.absent.pop(contestant, None)
            self.cells.setdefault(contestant, {}).update(works)
        for name, why in newer.absent.items():
            self.cells.pop(name, None)
            self.absent[name] = why
        self.memory.update(newer.memory)
        self.versions.update(newer.versions)
        self.runs.update(newer.runs)
        used = {cell.run for works in self.cells.values() for cell in works.values()}
        self.runs = {key: run for key, run in self.runs.items() if key in used}

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".half")
        text = json.dumps(asdict(self), indent=1)
        text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text)  # a list a line
        half.write_text(text + "\n")
        half.replace(path)  # a run that is cut off leaves a whole file

    @classmethod
    def load(cls, path: Path) -> Figures:
        read = json.loads(path.read_text())
        read["cells"] = {name: {work: Cell(**cell) for work, cell in works.items()} for name, works in read["cells"].items()}
        return cls(**read)
