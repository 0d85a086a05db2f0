"""The finder: Flask's module names, each the module of the same name below `carboy.alias.flask`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PREFIX = f"{__package__}.flask"


class AliasFinder(MetaPathFinder):
    """Answers `flask` and everything below it; what the alias does not have is an error, never the real Flask."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "flask" and not fullname.startswith("flask."):
            return None
        ours = PREFIX + fullname.removeprefix("flask")
        found = importlib.util.find_spec(ours)
        if found is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: `flask` is Carboy's alias of Flask 3.1, which has no such module"
                " (CARBOY_ALIAS=0 gives the real Flask)",
                name=fullname,
            )
        spec = ModuleSpec(fullname, AliasLoader(ours), origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        return spec


class AliasLoader(Loader):
    """Gives our module under Flask's name: one module, two names, so that a patch of either is seen by both."""

    def __init__(self, ours: str) -> None:
        self.ours = ours

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.ours)
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has written the alias's spec on the module; reload and pickling need the true one.
        module.__spec__ = self.own_spec
        sys.modules.setdefault(self.ours, module)

    # `python -m flask` asks for the code of `flask.__main__`.
    def get_code(self, fullname: str) -> object:
        found = importlib.util.find_spec(self.ours)
        assert found is not None, self.ours
        loader = found.loader
        return loader.get_code(self.ours)  # type: ignore[union-attr]  # a source loader

    def is_package(self, fullname: str) -> bool:
        found = importlib.util.find_spec(self.ours)
        return found is not None and found.submodule_search_locations is not None
