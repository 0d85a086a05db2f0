"""Files as answers: static folders, `send_file`, `send_from_directory`.

A static file is looked up once and remembered by folder and name, with its headers; a request then costs a `stat`,
which tells whether what is remembered is still true. Precompressed siblings (`app.js.br` beside `app.js`) are
answered where the client takes them. The bytes stay a `FilePayload`, so that the server can send the file itself.
"""

from __future__ import annotations

import functools
import mimetypes
import os
import stat
import time
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from io import FileIO
from typing import IO, Any, Protocol, cast
from urllib.parse import quote

import werkzeug.utils
from werkzeug.exceptions import NotFound, RequestedRangeNotSatisfiable
from werkzeug.http import dump_options_header, http_date
from werkzeug.security import safe_join
from werkzeug.wrappers import Response

from ..core.ctx import Context
from ..extend import Fitting
from ..wire.conditional import Outcome, choose_coding, decide
from ..wire.files import FilePayload
from ..wire.response import Answer, assemble

#: Codings looked for beside a file, the favourite first, and the ending of the sibling.
CODINGS = {"zstd": ".zst", "br": ".br", "gzip": ".gz"}

#: Files remembered by one `StaticFiles`.
MOST_REMEMBERED = 4096

# Seconds for which the set of siblings is believed; the file itself is looked at in every request.
_SIBLINGS_BELIEVED = 1.0

# RFC 8187 §3.2.1, besides letters and digits
_ATTR_CHAR = "!#$&+-.^_`|~"

# What a 304 does not repeat (RFC 9110 §15.4.5): the client has it.
_OF_THE_CONTENT = frozenset(
    {"content-type", "content-length", "content-encoding", "content-disposition", "accept-ranges", "last-modified"}
)


class StaticOwner(Protocol):
    """What is asked of an app or blueprint whose files are served."""

    @property
    def static_folder(self) -> str | None: ...

    def get_send_file_max_age(self, filename: str | None) -> int | None: ...


class Variant:
    """One stored form of a file: as it is, or precompressed; with the headers it is answered with.

    Attributes:
        headers: of a whole answer, without what depends on the owner (Cache-Control, Expires).
        short_headers: of a 304.
    """

    __slots__ = ("etag", "headers", "last_modified", "mtime_ns", "path", "short_headers", "size")

    def __init__(self, path: str, found: os.stat_result, name: str, coding: str | None, varies: bool) -> None:
        self.path = path
        self.size = found.st_size
        self.mtime_ns = found.st_mtime_ns
        self.etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}{f"-{coding}" if coding else ""}"'
        # From the integer: as a float, the last nanoseconds of a second belong to the next one.
        self.last_modified = http_date(found.st_mtime_ns // 1_000_000_000)
        content_type, guessed = mimetypes.guess_type(name)
        headers = [
            ("Content-Type", werkzeug.utils.get_content_type(content_type or "application/octet-stream", "utf-8")),
            ("Content-Length", str(self.size)),
            ("Content-Disposition", _inline(name)),
            ("Accept-Ranges", "bytes"),
            ("Last-Modified", self.last_modified),
            ("ETag", self.etag),
        ]
        if coding or guessed:
            headers.append(("Content-Encoding", coding or cast(str, guessed)))
        if varies:
            headers.append(("Vary", "Accept-Encoding"))
        self.headers = headers
        self.short_headers = [pair for pair in headers if pair[0].lower() not in _OF_THE_CONTENT]

    def is_current(self) -> bool:
        """Whether the form on disk is still the one remembered."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return found.st_mtime_ns == self.mtime_ns and found.st_size == self.size


class StaticFile:
    """What is remembered of a file: how it was when looked at, and its variants by coding (None: as it is)."""

    __slots__ = ("believed_until", "codings", "mtime_ns", "path", "size", "variants")

    def __init__(self, path: str, found: os.stat_result) -> None:
        self.path = path
        self.mtime_ns = found.st_mtime_ns
        self.size = found.st_size
        self.believed_until = time.monotonic() + _SIBLINGS_BELIEVED
        name = os.path.basename(path)
        siblings = _siblings(path, found.st_mtime_ns)
        self.codings: Sequence[str] = tuple(siblings)
        self.variants: dict[str | None, Variant] = {None: Variant(path, found, name, None, bool(siblings))}
        for coding, status in siblings.items():
            self.variants[coding] = Variant(path + CODINGS[coding], status, name, coding, True)

    def is_current(self) -> bool:
        """Whether the file on disk is still the one remembered, and its siblings were looked for lately.

        Raises:
            OSError: it is gone.
        """
        found = os.stat(self.path)
        return (
            found.st_mtime_ns == self.mtime_ns
            and found.st_size == self.size
            and time.monotonic() < self.believed_until
        )


class StaticFiles:
    """Serves files below folders; remembers what it found, under the names it is asked for.

    Nothing is remembered of a name that is not there, or is spelled in a roundabout way: strangers cannot fill the
    memory.
    """

    def __init__(self, most_remembered: int = MOST_REMEMBERED) -> None:
        self._most = most_remembered
        self._known: dict[tuple[str, str], StaticFile] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, folder: str, filename: str) -> StaticFile:
        """The file of that name below a folder, as it is on disk now.

        Raises:
            NotFound: there is none, it is no regular file, it may not be read, or the name leads out of the folder.
        """
        key = folder, filename
        known = self._known.get(key)
        try:
            if known is not None and known.is_current():
                return known
            # Whatever comes next, this is no longer true. Another thread may have found out already.
            self._known.pop(key, None)
            path = known.path if known is not None else safe_path(folder, filename)
            found = os.stat(path)
        except (OSError, ValueError):  # ValueError: a NUL byte, or a name the file system cannot spell
            self._known.pop(key, None)
            raise NotFound from None
        if not _is_readable_file(path, found):
            raise NotFound
        file = StaticFile(path, found)
        if path == f"{folder}/{filename}":
            self._remember(key, file)
        return file

    def _remember(self, key: tuple[str, str], file: StaticFile) -> None:
        known = self._known
        if len(known) >= self._most:
            try:
                known.pop(next(iter(known)), None)  # the oldest
            except (StopIteration, RuntimeError):
                pass  # another thread has just made room, or is about to: one file more does no harm
        known[key] = file

    def answer(self, ctx: Context, folder: str, filename: str, max_age: int | None) -> Response | Answer:
        """Answer the current request with a file: a 304 is an `Answer`, anything else a Response.

        Args:
            ctx: the current request's context.
            folder: the absolute path of the folder.
            filename: from the client.
            max_age: seconds for which a client need not ask again; None makes it ask each time.

        Raises:
            NotFound: see `find`.
            RequestedRangeNotSatisfiable: the Range lies beyond the file.
        """
        request = ctx.request
        file = self.find(folder, filename)
        coding = choose_coding(request.header("accept-encoding"), file.codings) if file.codings else None
        variant = file.variants[coding]
        app: Any = ctx.app  # the whole app, of which a context needs only a part
        size = None if app.config["USE_X_SENDFILE"] else variant.size
        outcome = decide(request.method, request.conditions().get, variant.etag, variant.last_modified, size)
        if outcome.status == 304:
            return Answer(304, variant.short_headers + _cache_headers(max_age), b"")
        if coding is not None and not variant.is_current():
            self._known.pop((folder, filename), None)
            return self.answer(ctx, folder, filename, max_age)
        response = assemble(app.response_class, 200, variant.headers + _cache_headers(max_age), [], direct_passthrough=True)
        return _fill(app, response, outcome, variant.path, variant.size, request.method)


def safe_path(folder: str, filename: str) -> str:
    """The path of *filename* below *folder*.

    Raises:
        NotFound: it would lead elsewhere, or has a character that no name of a file in a URL has.
    """
    if "\\" in filename or "\0" in filename:
        raise NotFound
    path = safe_join(folder, filename)
    if path is None:
        raise NotFound
    return path


def serve_static(ctx: Context, owner: StaticOwner, filename: str | os.PathLike[str], files: StaticFiles) -> Response:
    """The view of an app's or blueprint's own static files, for guests who call it: always a Response.

    Raises:
        NotFound: there is no such file.
        RuntimeError: the owner has no static folder.
    """
    answer = answer_static(ctx, owner, os.fspath(filename), files)
    if isinstance(answer, Answer):
        app: Any = ctx.app
        return cast(Response, answer.to_response(app.response_class))
    return answer


def answer_static(ctx: Context, owner: StaticOwner, filename: str, files: StaticFiles) -> Response | Answer:
    """The same for the engine, to which a 304 may be an `Answer`."""
    folder = owner.static_folder
    if folder is None:
        raise RuntimeError("'static_folder' must be set to serve static_files.")
    return files.answer(ctx, folder, filename, owner.get_send_file_max_age(filename))


def send_file(
    ctx: Context,
    path_or_file: os.PathLike[str] | str | IO[bytes],
    mimetype: str | None = None,
    as_attachment: bool = False,
    download_name: str | None = None,
    conditional: bool = True,
    etag: bool | str = True,
    last_modified: datetime | float | None = None,
    max_age: Any = None,
) -> Response:
    """Answer with a file.

    Never pass a path that a client gave: use `send_from_directory`.

    Args:
        ctx: the current request's context.
        path_or_file: a path, relative to the app's `root_path`; or a file open in binary mode at its start.
        mimetype: guessed from the name unless given.
        as_attachment: have the browser save it.
        download_name: the name it is saved under; the path's own unless given.
        conditional: look at the request's conditions and Range.
        etag: False for none, or a string to use.
        last_modified: of the file unless given.
        max_age: seconds, or a function from the path to seconds; `app.get_send_file_max_age` unless given.

    Raises:
        RequestedRangeNotSatisfiable: the Range lies beyond the file.
        TypeError: neither name nor mimetype is known.
    """
    app: Any = ctx.app
    request = ctx.request
    hands_over = bool(app.config["USE_X_SENDFILE"])
    is_path = isinstance(path_or_file, str | os.PathLike) or hasattr(path_or_file, "__fspath__")
    # A path is not opened here: Werkzeug is told that a server will do it, and one may.
    response = werkzeug.utils.send_file(
        path_or_file,
        environ=request.environ if not is_path else {},
        mimetype=mimetype,
        as_attachment=as_attachment,
        download_name=download_name,
        conditional=conditional and not is_path,
        etag=etag,
        last_modified=last_modified,
        max_age=app.get_send_file_max_age if max_age is None else max_age,
        use_x_sendfile=is_path or hands_over,
        response_class=app.response_class,
        _root_path=app.root_path,
    )
    if not is_path:
        return response
    path = response.headers.pop("X-Sendfile")
    size = int(response.headers["Content-Length"])
    if not hands_over:
        FileIO(path).close()  # whoever may not read it, or names a folder, learns it here and not in the answer's middle
    outcome = Outcome(200)
    if conditional:
        response.headers["Accept-Ranges"] = "bytes"
        tag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        outcome = decide(request.method, request.conditions().get, tag, modified, None if hands_over else size)
    return _fill(app, response, outcome, path, size, request.method)


def send_from_directory(
    ctx: Context,
    directory: os.PathLike[str] | str,
    path: os.PathLike[str] | str,
    **options: Any,
) -> Response:
    """Answer with a file below a directory; *path* may come from a client.

    Args:
        ctx: the current request's context.
        directory: relative to the app's `root_path`; never from a client.
        path: relative to *directory*.
        options: as of `send_file`.

    Raises:
        NotFound: there is no such regular file there, or the path leads out of the directory.
    """
    app: Any = ctx.app
    found = os.path.join(app.root_path, safe_path(os.fspath(directory), os.fspath(path)))
    try:
        is_file = os.path.isfile(found)
    except ValueError:  # a name the file system cannot spell
        is_file = False
    if not is_file:
        raise NotFound
    return send_file(ctx, found, **options)


def _fill(app: Any, response: Any, outcome: Outcome, path: str, size: int, method: str) -> Response:
    """Give a prepared response the part of the file that the outcome says, or take its content away."""
    status, start, length = outcome
    if status == 416:
        raise RequestedRangeNotSatisfiable(size)
    if status in (304, 412):
        response.status_code = status
        response.direct_passthrough = False
        response.response = []
        for name in _OF_THE_CONTENT:
            response.headers.pop(name, None)
        return cast(Response, response)
    if status == 206:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
        response.headers["Content-Length"] = str(length)
    else:
        length = size
    if app.config["USE_X_SENDFILE"]:
        # The server in front cuts the file itself, from the same Range header.
        response.headers["X-Sendfile"] = path
        response.response = []
    elif method == "HEAD":
        response.response = []
    else:
        response.response = FilePayload(path, start, length)
    return cast(Response, response)


def _cache_headers(max_age: int | None) -> list[tuple[str, str]]:
    if max_age is None:
        return [("Cache-Control", "no-cache")]
    if max_age <= 0:
        return [("Cache-Control", f"no-cache, max-age={max_age}"), ("Expires", _expires(int(time.time()) + max_age))]
    return [("Cache-Control", f"public, max-age={max_age}"), ("Expires", _expires(int(time.time()) + max_age))]


@functools.lru_cache(maxsize=64)
def _expires(at: int) -> str:
    return http_date(at)


def _inline(name: str) -> str:
    """A Content-Disposition that names the file, as `send_file` does it (RFC 6266 §4.3 for names beyond ASCII)."""
    if name.isascii():
        return dump_options_header("inline", {"filename": name})
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    extended = f"UTF-8''{quote(name, safe=_ATTR_CHAR)}"
    return dump_options_header("inline", {"filename": plain, "filename*": extended})


def _is_readable_file(path: str, found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK)


def _siblings(path: str, mtime_ns: int) -> dict[str, os.stat_result]:
    """The precompressed forms beside a file that are not older than it, by coding."""
    found = {}
    for coding, ending in CODINGS.items():
        try:
            status = os.stat(path + ending)
        except OSError:
            continue
        if status.st_mtime_ns >= mtime_ns and _is_readable_file(path + ending, status):
            found[coding] = status
    return found


class Static:
    """The equipment: checks at start-up that no precompressed file is left over from an older build."""

    name = "static"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare the check."""
        fit.check("siblings", check_siblings)


def check_siblings(app: Any) -> str | None:
    """Which precompressed files are older than what they were made of, and so are not served; None if none is."""
    stale = []
    for owner in (app, *app.iter_blueprints()):
        for folder, _, names in os.walk(owner.static_folder or ""):
            present = set(names)
            for name in sorted(present):
                for ending in CODINGS.values():
                    if name + ending in present and _is_older(os.path.join(folder, name + ending), os.path.join(folder, name)):
                        stale.append(os.path.join(folder, name + ending))
    if not stale:
        return None
    return f"older than the file they were made of, hence not served: {', '.join(stale)}; compress them anew or remove them"


def _is_older(path: str, other: str) -> bool:
    return os.stat(path).st_mtime_ns < os.stat(other).st_mtime_ns
