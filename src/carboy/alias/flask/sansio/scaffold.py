"""`flask.sansio.scaffold`."""

from ....core.paths import find_package as find_package
from ....core.paths import root_path_of as get_root_path
from ....core.scaffold import Scaffold as Scaffold
from ....core.scaffold import _sentinel as _sentinel
from ....core.scaffold import endpoint_of as _endpoint_from_view_func
from ....core.scaffold import setupmethod as setupmethod

__all__ = ("Scaffold", "_endpoint_from_view_func", "_sentinel", "find_package", "get_root_path", "setupmethod")
