"""The pid file: one server's claim, refused while another that is alive holds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from .errors import BindError


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Hold the pid file for as long as the block runs.

    Raises:
        BindError: a living process is named there, or the file cannot be written.
    """
    if path is None:
        yield
        return
    holder = _holder(path)
    if holder is not None and holder != os.getpid():
        raise BindError(f"--pid-file {path} names process {holder}, which is alive; stop it, or choose another file")
    scratch = f"{path}.{os.getpid()}"
    try:
        # Written beside and moved: a reader never sees half a number.
        with open(scratch, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        os.replace(scratch, path)
    except OSError as error:
        raise BindError(f"--pid-file {path} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        if _holder(path) == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(path)


def _holder(path: str) -> int | None:
    """The living process that a pid file names; None if there is no file or it is stale."""
    try:
        with open(path, encoding="ascii") as file:
            pid = int(file.read())
    except (OSError, ValueError):
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, OverflowError):
        return None
    return pid
