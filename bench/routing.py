"""Measure matching: the table against Werkzeug's adapter, in the same run, among 10 to 10,000 routes.

Run it as `python bench/routing.py`. Each figure is the best of five rounds, in µs of processor time a match, with the cost of an empty call taken off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time
from timeit import repeat

from carboy.routing.map import Map, Rule
from carboy.routing.table import Table

COMMON = [
    "/",
    "/about/us",
    "/users/<int:id>",
    "/users/<name>/posts/<int:post>",
    "/static/<path:filename>",
]
# The rule that is repeated, and a path for its last copy.
SHAPES = {
    "fixed paths": ("/fixed{}", "/fixed{}"),
    "a parent each": ("/r{}/<int:id>", "/r{}/7"),
    "one parent": ("/users/<int:id>/part{}", "/users/7/part{}"),
}
PATHS = ["/", "/about/us", "/users/42", "/users/bob/posts/7", "/static/css/site.css"]


def micros(work: Callable[[], object], times: int = 20_000) -> float:
    """Give the least time of a call."""
    empty = min(repeat(partial(len, ()), timer=process_time, number=times, repeat=5))
    return (min(repeat(work, timer=process_time, number=times, repeat=5)) - empty) / times * 1e6


def main() -> None:
    """Print a line for each shape, size and path."""
    print(f"{'shape':15}{'routes':>7}  {'path':24}{'table':>7}{'adapter':>9}{'ratio':>7}")
    for shape, (rule, last) in SHAPES.items():
        for size in (10, 200, 10_000):
            texts = [*COMMON, *(rule.format(n) for n in range(size - len(COMMON)))]
            url_map = Map([Rule(text, endpoint=text, methods=["GET"]) for text in texts])
            table, adapter = Table(url_map), url_map.bind("example.org")
            for path in [*PATHS, last.format(size - len(COMMON) - 1)]:
                hit = table.match("", path, "GET")
                assert hit is not None and (hit[0].rule, hit[1]) == adapter.match(path, "GET", return_rule=True)
                ours = micros(partial(table.match, "", path, "GET"))
                theirs = micros(partial(adapter.match, path, "GET", return_rule=True), 4_000)
                print(f"{shape:15}{size:7}  {path:24}{ours:7.2f}{theirs:9.2f}{theirs / ours:7.1f}")


if __name__ == "__main__":
    main()
