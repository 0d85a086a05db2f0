"""What can go wrong before or around serving.

    ServerError            the server cannot start or go on; its text is for the operator
    ├── OptionError        an option has a value that does not fit
    ├── BindError          the address is taken, forbidden or unknown
    ├── WorkerFailed       a worker could not load or start the application
    └── ControlError       `carboy ctl` found no server, or was refused
"""

from __future__ import annotations


class ServerError(Exception):
    """The server cannot start or go on. The text says what, where, and the remedy."""


class OptionError(ServerError):
    """An option has a value that does not fit."""


class BindError(ServerError):
    """The address is taken, forbidden or unknown."""


class WorkerFailed(ServerError):
    """A worker could not load or start the application."""


class ControlError(ServerError):
    """`carboy ctl` found no server, or was refused."""
