"""Static files under names that change with their content: `static_url('app.css')` is `/static/app.3f2a9c1b04d7.css`.

Such a URL never means anything else, so browsers and CDNs keep what it gave for a year, and need not ask. The manifest
says which hash a file has: of the app's static folder and of each blueprint's.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from werkzeug.security import safe_join

from ..extend import Fitting
from . import Visit

#: Hexadecimal digits of a hash in a name: 48 bits, and files of one name only are told apart.
DIGITS = 12
FOREVER = "public, max-age=31536000, immutable"

_HASHED = re.compile(rf"(?P<stem>.+)\.(?P<hash>[0-9a-f]{{{DIGITS}}})(?P<ending>\.[^./]+)?")


class Entry(NamedTuple):
    """What the manifest knows of a file."""

    hash: str
    mtime_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class AssetSettings:
    """`ASSETS_*` in the config.

    Attributes:
        enabled: False: `static_url` gives plain URLs.
    """

    enabled: bool = True


class Assets:
    """Hashed URLs for static files.

    Example:
        >>> app.fit(Assets())
        >>> # in a template: <link rel="stylesheet" href="{{ static_url('app.css') }}">

    In a view: a parameter `static_url: StaticUrls`; elsewhere `app.service(StaticUrls)`.
    """

    name = "assets"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare the template global, the step that knows hashed names, and the manifest made at the start."""
        app = fit.app
        urls = StaticUrls(app, fit.config(AssetSettings).enabled)
        fit.provide(StaticUrls, lambda: urls, scope="app")
        fit.template(static_url=urls)
        fit.before(Unhash(urls), blocking=False)

        def made_at_start() -> Iterator[None]:
            urls.manifest()
            yield

        fit.lifespan(made_at_start)


class StaticUrls:
    """Builds the URLs; an app has one.

    Args:
        app: whose files, and those of whose blueprints.
        enabled: hashes are put in.
    """

    def __init__(self, app: Any, enabled: bool = True) -> None:
        self.app = app
        self.enabled = enabled
        self.known: dict[tuple[str, str], Entry] = {}
        self.missed: set[tuple[str, str]] = set()
        self.lock = threading.Lock()

    def __call__(self, filename: str, blueprint: str | None = None) -> str:
        """The URL of a static file.

        Args:
            filename: below the static folder.
            blueprint: the name of the blueprint whose file it is; the app's own unless told.

        Raises:
            FileNotFoundError: there is no such file, in debug and testing; in production the plain URL is given, and the
                log says so once.
            LookupError: no such blueprint, or it has no static folder.
        """
        owner = self.owner(blueprint)
        name = filename
        if self.enabled:
            entry = self.entry(owner.static_folder, filename, fresh=self.app.debug)
            if entry is not None:
                name = hashed_name(filename, entry.hash)
            else:
                self.miss(owner.static_folder, filename)
        endpoint = "static" if blueprint is None else f"{blueprint}.static"
        return str(self.app.url_for(endpoint, filename=name))

    def manifest(self) -> dict[str, dict[str, str]]:
        """Every static file's hashed name, by the endpoint that serves it; looked through once, at the start."""
        found: dict[str, dict[str, str]] = {}
        owners = [("static", self.app), *((f"{name}.static", one) for name, one in self.app.blueprints.items())]
        for endpoint, owner in owners:
            if not owner.has_static_folder:
                continue
            names = found[endpoint] = {}
            folder = owner.static_folder
            for filename in sorted(_files_below(folder)):
                entry = self.entry(folder, filename, fresh=True)
                if entry is not None:
                    names[filename] = hashed_name(filename, entry.hash)
        return found

    def owner(self, blueprint: str | None) -> Any:
        owner = self.app if blueprint is None else self.app.blueprints.get(blueprint)
        if owner is None or not owner.has_static_folder:
            whose = "the app" if blueprint is None else f"the blueprint {blueprint!r}"
            raise LookupError(f"static_url: {whose} has no static folder; those that have one: {self._with_folders()}")
        return owner

    def entry(self, folder: str, filename: str, *, fresh: bool) -> Entry | None:
        """What is known of a file, None if it is not there.

        Args:
            fresh: look whether the file has changed; otherwise what is known is believed.
        """
        key = folder, filename
        known = self.known.get(key)
        if known is not None and not fresh:
            return known
        path = safe_join(folder, filename)
        if path is None:
            return None
        try:
            found = os.stat(path)
            if known is not None and known.mtime_ns == found.st_mtime_ns and known.size == found.st_size:
                return known
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
        except (OSError, ValueError):  # ValueError: a name the file system cannot spell
            self.known.pop(key, None)
            return None
        entry = self.known[key] = Entry(digest, found.st_mtime_ns, found.st_size)
        return entry

    def original(self, folder: str, filename: str) -> tuple[str, bool] | None:
        """The file that a hashed name stands for, and whether the hash is its own now; None: it is no hashed name."""
        match = _HASHED.fullmatch(filename)
        if match is None:
            return None
        name = match["stem"] + (match["ending"] or "")
        path = safe_join(folder, filename)
        if path is None or os.path.exists(path):
            return None  # a file that is really called so, by a bundler perhaps
        entry = self.entry(folder, name, fresh=True)
        return None if entry is None else (name, entry.hash == match["hash"])

    def miss(self, folder: str, filename: str) -> None:
        text = f"static_url: there is no file {filename!r} in {folder}"
        if self.app.debug or self.app.testing:
            raise FileNotFoundError(text)
        with self.lock:
            is_new = (folder, filename) not in self.missed and len(self.missed) < 1000
            self.missed.add((folder, filename))
        if is_new:
            self.app.logger.warning(text)

    def _with_folders(self) -> str:
        names = [name for name, one in self.app.blueprints.items() if one.has_static_folder]
        if self.app.has_static_folder:
            names.insert(0, "the app")
        return ", ".join(names) or "none"


class Unhash:
    """The step: has a static view serve the file that a hashed name stands for, to be kept for ever.

    A hash that is not the file's own, of another release, is answered with what there is, to be asked for each time: a
    page of that release still works, and no cache is poisoned.
    """

    def __init__(self, urls: StaticUrls) -> None:
        self.urls = urls

    def __call__(self, ctx: Visit) -> None:
        request = ctx.request
        rule = request.url_rule
        if rule is None or not rule.endpoint.endswith("static"):
            return
        filename = (request.view_args or {}).get("filename")
        folder = self.folder_of(rule.endpoint)
        if filename is None or folder is None:
            return
        original = self.urls.original(folder, filename)
        if original is None:
            return
        name, is_current = original
        request.view_args = {**request.view_args, "filename": name}
        if ctx.after is None:
            ctx.after = []
        ctx.after.append(_keep_forever if is_current else _ask_each_time)

    def folder_of(self, endpoint: str) -> str | None:
        name, _, last = endpoint.rpartition(".")
        if last != "static":
            return None
        owner = self.urls.app.blueprints.get(name) if name else self.urls.app
        return owner.static_folder if owner is not None else None


def hashed_name(filename: str, digest: str) -> str:
    """`css/app.css` as `css/app.3f2a9c1b04d7.css`."""
    stem, ending = os.path.splitext(filename)
    return f"{stem}.{digest}{ending}"


def _controlling(value: str) -> Callable[[Any], Any]:
    def control(response: Any) -> Any:
        if response.status_code < 400:
            response.headers["Cache-Control"] = value
            response.headers.pop("Expires", None)
        return response

    return control


_keep_forever = _controlling(FOREVER)
_ask_each_time = _controlling("no-cache")


def _files_below(folder: str) -> Iterator[str]:
    for path, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(path, name), folder).replace(os.sep, "/")
