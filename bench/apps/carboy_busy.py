"""Carboy: a `def` view that computes for some milliseconds, as one that renders a large page or prepares a report does."""

from __future__ import annotations

import os
from typing import Any

from carboy import Carboy

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "110000"))
app = Carboy("bench-busy", static_folder=None)


@app.get("/json")
@app.get("/busy")
def busy() -> Any:
    total = 0
    for number in range(ROUNDS):
        total += number * number % 7
    return {"total": total}
