"""Where an app lives on disk: its root, its instance folder."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path


def root_path_of(import_name: str) -> str:
    """The folder of the module or package of that name; the working directory where there is none.

    Raises:
        RuntimeError: the module has no single place on disk (a namespace package); pass `root_path=`.
    """
    module = sys.modules.get(import_name)
    file: str | None = getattr(module, "__file__", None)
    if file is not None:
        return os.path.dirname(os.path.abspath(file))
    try:
        spec = importlib.util.find_spec(import_name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.loader is None:
        if spec is not None and spec.origin is None and spec.submodule_search_locations is not None:
            raise RuntimeError(
                f"No root path can be found for the provided module {import_name!r}. This can happen because the module"
                " came from an import hook that does not provide file name information or because it's a namespace"
                " package. In this case the root path needs to be explicitly provided."
            )
        return os.getcwd()
    get_filename = getattr(spec.loader, "get_filename", None)
    if get_filename is not None:
        return os.path.dirname(os.path.abspath(str(get_filename(import_name))))
    __import__(import_name)
    file = getattr(sys.modules[import_name], "__file__", None)
    if file is None:
        raise RuntimeError(
            f"No root path can be found for the provided module {import_name!r}. This can happen because the module came"
            " from an import hook that does not provide file name information or because it's a namespace package. In"
            " this case the root path needs to be explicitly provided."
        )
    return os.path.dirname(os.path.abspath(str(file)))


def find_package(import_name: str) -> tuple[str | None, str]:
    """The installation prefix, None where not installed, and the folder that holds the package or module."""
    package_path = _package_path(import_name)
    prefix = os.path.abspath(sys.prefix)
    # A package inside the interpreter's prefix is installed there.
    if Path(package_path).is_relative_to(prefix):
        return sys.prefix, package_path
    parent, folder = os.path.split(package_path)
    if folder.lower() == "site-packages":
        grandparent, lib = os.path.split(parent)
        # Windows has prefix, lib, site-packages
        if lib.lower() == "lib":
            return grandparent, package_path
        # POSIX has prefix, lib, pythonX.Y, site-packages
        if os.path.basename(grandparent).lower() == "lib":
            return os.path.dirname(grandparent), package_path
        return parent, package_path
    return None, package_path


def _package_path(import_name: str) -> str:
    top = import_name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
        if spec is None:
            raise ValueError("not found")
    except (ImportError, ValueError):
        # __main__, or a name that is no module.
        return os.getcwd()
    if spec.submodule_search_locations:
        if spec.origin in {None, "namespace"}:
            # A namespace package: the place of the part that holds the wanted one.
            try:
                inner = importlib.util.find_spec(import_name)
            except (ImportError, ValueError):
                inner = None
            locations = list(spec.submodule_search_locations)
            if inner is not None and inner.submodule_search_locations:
                wanted = Path(next(iter(inner.submodule_search_locations)))
                locations = [place for place in locations if wanted.is_relative_to(place)] or locations
            elif inner is not None and inner.origin is not None:
                wanted = Path(inner.origin)
                locations = [place for place in locations if wanted.is_relative_to(place)] or locations
            return os.path.dirname(locations[0])
        return os.path.dirname(os.path.dirname(str(spec.origin)))
    return os.path.dirname(str(spec.origin))


def instance_path_of(import_name: str) -> str:
    """Where an app keeps what it makes at run time: `instance/` beside it, or under `var/` where it is installed."""
    prefix, package_path = find_package(import_name)
    if prefix is None:
        return os.path.join(package_path, "instance")
    return os.path.join(prefix, "var", f"{import_name}-instance")
