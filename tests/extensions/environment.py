"""Virtual environments for trying other people's packages: made once, kept, keyed by what is in them.

The packages are downloaded; nothing of theirs is in this project. An environment has pinned requirements, the real
Flask among them (extensions require it), and this project installed as editable: what a user has who adds Carboy to an
existing application.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("CARBOY_EXTENSIONS_CACHE", "~/.cache/carboy-extensions")).expanduser()


def environment(requirements: Path) -> Path:
    """Give the Python of the environment with *requirements* and this project in it; make it if it is not there."""
    ours = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    installed = {key: ours.get(key) for key in ("dependencies", "scripts", "entry-points")}
    wanted = f"{requirements.read_text()}{json.dumps(installed)}{PROJECT}{sys.version}"
    where = CACHE / f"{requirements.stem}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    python = where / "bin" / "python"
    stamp = where / "complete"
    if stamp.exists():
        return python
    print(f"making the environment of {requirements.name} in {where}", file=sys.stderr, flush=True)
    shutil.rmtree(where, ignore_errors=True)
    for old in CACHE.glob(f"{requirements.stem}-*"):  # other versions of the same requirements
        shutil.rmtree(old, ignore_errors=True)
    _run(sys.executable, "-m", "venv", where)
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements)
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-e", PROJECT)
    stamp.write_text(wanted)
    return python


def _run(*command: object) -> None:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise SystemExit(f"{' '.join(str(each) for each in command)} failed:\n{said}")
