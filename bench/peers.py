"""The peers' environments: a cached venv for each, made when first needed.

`import flask` is Carboy's alias in our own environment, so that even Flask needs one of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("CARBOY_BENCH_CACHE") or Path.home() / ".cache" / "carboy-bench")


class NotInstallable(Exception):
    """A peer cannot be had here; the text says why."""


def python_of(name: str, requirements: tuple[str, ...]) -> str:
    """The interpreter of a peer's environment, made at the first call.

    Raises:
        NotInstallable: pip could not install it.
    """
    home = CACHE / name
    python = home / "bin" / "python"
    done = home / "requirements"
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text() == wanted:
        return str(python)
    print(f"making the environment of {name} in {home} ...", file=sys.stderr)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    installed = subprocess.run([str(python), "-m", "pip", "install", "-q", *requirements], capture_output=True, text=True, check=False)
    if installed.returncode:
        raise NotInstallable(f"{name}: {(installed.stderr.strip() or installed.stdout.strip()).splitlines()[-1]}")
    done.write_text(wanted)
    return str(python)


def version_of(python: str, package: str) -> str:
    """The installed version of a package."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
