"""The figures as tables, a chart and a verdict on the goals, in docs/performance.md between its two marks."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.sax.saxutils import escape

from contestants import ALL, Contestant
from figures import Figures, middle
from workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
FIGURES = ROOT / "docs" / "performance" / "figures.json"
CHART = ROOT / "docs" / "performance" / "requests.svg"
START, END = "<!-- figures: written by `make bench` -->", "<!-- end of the figures -->"

#: Tables, and the beginnings of the names of their workloads, which are left away in their heads.
TABLES = (
    ("Requests", "Requests per CPU-second of the server", [work for work in WORKLOADS if work.group != "database" and not work.sockets], ""),
    ("WebSockets", "Echoes per CPU-second of the server, on 1 connection and on 50", [work for work in WORKLOADS if work.sockets], "websocket "),
    (
        "Rows of a database",
        "Requests per CPU-second of the server; PostgreSQL's own time is not in it",
        [work for work in WORKLOADS if work.group == "database"],
        "database ",
    ),
)
#: What PERFORMANCE.md of the project wants of each way to serve: the least share of the bare callable.
SHARES = {"plaintext": 0.92, "json": 0.92, "params": 0.85, "body": 0.85, "template": 0.90, "full": 0.60, "static": 0.90, "304": 0.80}
WSGI_SHARES = {**{name: share for name, share in SHARES.items() if name not in ("static", "304")}, "plaintext": 0.95, "json": 0.95}
SHARE_GOALS = {
    "Carboy, ASGI, async views": SHARES,
    "Carboy, RSGI, async views": SHARES,
    "Carboy, WSGI, def views": WSGI_SHARES,
}
SYNC_VIEW_RATE = 0.80
#: Above this load before the run, others were at work.
BUSY = 0.7


def rate(figures: Figures, contestant: str, work: str) -> tuple[float, float] | None:
    cell = figures.cell(contestant, work)
    return middle(cell.rates) if cell and cell.rates else None


def share(figures: Figures, contestant: str, work: str) -> tuple[float, float] | None:
    cell = figures.cell(contestant, work)
    known = [each for each in cell.shares if each is not None] if cell else []
    return middle(known) if known else None


def is_framework(contestant: Contestant) -> bool:
    return not contestant.name.startswith("bare")


# -- tables ------------------------------------------------------------------------------------------


def table(head: list[str], lines: list[list[str]], texts: int) -> str:
    """A Markdown table whose first columns are texts and whose others are numbers."""
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines)).replace("|  |", "| |")


def rates_table(figures: Figures, works: list[Workload], prefix: str) -> str:
    lines = []
    for contestant in ALL:
        found = [rate(figures, contestant.name, work.name) for work in works]
        if any(found):
            lines.append([contestant.name, *(f"{each[0]:,.0f} ± {each[1]:,.0f}" if each else "–" for each in found)])
        elif contestant.name in figures.absent:
            lines.append([f"{contestant.name}: not there, see below", *("–" for _ in works)])
    return table(["", *(work.name.removeprefix(prefix) for work in works)], lines, 1)


def shares_table(figures: Figures, works: list[Workload], prefix: str) -> str:
    lines = []
    for contestant in filter(is_framework, ALL):
        found = [share(figures, contestant.name, work.name) for work in works]
        if any(found):
            door = contestant.door.upper() if contestant.server != "own" else f"own, beside {contestant.door.upper()}"
            lines.append([contestant.name, door, *(f"{each[0]:.2f} ± {each[1]:.2f}" if each else "–" for each in found)])
    return table(["", "door", *(work.name.removeprefix(prefix) for work in works)], lines, 2)


def tail_table(figures: Figures) -> str:
    """The 99th percentile of the answers' time under that load."""
    works = [work for work in WORKLOADS if not work.sockets]
    lines = []
    for contestant in ALL:
        found = [(figures.cell(contestant.name, work.name), work) for work in works]
        if any(cell and cell.p99 for cell, _ in found):
            lines.append([contestant.name, *(f"{middle(cell.p99)[0]:.1f}" if cell and cell.p99 else "–" for cell, _ in found)])
    return table(["ms", *(work.name for work in works)], lines, 1)


def left_out(figures: Figures) -> list[str]:
    """A line for each reason why a cell is empty or incomplete."""
    lines = [f"- {name}: could not be installed: {why.splitlines()[-1][:300]}" for name, why in figures.absent.items()]
    given: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for contestant in ALL:
        for work in WORKLOADS:
            cell = figures.cell(contestant.name, work.name)
            if cell is None or cell.fault is None:
                continue
            if contestant.reason(work.name):
                given[cell.fault][""].append(contestant.name)
            else:
                what = "stopped after " + str(len(cell.rates)) + " rounds: " if cell.rates else ""
                said = cell.fault.strip().splitlines()[-1][:300].replace("|", "\\|")
                given[f"{what}`{said}`"][contestant.name].append(work.name)
    for why, by in given.items():
        names = list(dict.fromkeys(by[""])) if "" in by else [f"{name} ({', '.join(works)})" for name, works in by.items()]
        lines.append(f"- {'; '.join(names)}: {why}")
    return lines


# -- goals -------------------------------------------------------------------------------------------


def goals(figures: Figures) -> list[list[str]]:
    """Each goal that these figures can judge: what, the figure, what is wanted, whether it holds."""
    lines = []
    for name, wanted in SHARE_GOALS.items():
        for work, least in wanted.items():
            found = share(figures, name, work)
            if found:
                lines.append([f"{name}: {work}, share of the bare callable", f"{found[0]:.2f} ± {found[1]:.2f}", f"≥ {least:.2f}", held(found[0] >= least)])
    view, other = rate(figures, "Carboy, ASGI, async views", "sync view"), rate(figures, "Carboy, ASGI, async views", "json")
    if view and other:
        found = view[0] / other[0]
        lines.append(["a `def` view behind ASGI, of an async view's rate", f"{found:.2f}", f"≥ {SYNC_VIEW_RATE:.2f}", held(found >= SYNC_VIEW_RATE)])
    for work in WORKLOADS:
        ranked = sorted(
            ((found[0], contestant) for contestant in filter(is_framework, ALL) if (found := rate(figures, contestant.name, work.name))),
            key=lambda each: -each[0],
        )
        if work.sockets:  # first among those that granian serves
            ranked = [each for each in ranked if each[1].server != "own"]
        ours = [each for each in ranked if each[1].name.startswith("Carboy")]
        if ranked and ours and len(ranked) > len(ours):
            best = ranked[0] if ranked[0] not in ours else next(each for each in ranked if each not in ours)
            text = f"{ours[0][1].name} {ours[0][0]:,.0f}; {best[1].name} {best[0]:,.0f}"
            lines.append([f"first in *{work.name}*" + (" on granian" if work.sockets else ""), text, "first", held(ours[0][0] >= best[0])])
    return lines


def held(does: bool) -> str:
    return "holds" if does else "**does not**"


# -- the chart ---------------------------------------------------------------------------------------


def chart(figures: Figures) -> str:
    """Bars of the rates, a panel for each workload, three panels side by side."""
    wide, label, bar, step, gap, across = 410, 178, 10, 14, 30, 3
    panels = []
    for work in WORKLOADS:
        rows = [(each, found[0]) for each in ALL if (found := rate(figures, each.name, work.name))]
        if rows:
            panels.append((work.name, sorted(rows, key=lambda row: -row[1])))
    parts: list[str] = []
    top = 0
    for first in range(0, len(panels), across):
        line = panels[first : first + across]
        for column, (name, rows) in enumerate(line):
            left = column * (wide + gap)
            parts.append(f'<text x="{left}" y="{top + 14}" class="head">{escape(name)}</text>')
            most = rows[0][1]
            for number, (contestant, value) in enumerate(rows):
                kind = "bare" if not is_framework(contestant) else "ours" if contestant.name.startswith("Carboy") else "peer"
                y = top + 24 + number * step
                length = (wide - label - 56) * value / most
                parts.append(f'<text x="{left + label - 6}" y="{y + 9}" class="name">{escape(contestant.name.replace("`", ""))}</text>')
                parts.append(f'<rect x="{left + label}" y="{y}" width="{length:.1f}" height="{bar}" class="{kind}"/>')
                parts.append(f'<text x="{left + label + length + 5:.1f}" y="{y + 9}">{value:,.0f}</text>')
        top += 24 + max(len(rows) for _, rows in line) * step + 26
    style = (
        "text{font:10px system-ui,sans-serif;fill:#444}.head{font-weight:600;font-size:13px;fill:#222}.name{text-anchor:end}"
        ".ours{fill:#0b7285}.peer{fill:#adb5bd}.bare{fill:#e9ecef;stroke:#ced4da}"
        "@media(prefers-color-scheme:dark){text{fill:#ccc}.head{fill:#eee}.peer{fill:#5c636a}.bare{fill:#2b3035;stroke:#495057}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across * (wide + gap) - gap} {top}" role="img"'
        f' aria-label="Requests per CPU-second of the server, by workload and framework"><style>{style}</style>{"".join(parts)}</svg>\n'
    )


# -- the page ----------------------------------------------------------------------------------------


def note(figures: Figures) -> str:
    """When and how it was measured, and what else the machine did."""
    parts = []
    for run in figures.runs.values():
        after = run.get("load_after", float("nan"))
        parts.append(
            f"{run['date']}, {run['python']}, {run['cores']} cores, load average {run['load_before']:.1f} before and {after:.1f} after; one server process"
            f" on one core, the load on another (wrk, {run['connections']} connections); up to {run['rounds']} rounds of {run['seconds']} s."
        )
    text = " ".join(dict.fromkeys(parts))
    busy = [run["load_before"] for run in figures.runs.values() if run["load_before"] > BUSY]
    if busy:
        text += (
            f"\n\n**The machine was busy with other work** (load average {max(busy):.1f} before the run): rates are lower than on a quiet one and"
            " restless; trust the ratios, and no difference that is smaller than its spread."
        )
    named = ", ".join(f"{package} {version}" for package, version in figures.versions.items())
    return f"{text}\n\nMedians, ± half the distance between the least and the most round. {named}."


def text(figures: Figures) -> str:
    """Everything between the marks."""
    parts = [note(figures)]
    for title, unit, works, prefix in TABLES:
        if any(rate(figures, contestant.name, work.name) for contestant in ALL for work in works):
            parts += [f"### {title}", f"{unit}.", rates_table(figures, works, prefix)]
            parts += ["As a share of the bare callable on granian, same door, same round:", shares_table(figures, works, prefix)]
    if figures.memory:
        by_size = sorted(figures.memory.items(), key=lambda item: item[1])
        parts.append("Memory of the worker after the load, MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in by_size) + ".")
    judged = goals(figures)
    if judged:
        failed = sum("not" in line[-1] for line in judged)
        parts += ["### Goals", f"What this project wants of itself, judged by this run: {len(judged) - failed} of {len(judged)} hold."]
        parts.append(table(["goal", "found", "wanted", ""], judged, 4))
    parts += ["### How long answers take under that load", "The 99th percentile, with 64 connections that ask again at once:", tail_table(figures)]
    missing = left_out(figures)
    if missing:
        parts += ["### What is not there, and why", "\n".join(missing)]
    return "\n\n".join(parts)


def write(figures: Figures) -> None:
    """Put the tables into the page, and the chart beside it."""
    page = PAGE.read_text()
    before, mark, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{PAGE} has lost its marks {START!r} and {END!r}, between which the figures go")
    PAGE.write_text(f"{before}{START}\n\n{text(figures)}\n\n{END}{after}")
    CHART.parent.mkdir(exist_ok=True)
    CHART.write_text(chart(figures))
