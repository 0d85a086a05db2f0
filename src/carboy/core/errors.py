"""What a developer can get wrong in setting up an app; raised before the first request where it can be.

    SetupError
    ├── SetupFinished         a setup method was called after the app was frozen (AssertionError too, as in Flask)
    ├── DuplicateEndpoint     one endpoint, two view functions (AssertionError too)
    ├── DuplicateBlueprint    one name, two blueprints (ValueError too)
    ├── BadRule               a rule that cannot be compiled: unknown converter, broken syntax (LookupError, ValueError too)
    └── BadView               a view that cannot be called with what its rule gives
"""

from __future__ import annotations


class SetupError(Exception):
    """A mistake in an application's setup. Its text says what, where (file:line) and what to do."""


class SetupFinished(SetupError, AssertionError):
    """A setup method was called after the first request or `freeze()`."""


class DuplicateEndpoint(SetupError, AssertionError):
    """Two view functions under one endpoint."""


class DuplicateBlueprint(SetupError, ValueError):
    """Two blueprints under one name."""


class BadRule(SetupError, LookupError, ValueError):
    """A URL rule that cannot be compiled."""


class BadView(SetupError):
    """A view whose parameters cannot be filled."""
