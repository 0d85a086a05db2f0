"""`flask.sansio.blueprints`."""

from ....core.blueprint import Blueprint as Blueprint
from ....core.blueprint import BlueprintSetupState as BlueprintSetupState
from .scaffold import _endpoint_from_view_func as _endpoint_from_view_func
from .scaffold import _sentinel as _sentinel
from .scaffold import setupmethod as setupmethod
