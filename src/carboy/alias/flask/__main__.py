"""`python -m flask`.

One dot: run as a program this file belongs to a package named `flask`, and above that there is nothing.
"""

from .cli import main  # type: ignore[attr-defined]  # that module puts another in its place

main()
