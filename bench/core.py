"""Measure what a request costs in process, layer by layer; no server, no socket.

Run it as `make bench-core` or `python bench/core.py`. Times are processor time. Carboy and Flask stand in processes of
their own and are asked in turn, many short rounds, so that a busy machine disturbs both; what is judged is the
difference to the bare callable and the ratio to Flask of the same rounds. Instruction counts (`--instructions`) come
from callgrind and do not depend on how busy the machine is; `--check-instructions` compares them with
`bench/instructions.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import peers

HERE = Path(__file__).parent
STORED = HERE / "instructions.json"

#: What PERFORMANCE.md of the project wants: the framework's own cost above the bare callable, in µs.
OWN_COST = {"wsgi json": ("bare wsgi", 5.0), "asgi json": ("bare asgi", 4.0)}
#: Carboy's JSON hello through WSGI: 7 µs where Flask costs 64, so on any machine:
SHARE_OF_FLASK = 0.11
SYNC_VIEW_RATE = 0.80
ROUTES_GROWTH = 2.0
IMPORT_MS = 80
RSS_MB = 45


class Subject:
    """A process that times calls for us."""

    def __init__(self, python: str, name: str) -> None:
        self.process = subprocess.Popen([python, str(HERE / "subject.py"), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.cases: list[str] = json.loads(self._line())
        #: Calls that take about 10 ms, by case.
        self.times: dict[str, int] = {}

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.process.args!r} has ended")
        return line

    def measure(self, case: str) -> float:
        """µs of a call, in one short round."""
        times = self.times.get(case)
        if times is None:
            micros = self._ask(case, 100)
            times = self.times[case] = max(30, int(10_000 / max(micros, 0.05)))
        return self._ask(case, times)

    def _ask(self, case: str, times: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{case}\t{times}\n")
        self.process.stdin.flush()
        return float(json.loads(self._line()))

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def figures(values: list[float]) -> dict[str, float]:
    """Median, least and the middle half's width of a series."""
    low, _, high = statistics.quantiles(values, n=4)
    return {"median": statistics.median(values), "min": min(values), "spread": high - low}


def measure(rounds: int, only: str | None, with_flask: bool) -> dict[str, dict[str, list[float]]]:
    """All cases of both, interleaved."""
    subjects = {"carboy": Subject(sys.executable, "carboy")}
    if with_flask:
        try:
            subjects["flask"] = Subject(peers.python_of("flask"), "flask")
        except peers.NotInstallable as error:
            print(f"without Flask: {error}", file=sys.stderr)
    wanted = re.compile(only or "")
    series: dict[str, dict[str, list[float]]] = {name: {} for name in subjects}
    for _ in range(rounds):
        for case in subjects["carboy"].cases:
            if not wanted.search(case) and not case.startswith("bare"):
                continue
            for name, subject in subjects.items():
                if case in subject.cases:
                    series[name].setdefault(case, []).append(subject.measure(case))
    for subject in subjects.values():
        subject.end()
    return series


def processor_ms(code: str, python: str = sys.executable, repeat: int = 5) -> float:
    """The least processor time of an interpreter that runs some code, less that of one that runs none."""

    def once(text: str) -> float:
        before = os.times()
        subprocess.run([python, "-c", text], check=True)
        after = os.times()
        return (after.children_user + after.children_system - before.children_user - before.children_system) * 1000

    return min(once(code) for _ in range(repeat)) - min(once("pass") for _ in range(repeat))


HELLO = """
from {module} import {name}
app = {name}(__name__)
@app.get("/")
def hello():
    return "Hello!"
b"".join(app({{"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_NAME": "x",
    "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http"}}, lambda *_: None))
"""
RSS = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"


def start_up(with_flask: bool) -> dict[str, Any]:
    """Import time and memory of hello world, one request answered."""
    found: dict[str, Any] = {}
    ways = {"carboy": (sys.executable, "carboy", "Carboy")}
    if with_flask:
        try:
            ways["flask"] = (peers.python_of("flask"), "flask", "Flask")
        except peers.NotInstallable:
            pass
    for label, (python, module, name) in ways.items():
        code = HELLO.format(module=module, name=name)
        rss = subprocess.run([python, "-c", code + RSS], capture_output=True, text=True, check=True).stdout
        modules = subprocess.run(
            [python, "-c", code + "\nimport sys; print(len(sys.modules))"], capture_output=True, text=True, check=True
        ).stdout
        found[label] = {
            "import_ms": processor_ms(f"import {module}", python),
            "hello_ms": processor_ms(code, python),
            "rss_mb": int(rss) / 1024,
            "modules": int(modules),
        }
    return found


def slowest_imports(count: int = 12) -> list[tuple[int, str]]:
    """The modules that take longest by themselves, in µs."""
    ran = subprocess.run([sys.executable, "-X", "importtime", "-c", "import carboy"], capture_output=True, text=True, check=True)
    lines = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", ran.stderr)
    return sorted(((int(own), name) for own, name in lines), reverse=True)[:count]


# -- instructions -----------------------------------------------------------------------------------

COUNTED = ("bare wsgi", "wsgi json", "wsgi params", "bare asgi", "asgi json", "session untouched, with cookie", "session written")
TIMES = 300


def count_instructions() -> dict[str, int]:
    """Instructions of one call of each counted case, under callgrind.

    `os.getppid` marks the borders: callgrind writes out its counts, and starts again from zero, whenever it is called.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("instruction counts need valgrind: apt-get install valgrind")
    script = f"""
import gc, os, sys
sys.path.insert(0, {str(HERE)!r})
import subject
cases = subject.carboy_cases()
for name in {COUNTED!r}:
    work = cases[name]()
    work(60)
    gc.collect()
    gc.disable()
    os.getppid()
    work({TIMES})
    os.getppid()
    gc.enable()
"""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            valgrind, "--tool=callgrind", "--dump-before=getppid", "--compress-strings=no",
            f"--callgrind-out-file={folder}/out", sys.executable, "-c", script,
        ]  # fmt: skip
        ran = subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(ran.stderr[-2000:])
        counts = {}
        for number, name in enumerate(COUNTED):
            # The parts are numbered from 1; every second one lies between two marks.
            part = Path(folder, f"out.{2 * number + 2}").read_text()
            found = re.search(r"^(?:totals|summary):\s*(\d+)", part, re.MULTILINE)
            assert found is not None
            counts[name] = round(int(found[1]) / TIMES)
    return counts


def python_build() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"


#: Two counts of the same code differ by less than 1 %: addresses, and what the libraries' own memory looks like.
TOLERANCE = 0.03
#: The counts were stored with another Python: the bare callable tells how much more or less all of it costs there, roughly.
TOLERANCE_ELSEWHERE = 0.15


def check_instructions(tolerance: float | None) -> int:
    """Compare with what is stored; 1 if something has grown."""
    stored: dict[str, Any] = json.loads(STORED.read_text())
    counts = count_instructions()
    same_build = stored["python"] == python_build()
    if tolerance is None:
        tolerance = TOLERANCE if same_build else TOLERANCE_ELSEWHERE
    grown = 0
    print(f"{python_build()}; stored with {stored['python']}; growth of {tolerance:.0%} passes")
    print(f"{'':34}{'stored':>10}{'now':>10}{'ratio':>8}")
    for name, now in counts.items():
        before = stored["instructions"][name]
        if name.startswith("bare") or same_build:
            scale = 1.0
        else:
            # Another build of Python: what the bare callable costs here says how much more or less is to be expected.
            bare = "bare asgi" if name.startswith("asgi") else "bare wsgi"
            scale = counts[bare] / stored["instructions"][bare]
        ratio = now / (before * scale)
        verdict = ""
        if not name.startswith("bare") and ratio > 1 + tolerance:
            grown += 1
            verdict = "  GROWN"
        elif ratio < 1 - tolerance:
            verdict = "  less: store it with --write-instructions"
        print(f"{name:34}{before:>10,}{now:>10,}{ratio:>8.3f}{verdict}")
    if grown:
        print("What has grown is wanted? Then store it, and say why: python bench/core.py --write-instructions")
    return 1 if grown else 0


# -- the table --------------------------------------------------------------------------------------


def show(series: dict[str, dict[str, list[float]]]) -> None:
    flask = series.get("flask", {})
    print(f"{'µs a call':34}{'median':>9}{'min':>9}{'spread':>8}{'Flask':>9}{'ratio':>8}")
    for case, values in series["carboy"].items():
        found = figures(values)
        line = f"{case:34}{found['median']:9.2f}{found['min']:9.2f}{found['spread']:8.2f}"
        if case in flask:
            line += f"{statistics.median(flask[case]):9.2f}{ratio_of(values, flask[case]):8.3f}"
        print(line)


def ratio_of(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' own ratios: the two of a round were measured one after the other."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def goals(series: dict[str, dict[str, list[float]]], started: dict[str, Any] | None) -> list[tuple[str, str, str, bool]]:
    """Each goal: what, the figure, what is wanted, whether it holds."""
    carboy = series["carboy"]
    rows = []
    for case, (bare, wanted) in OWN_COST.items():
        if case in carboy:
            own = statistics.median(one - floor for one, floor in zip(carboy[case], carboy[bare], strict=True))
            rows.append((f"{case} above the bare callable", f"{own:.2f} µs", f"≤ {wanted} µs", own <= wanted))
    flask = series.get("flask", {})
    if "wsgi json" in flask and "wsgi json" in carboy:
        share = ratio_of(carboy["wsgi json"], flask["wsgi json"])
        rows.append(("wsgi json, share of Flask's", f"{share:.3f}", f"≤ {SHARE_OF_FLASK}", share <= SHARE_OF_FLASK))
    if "loop sync view" in carboy and "loop async view" in carboy:
        rate = ratio_of(carboy["loop async view"], carboy["loop sync view"])
        rows.append(("sync view's rate, of the async one's", f"{rate:.2f}", f"≥ {SYNC_VIEW_RATE} (on granian)", rate >= SYNC_VIEW_RATE))
    for kind in ("fixed", "int", "the last"):
        few, many = carboy.get(f"match among 10, {kind}"), carboy.get(f"match among 10000, {kind}")
        if few and many:
            growth = statistics.median(many) - statistics.median(few)
            rows.append((f"a match, 10 → 10,000 routes, {kind}", f"{growth:+.2f} µs", f"≤ {ROUTES_GROWTH} µs", growth <= ROUTES_GROWTH))
    if started:
        ours = started["carboy"]
        rows.append(("import and hello world", f"{ours['hello_ms']:.0f} ms", f"≤ {IMPORT_MS} ms", ours["hello_ms"] <= IMPORT_MS))
        rows.append(("memory of hello world", f"{ours['rss_mb']:.1f} MB", f"≤ {RSS_MB} MB", ours["rss_mb"] <= RSS_MB))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--only", help="a regular expression for the cases")
    parser.add_argument("--no-flask", action="store_true", help="without Flask's figures beside ours")
    parser.add_argument("--no-start-up", action="store_true", help="without import time and memory")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    parser.add_argument("--instructions", action="store_true", help="count instructions instead (under a minute)")
    parser.add_argument("--write-instructions", action="store_true", help=f"count them and store them in {STORED.name}")
    parser.add_argument("--check-instructions", action="store_true", help="count them; fail if they have grown")
    parser.add_argument(
        "--tolerance", type=float, help=f"growth that --check-instructions lets pass ({TOLERANCE}, or {TOLERANCE_ELSEWHERE} with another Python)"
    )
    options = parser.parse_args()
    if options.check_instructions:
        return check_instructions(options.tolerance)
    if options.instructions or options.write_instructions:
        counts = count_instructions()
        for name, count in counts.items():
            print(f"{name:34}{count:>10,}")
        if options.write_instructions:
            STORED.write_text(json.dumps({"python": python_build(), "instructions": counts}, indent=2) + "\n")
        return 0
    load_before = os.getloadavg()
    series = measure(5 if options.quick else options.rounds, options.only, not options.no_flask)
    started = None if options.no_start_up or options.only else start_up(not options.no_flask)
    imports = slowest_imports() if started else []
    load_after = os.getloadavg()
    rows = goals(series, started)
    if options.json:
        print(
            json.dumps(
                {
                    "python": python_build(),
                    "load": [load_before, load_after],
                    "micros": {name: {case: figures(values) for case, values in cases.items()} for name, cases in series.items()},
                    "start_up": started,
                    "slowest_imports": imports,
                    "goals": rows,
                },
                indent=2,
            )
        )
        return 0
    print(f"{python_build()}; load average {load_before[0]:.1f} before, {load_after[0]:.1f} after\n")
    show(series)
    if started:
        print(f"\n{'start-up (processor time)':34}{'import ms':>10}{'hello ms':>10}{'RSS MB':>9}{'modules':>9}")
        for name, found in started.items():
            print(f"{name:34}{found['import_ms']:10.0f}{found['hello_ms']:10.0f}{found['rss_mb']:9.1f}{found['modules']:9}")
        print("\nslowest imports by themselves: " + ", ".join(f"{name} {own / 1000:.1f} ms" for own, name in imports))
    print()
    for what, figure, wanted, holds in rows:
        print(f"{'ok ' if holds else 'NOT'} {what:44}{figure:>12}   wanted {wanted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
