"""`python -m carboy.server CHANNEL_FD`: how the main process starts a worker. Not for people; they say `carboy run`."""

from __future__ import annotations

import sys

from .worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
