"""On the path of every process of a trial: the real Flask, which is installed beside, must never run."""

import os
import sys
import sysconfig

_REAL = os.path.join(sysconfig.get_path("purelib"), "flask") + os.sep


def _watch(event: str, args: tuple[object, ...]) -> None:
    if event == "exec" and getattr(args[0], "co_filename", "").startswith(_REAL):
        raise RuntimeError(f"the real Flask was loaded: {args[0].co_filename}")  # type: ignore[attr-defined]


sys.addaudithook(_watch)
