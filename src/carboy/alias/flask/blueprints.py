"""`flask.blueprints`."""

from ...core.blueprint import Blueprint as Blueprint
from ...core.blueprint import BlueprintSetupState as BlueprintSetupState
