"""Files that are made at the first start, while other workers may be starting at the same moment."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def made_once(path: Path, make: Callable[[Path], object]) -> Path:
    """Return the path of this file; if it is not there, let ``make`` write it first.

    It is written under another name and then linked to its own. A link appears whole or not at all: the
    first worker wins, and the others find what it made.
    """
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            make(draft)
            os.link(draft, path)
        except FileExistsError:
            pass  # another worker was faster
        finally:
            draft.unlink(missing_ok=True)
    return path
