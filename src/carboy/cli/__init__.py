"""The `carboy` command. Each verb is a file; it is imported when it is called, so that `carboy version` costs nothing.

The files:

    group.py           what `carboy` and `flask` share: options, plugins, the application's own commands
    carboy_group.py    the verbs of `carboy` and its help page
    run.py routes.py plan.py check.py ctl.py shell.py flask_verb.py version.py
    serving.py         what `run` fits into an application in each worker
    adopt/             `carboy adopt`: reads a Flask application
    flask_commands.py  the `flask` command, with the names of `flask.cli`
    dotenv.py          `.env` files
    listing.py source.py   what the verbs that print have in common
"""

import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    from .carboy_group import carboy
    from .trouble import tell

    try:
        carboy.main(args=args)
    except Exception as error:  # the application's own; click has dealt with its own kinds
        sys.exit(tell(error))
