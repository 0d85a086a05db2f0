"""Where the processes of one application meet: a directory of the user's own, and two files in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ....core.errors import SetupError
from ..settings import INSTANCE


@dataclass(frozen=True, slots=True)
class Place:
    """A meeting place.

    Attributes:
        socket: where the hub listens.
        lock: who holds it is the hub.
    """

    socket: str
    lock: str


def find_place(name: str, url: str | None) -> Place:
    """Give the place of an application.

    Args:
        name: the application's.
        url: `host://NAME` for all processes of this user that give the same name, an absolute path
            (`host:///run/shop`) for a directory of one's own; `host://` or None for those of one server.

    Raises:
        SetupError: the directory cannot be made, or is not this user's alone.
    """
    parts = urlsplit(url or "host://")
    directory = Path(parts.path) if parts.path.strip("/") else _default_directory()
    group = parts.netloc or ("" if parts.path.strip("/") else _server())
    # Hashed: the path of a Unix socket may have 107 bytes, and names may be anything.
    stem = "bus-" + hashlib.sha256(f"{group}\0{name}".encode()).hexdigest()[:16]
    _own(directory)
    return Place(str(directory / f"{stem}.sock"), str(directory / f"{stem}.lock"))


def _default_directory() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"carboy-{os.getuid()}"


def _server() -> str:
    """What the workers of one server have in common: what `carboy run` told them, or their parent process."""
    told = os.environ.get(INSTANCE)
    if told:
        return told
    parent = os.getppid()
    born = ""
    with contextlib.suppress(OSError):
        # A number is given to another process some day; with the time of its start it is unlike any other.
        born = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{parent}.{born}"


def _own(directory: Path) -> None:
    """Make a directory that only this user can look into; in a shared /tmp somebody else might have been first."""
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
        found = directory.lstat()
    except OSError as error:
        raise SetupError(f"the channels' directory {directory} cannot be made: {error.strerror}; give another by CHANNELS_URL=host:///PATH") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise SetupError(
            f"the channels' directory {directory} is not a directory of this user alone (mode 0700); remove it, or give another by"
            f" CHANNELS_URL=host:///PATH"
        )
