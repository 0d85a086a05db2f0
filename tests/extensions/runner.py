"""Try extensions written for Flask under Carboy and tell what works: `python tests/extensions/runner.py`.

Each file of `programs/` is a small application of ours that uses one extension for what it is mostly used for, in sync
and in async views, with a `check(client, at)` that fails if the extension did nothing (*at* is `/sync` or `/async`).
The extensions are downloaded, at pinned versions, into a cached environment; see `environment.py`.

    --only NAME       this program; may be given several times
    --json FILE       write the results
    --write-docs      write the table of docs/extensions.md; the programs run on Flask itself too, to compare
    --reference       the programs on Flask itself, through WSGI: a failure there is the program's or the extension's
    --verbose         show what the trials print
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import json
import re
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from environment import PROJECT, environment  # noqa: E402  # after the path
from serving import guarded  # noqa: E402

DOCS = PROJECT / "docs" / "extensions.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PORTS = {"redis": 6379, "postgresql": 5432}
LIMIT = 240


@dataclass(frozen=True, slots=True)
class Program:
    """What a program says of itself, read without running it."""

    name: str
    distribution: str
    tries: str
    note: str
    services: tuple[str, ...]
    requirements: str


@dataclass(frozen=True, slots=True)
class Result:
    """What happened to one extension; each column is `ok`, `-` (not tried) or the error."""

    name: str
    distribution: str
    version: str
    tries: str
    sync: str
    async_: str
    served: str
    note: str
    #: The `async def` views on Flask itself, where that was asked for.
    on_flask: str = "-"


def programs(only: list[str]) -> list[Program]:
    """Read the headings of the programs."""
    found = []
    for path in sorted((HERE / "programs").glob("*.py")):
        if (only and path.stem not in only) or path.stem.startswith("_"):
            continue
        tree = ast.parse(path.read_text())
        constants = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
            and node.targets[0].id in {"DISTRIBUTION", "NOTE", "SERVICES", "REQUIREMENTS"}
        }
        tries = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
        found.append(
            Program(
                path.stem,
                constants["DISTRIBUTION"],
                tries.removesuffix("."),
                constants.get("NOTE", ""),
                tuple(constants.get("SERVICES", ())),
                constants.get("REQUIREMENTS", "requirements"),
            )
        )
    missing = set(only) - {each.name for each in found}
    if missing:
        raise SystemExit(f"there is no program {', '.join(sorted(missing))}")
    return found


def try_out(program: Program, python: Path, reference: bool, verbose: bool) -> Result:
    """Run the probe for one program."""
    pins = (HERE / f"{program.requirements}.txt").read_text()
    plain = re.sub(r"[-_.]+", "-", program.distribution).lower()
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+)", pins, re.MULTILINE)}
    version = pinned[plain]
    absent = [each for each in program.services if not _listens(PORTS[each])]
    if absent:
        said = f"not tried: no {' or '.join(absent)} here"
        return Result(program.name, program.distribution, version, program.tries, "-", "-", "-", said)
    command = [str(python), str(HERE / "probe.py"), program.name, *(["--reference"] if reference else [])]
    try:
        done = subprocess.run(
            command,
            cwd=HERE,
            env=None if reference else guarded(),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        columns = json.loads(done.stdout.splitlines()[-1])
        noise = done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        noise = f"{late.stdout!r} {late.stderr!r}"
        columns = dict.fromkeys(("sync", "async", "served"), f"no end after {LIMIT} s")
    except (IndexError, ValueError):
        noise = done.stdout + done.stderr
        columns = dict.fromkeys(("sync", "async", "served"), noise.strip().splitlines()[-1] if noise.strip() else "died")
    if verbose:
        print(noise, file=sys.stderr, flush=True)
    return Result(
        program.name, program.distribution, version, program.tries,
        columns["sync"], columns["async"], columns.get("served", "-"), program.note,
    )


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
    except OSError:
        return False
    return True


def failed(result: Result) -> bool:
    """Tell whether a column of it is an error."""
    return any(column not in {"ok", "-"} for column in (result.sync, result.async_, result.served))


def table(results: list[Result]) -> str:
    """Write the results as the table of the documentation."""
    def cell(text: str) -> str:
        return {"ok": "yes", "-": "–"}.get(text, "**no**")

    whole = sum(1 for each in results if not failed(each) and each.sync == "ok")
    lines = [
        f"{whole} of {len(results)} do their main job in a `def` view, in an `async def` view, and served by `carboy run`.",
        "",
        "| extension | version | what is tried | `def` view | `async def` view | served | the same `async def` view on Flask | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in sorted(results, key=lambda result: result.distribution.lower()):
        errors = {text for text in (each.sync, each.async_, each.served) if text not in {"ok", "-"}}
        note = " ".join([each.note, *sorted(errors)]).strip().replace("|", "\\|")
        lines.append(
            f"| {each.distribution} | {each.version} | {each.tries} | {cell(each.sync)} | {cell(each.async_)} | {cell(each.served)}"
            f" | {'no' if each.on_flask not in {'ok', '-'} else cell(each.on_flask)} | {note} |"
        )
    return "\n".join(lines) + "\n"


def write_docs(results: list[Result]) -> None:
    """Put the table between the marks of docs/extensions.md; the text around it is written by hand."""
    text = DOCS.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCS.write_text(f"{head}{BEGIN}\n\n{table(results)}\n{END}{tail}")


def main() -> None:
    """Read the command line, try, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.write_docs and (options.only or options.reference):
        parser.error("--write-docs wants all programs, on Carboy")
    wanted = programs(options.only)
    pythons = {name: environment(HERE / f"{name}.txt") for name in sorted({each.requirements for each in wanted})}
    results = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        pending = [
            pool.submit(try_out, each, pythons[each.requirements], options.reference, options.verbose) for each in wanted
        ]
        for future in pending:
            result = future.result()
            results.append(result)
            print(f"{'FAILED' if failed(result) else 'ok':7}{result.distribution} {result.version}", flush=True)
            for column in ("sync", "async_", "served"):
                if getattr(result, column) != "ok":
                    print(f"       {column.removesuffix('_')}: {getattr(result, column)}", flush=True)
    if options.write_docs:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            on_flask = list(pool.map(lambda each: try_out(each, pythons[each.requirements], True, options.verbose), wanted))
        results = [replace(ours, on_flask=theirs.async_) for ours, theirs in zip(results, on_flask, strict=True)]
    bad = [each for each in results if failed(each)]
    print(f"{len(results) - len(bad)} of {len(results)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in results], indent=1) + "\n")
    if options.write_docs:
        write_docs(results)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
