"""Compression of answers: zstd, brotli or gzip, whichever the client and the server like best.

`codings` knows the formats, `streams` the bodies that are encoded while they are sent; here is what is compressed and
what is not. The rule about secrets stands in `may_be_measured`.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from werkzeug.datastructures import Headers

from ...extend import Fitting
from ...wire.conditional import choose_coding
from ...wire.files import FilePayload
from ...wire.response import Answer, HeaderPairs, is_bodiless
from .. import AMBIENT_SCHEMES, Visit, headers_of, host_of, is_of_host, mark_of, sent_by
from .codings import Coding, make_codings
from .streams import INLINE, AsyncEncodedStream, EncodedStream, in_pieces, in_thread, is_on_loop

F = TypeVar("F")

#: Types that are text in disguise; every `text/…`, `…+json` and `…+xml` is compressed too.
COMPRESSIBLE = frozenset(
    {
        "application/javascript", "application/json", "application/manifest+json", "application/rtf", "application/sql",
        "application/toml", "application/wasm", "application/x-javascript", "application/x-ndjson", "application/x-sh",
        "application/xml", "application/yaml", "application/vnd.ms-fontobject", "font/otf", "font/ttf", "image/bmp",
        "image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon",
    }
)  # fmt: skip

#: A stream of events lives for hours: an encoder each would cost megabytes a client, for events of a few bytes.
NEVER = frozenset({"text/event-stream"})

# Levels for files: encoded once and kept, so they may take their time.
_FILE_LEVELS = {"zstd": 12, "br": 7, "gzip": 9}
_VARY = "Accept-Encoding"


@dataclass(frozen=True, slots=True)
class CompressSettings:
    """`COMPRESS_*` in the config.

    Attributes:
        minimum: bytes below which a body is sent as it is.
        codings: in order of preference; the client's weights go first.
        types: media types compressed beside the usual ones.
        zstd_level, br_level, gzip_level: chosen by measurement, see docs/http.md.
        file_limit: bytes of a file beyond which it is sent as it is; 0 to leave files alone.
        file_memory: bytes of encoded files kept in memory.
    """

    minimum: int = 500
    codings: tuple[str, ...] = ("zstd", "br", "gzip")
    types: tuple[str, ...] = ()
    zstd_level: int = 3
    br_level: int = 4
    gzip_level: int = 4
    file_limit: int = 1024 * 1024
    file_memory: int = 16 * 1024 * 1024


class Compression:
    """Compress answers that gain by it.

    Example:
        >>> app.fit(Compression())

    One answer is left alone with `response.compress = False`, a route with `@uncompressed`.
    """

    name = "compress"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare the step; it stands after what is fitted before it."""
        fit.after(Compress(fit.config(CompressSettings)), blocking=False)


def uncompressed(view: F) -> F:
    """Decorate a view whose answers are never compressed.

    Example:
        >>> @app.get("/recovery-codes")
        ... @uncompressed
        ... def recovery_codes(): ...
    """
    view.compress = False  # type: ignore[attr-defined]  # a mark on a function
    return view


class Facts(NamedTuple):
    """What an answer's headers say to who wants to compress it."""

    is_candidate: bool
    vary: str | None
    etag: str | None
    length: int | None
    is_public: bool


class Compress:
    """The step: looks at a response and encodes it, or not."""

    takes_answer = True

    def __init__(self, settings: CompressSettings) -> None:
        self.minimum = settings.minimum
        self.file_limit = settings.file_limit
        levels = {"zstd": settings.zstd_level, "br": settings.br_level, "gzip": settings.gzip_level}
        self.codings = make_codings(settings.codings, levels)
        self.files = Files(make_codings(settings.codings, _FILE_LEVELS), settings.file_memory)
        self.names = tuple(self.codings)
        self.more_types = frozenset(settings.types)
        # Browsers send a handful of values; strangers' long ones are not kept.
        self.choose = functools.lru_cache(maxsize=256)(lambda header: choose_coding(header, self.names))

    def __call__(self, ctx: Visit) -> None:
        response = ctx.response
        if type(response) is Answer:
            if len(response.body) >= self.minimum:
                self.compress_answer(ctx, response)
            elif response.status_code == 304:
                facts = self.facts(response.headers)
                if facts.etag is not None and self.holds_encoded(ctx, facts.etag):
                    ctx.response = response._replace(headers=_edited(response.headers, facts, None))
        else:
            self.compress_response(ctx, response)

    # -- whole answers ----------------------------------------------------------------------------

    def compress_answer(self, ctx: Visit, answer: Answer) -> None:
        status, headers, body = answer
        if is_bodiless(status) or status == 206:
            return
        facts = self.facts(headers)
        if not facts.is_candidate or mark_of(ctx, "compress") is False:
            return
        coding = self.coding_for(ctx, facts)
        if coding is None:
            ctx.response = answer._replace(headers=_varying(headers, facts))
        elif ctx.request.method == "HEAD":
            ctx.response = Answer(status, _edited(headers, facts, coding.name), b"")
        elif len(body) > INLINE and is_on_loop():
            response = answer.to_response(ctx.app.response_class)
            ctx.response = response
            self.replace_body(response, facts, coding, in_pieces(body, coding.coder()))
        else:
            encoded = coding.encode(body)
            edited = _edited(headers, facts, coding.name)
            edited.append(("Content-Length", str(len(encoded))))
            ctx.response = Answer(status, edited, encoded)

    # -- Responses --------------------------------------------------------------------------------

    def compress_response(self, ctx: Visit, response: Any) -> None:
        status = response.status_code
        headers_of(response)
        if status == 304:
            facts = self.facts(response.headers)
            if facts.etag is not None and self.holds_encoded(ctx, facts.etag):
                _edit(response.headers, facts, None)
            return
        if is_bodiless(status) or status == 206 or getattr(response, "compress", True) is False:
            return
        body = response.response
        is_file = type(body) is FilePayload
        is_whole = isinstance(body, (list, tuple))
        if not is_file and response.direct_passthrough and not (is_whole and not body):
            return  # a file object of somebody's, for the server to send
        facts = self.facts(response.headers)
        if not facts.is_candidate or mark_of(ctx, "compress") is False:
            return
        is_head = ctx.request.method == "HEAD"
        if is_file:
            size: int | None = body.length
        elif is_whole and not (is_head and not body):
            size = sum(map(len, body))
        else:
            size = facts.length
        if size is not None and size < self.minimum:
            return
        if is_whole and not body and (not is_head or size is None):
            return  # nothing to send, or somebody else sends it (X-Sendfile)
        if (is_file or (is_head and response.direct_passthrough)) and size is not None and size > self.file_limit:
            return
        coding = self.coding_for(ctx, facts)
        if coding is None:
            _vary(response.headers, facts)
        elif is_head:
            # What GET would say, but for the length, which nobody knows yet (RFC 9110 §9.3.2).
            if is_whole or is_file:
                response.response = iter(())
            _edit(response.headers, facts, coding.name)
        elif is_file:
            self.compress_file(response, facts, coding, body)
        elif is_whole:
            data = response.get_data()
            if len(data) > INLINE and is_on_loop():
                self.replace_body(response, facts, coding, in_pieces(data, coding.coder()))
            else:
                _edit(response.headers, facts, coding.name)
                response.set_data(coding.encode(data))
        elif hasattr(body, "__aiter__"):
            self.replace_body(response, facts, coding, AsyncEncodedStream(body, coding.coder()))
        else:
            self.replace_body(response, facts, coding, EncodedStream(body, coding.coder()))

    def compress_file(self, response: Any, facts: Facts, coding: Coding, body: FilePayload) -> None:
        kept = self.files.get(body, coding.name)
        if kept is None and body.length > INLINE and is_on_loop():
            make = functools.partial(self.files.encode, body, coding.name)
            self.replace_body(response, facts, coding, in_thread(make))
        else:
            data = kept if kept is not None else self.files.encode(body, coding.name)
            _edit(response.headers, facts, coding.name)
            response.direct_passthrough = False
            response.set_data(data)
        response.headers.pop("Accept-Ranges", None)  # parts of what is stored are no parts of what is sent

    def replace_body(self, response: Any, facts: Facts, coding: Coding, body: Any) -> None:
        response.direct_passthrough = False
        response.response = body
        _edit(response.headers, facts, coding.name)

    # -- deciding ---------------------------------------------------------------------------------

    def facts(self, headers: Iterable[tuple[str, str]]) -> Facts:
        kind = ""
        vary = etag = length = None
        control = ""
        is_candidate = True
        for name, value in headers:
            name = name.lower()
            if name == "content-type":
                kind = value.partition(";")[0].strip().lower()
            elif name in ("content-encoding", "content-range", "x-sendfile", "x-accel-redirect"):
                is_candidate = False
            elif name == "vary":
                vary = value if vary is None else f"{vary}, {value}"
            elif name == "etag":
                etag = value
            elif name == "content-length":
                length = int(value) if value.isdecimal() else None
            elif name == "cache-control":
                control = value.lower()
        is_candidate = is_candidate and "no-transform" not in control and self.is_compressible(kind)
        return Facts(is_candidate, vary, etag, length, "public" in control)

    def is_compressible(self, kind: str) -> bool:
        if kind in self.more_types:
            return True
        if kind.startswith("text/") or kind.endswith(("+json", "+xml")):
            return kind not in NEVER
        return kind in COMPRESSIBLE

    def coding_for(self, ctx: Visit, facts: Facts) -> Coding | None:
        accepted = ctx.request.header("accept-encoding")
        if not accepted:
            return None
        name = self.choose(accepted) if len(accepted) < 200 else choose_coding(accepted, self.names)
        if name is None or (not facts.is_public and may_be_measured(ctx.request)):
            return None
        return self.codings[name]

    def holds_encoded(self, ctx: Visit, etag: str) -> bool:
        """Whether the client asked with the tag of an encoded answer, so that its 304 must carry that tag.

        Source: RFC 9111 §4.3.4: a cache looks for what it has under the very tag of the 304.
        """
        asked = ctx.request.header("if-none-match")
        return asked is not None and _weak(etag) in asked


def may_be_measured(request: Any) -> bool:
    """Whether another site may have caused this answer to its own visitor, and learn a secret from its size (BREACH).

    The attack needs a victim's browser that sends many requests, with the victim's credentials and the attacker's
    guesses, while the attacker watches how long the compressed answers are. So: with credentials that a browser adds by
    itself (a cookie, Basic), the request must say that this site or the user caused it; otherwise nothing is compressed.
    """
    if request.header("cookie") is None:
        credentials = request.header("authorization")
        if credentials is None or credentials.partition(" ")[0].lower() not in AMBIENT_SCHEMES:
            return False
    sender = sent_by(request)
    if sender == "unsaid":
        referrer = request.header("referer")
        return referrer is None or not is_of_host(referrer, host_of(request))
    return sender == "foreign"


class Files:
    """Encoded files, the most recently used ones, kept for as long as the file is the same.

    Args:
        codings: how they are encoded.
        most: bytes kept.
    """

    def __init__(self, codings: dict[str, Coding], most: int) -> None:
        self.codings = codings
        self.most = most
        self.size = 0
        self.known: OrderedDict[tuple[str, int, int, str], bytes] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, file: FilePayload, coding: str) -> bytes | None:
        """The encoded file, if it is here."""
        key = _key(file, coding)
        with self.lock:
            kept = self.known.get(key)
            if kept is not None:
                self.known.move_to_end(key)
        return kept

    def encode(self, file: FilePayload, coding: str) -> bytes:
        """Read and encode a file, and keep the result."""
        key = _key(file, coding)
        with file:
            encoded = self.codings[coding].encode(file.read())
        with self.lock:
            if key not in self.known and len(encoded) <= self.most:
                self.known[key] = encoded
                self.size += len(encoded)
                while self.size > self.most:
                    self.size -= len(self.known.popitem(last=False)[1])
        return encoded


def _key(file: FilePayload, coding: str) -> tuple[str, int, int, str]:
    return file.path, os.stat(file.path).st_mtime_ns, file.length, coding


# -- headers --------------------------------------------------------------------------------------


def _weak(etag: str) -> str:
    """The tag of an encoded answer: the same thing in other bytes (RFC 9110 §8.8.1)."""
    return etag if etag.startswith("W/") else f"W/{etag}"


def _vary_value(vary: str | None) -> str:
    if vary is None:
        return _VARY
    members = [member.strip().lower() for member in vary.split(",")]
    return vary if "*" in members or _VARY.lower() in members else f"{vary}, {_VARY}"


def _varying(headers: HeaderPairs, facts: Facts) -> HeaderPairs:
    kept = headers if facts.vary is None else [pair for pair in headers if pair[0].lower() != "vary"]
    return [*kept, ("Vary", _vary_value(facts.vary))]


def _edited(headers: HeaderPairs, facts: Facts, coding: str | None) -> HeaderPairs:
    """The pairs of an encoded answer, without its length."""
    edited = [pair for pair in headers if pair[0].lower() not in ("content-length", "vary", "etag")]
    edited.append(("Vary", _vary_value(facts.vary)))
    if facts.etag is not None:
        edited.append(("ETag", _weak(facts.etag)))
    if coding is not None:
        edited.append(("Content-Encoding", coding))
    return edited


def _vary(headers: Any, facts: Facts) -> None:
    headers["Vary"] = _vary_value(facts.vary)


def _edit(headers: Any, facts: Facts, coding: str | None) -> None:
    """The same in a Response's own headers."""
    if type(headers) is Headers:
        headers._list[:] = _edited(headers._list, facts, coding)
        return
    headers.pop("Content-Length", None)
    _vary(headers, facts)
    if facts.etag is not None:
        headers["ETag"] = _weak(facts.etag)
    if coding is not None:
        headers["Content-Encoding"] = coding
