"""Try one program: in this process through the WSGI and ASGI doors, then served by the real command.

Runs in the environment of the extensions: `python probe.py NAME`. The last line it prints is the result, as JSON.
`--reference` tries the program on Flask itself instead, through WSGI only: is the program right?
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COLOURS = ("sync", "async")


def main(name: str, reference: bool) -> None:
    """Try the program and print what happened."""
    sys.path.insert(0, str(HERE))
    with tempfile.TemporaryDirectory(prefix=f"carboy-{name}-") as directory:
        # Where a program keeps its files; the server has another one than this process.
        os.environ["PROGRAM_DIR"] = directory
        os.environ["PROGRAM_COMMAND"] = "flask" if reference else "carboy"
        result = on_flask(name) if reference else on_carboy(name, Path(directory))
    print(json.dumps(result), flush=True)
    sys.stdout.flush()
    os._exit(0)  # threads of an extension that are still there are not this program's concern


def on_flask(name: str) -> dict[str, str]:
    """Try the program on the real Flask."""
    from werkzeug.test import Client

    program = importlib.import_module(f"programs.{name}")
    return {colour: outcome(lambda: program.check(Client(program.app), f"/{colour}")) for colour in COLOURS}


def on_carboy(name: str, directory: Path) -> dict[str, str]:
    """Try the program on Carboy: each colour through two doors, then the server."""
    from serving import forwarding, served
    from werkzeug.test import Client

    import carboy  # the alias is there from here on
    from carboy.testing.doors import through_asgi, through_wsgi

    result: dict[str, str] = {}
    try:
        program = importlib.import_module(f"programs.{name}")
    except BaseException:
        return dict.fromkeys(("sync", "async", "served"), short(traceback.format_exc()))
    assert issubclass(type(program.app), carboy.Carboy), type(program.app)
    for colour in COLOURS:
        problems = []
        for door, through in (("WSGI", through_wsgi), ("ASGI", through_asgi)):
            said = outcome(lambda: program.check(Client(through(program.app)), f"/{colour}"))  # noqa: B023  # called at once
            if said != "ok":
                problems.append(f"{door}: {said}")
        result[colour] = "; ".join(problems) or "ok"
    place = directory / "served"
    place.mkdir()
    log = directory / "log"
    problems = []
    try:
        with served(f"programs.{name}:app", cwd=HERE, log=log, environ={"PROGRAM_DIR": str(place)}) as port:
            for colour in COLOURS:
                said = outcome(lambda: program.check(Client(forwarding(port)), f"/{colour}"))  # noqa: B023
                if said != "ok":
                    problems.append(f"{colour}: {said}")
    except RuntimeError as error:
        problems.append(str(error))
    if problems:
        print(log.read_text(errors="replace")[-6000:], file=sys.stderr)
    result["served"] = "; ".join(problems) or "ok"
    return result


def outcome(trial: Callable[[], Any]) -> str:
    """Run *trial*; give `ok`, or the error in a line. The whole traceback goes to standard error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            trial()
    except BaseException:
        text = traceback.format_exc()
        print(text, file=sys.stderr)
        return short(text)
    return "ok"


def short(text: str) -> str:
    """Give the error of a traceback, and the place in the program where it happened."""
    lines = text.strip().splitlines()
    # An assertion may show an answer of many lines: the first says what it was.
    last = max((number for number, line in enumerate(lines) if line[:1].strip() and number and lines[number - 1].startswith("    ")), default=len(lines) - 1)
    places = [line.strip() for line in lines if f"{os.sep}programs{os.sep}" in line]
    where = places[-1].rpartition(", in ")[0].rpartition("line ")[2] if places else ""
    return " ".join((lines[last] + (f" (line {where})" if where else "")).split())[:300]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(arguments[0], "--reference" in arguments)
