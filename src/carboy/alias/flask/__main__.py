"""`python -m flask`."""

from ...cli.flask_commands import main

main()
