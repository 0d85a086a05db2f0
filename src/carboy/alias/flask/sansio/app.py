"""`flask.sansio.app`."""

from ....core.base import App as App
from ....core.base import make_timedelta as _make_timedelta
from ....core.scaffold import setupmethod as setupmethod
from .scaffold import Scaffold as Scaffold
from .scaffold import _endpoint_from_view_func as _endpoint_from_view_func
from .scaffold import _sentinel as _sentinel
from .scaffold import find_package as find_package

__all__ = ("App", "Scaffold", "_endpoint_from_view_func", "_make_timedelta", "_sentinel", "find_package", "setupmethod")
