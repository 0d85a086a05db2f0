"""`python -m carboy` is the `carboy` command."""

from .cli import main

main()
