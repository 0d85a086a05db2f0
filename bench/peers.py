"""The environments of the contestants: a cached venv for each, made when first needed; what is in them says `environments.toml`.

`import flask` is Carboy's alias where Carboy is installed, so that even Flask needs one of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("CARBOY_BENCH_CACHE") or Path.home() / ".cache" / "carboy-bench")


def pins() -> dict[str, list[str]]:
    """Everything that is in an environment, by its name."""
    read = tomllib.loads((HERE / "environments.toml").read_text())
    return {**{name: [*read["granian"], *more] for name, more in read["on_granian"].items()}, **read["own_server"]}


class NotInstallable(Exception):
    """A peer cannot be had here; the text says why."""


def python_of(name: str) -> str:
    """The interpreter of an environment, which is made at the first call.

    Raises:
        NotInstallable: pip could not install it.
    """
    home = CACHE / name
    python = home / "bin" / "python"
    done = home / "requirements"
    requirements = [pin if pin != "." else f"--editable={HERE.parent}" for pin in pins()[name]]
    # What this repository asks for may change without a change of its pin.
    needs = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["dependencies"] if "." in pins()[name] else []
    wanted = "\n".join([sys.version, *requirements, *needs])
    if done.exists() and done.read_text() == wanted:
        return str(python)
    print(f"making the environment of {name} in {home} ...", file=sys.stderr)
    for command in ([sys.executable, "-m", "venv", "--clear", str(home)], [str(python), "-m", "pip", "install", "-q", *requirements]):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        except subprocess.TimeoutExpired:
            raise NotInstallable(f"{name}: {' '.join(command[:4])} took more than five minutes") from None
        if ran.returncode:
            said = [line for line in (ran.stderr + ran.stdout).splitlines() if line.strip()]
            raise NotInstallable(f"{name}: {said[-1] if said else f'exit status {ran.returncode}'}")
    done.write_text(wanted)
    return str(python)


def versions_of(python: str, packages: tuple[str, ...]) -> dict[str, str]:
    """The installed versions of some packages."""
    code = f"import importlib.metadata as m; print(*(m.version(name) for name in {packages!r}))"
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(packages, ran.stdout.split(), strict=True))
