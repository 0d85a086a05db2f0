"""The content codings: a body at once, or a stream of which each piece can be read when it arrives."""

from __future__ import annotations

import sys
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import brotli  # type: ignore[import-untyped]  # it ships no types

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Windows of streams: they are most of what an open stream costs in memory (measured after 640 KB in pieces of 16 KB:
# zstd 1.2 MB, br 1.2 MB, gzip 0.2 MB). RFC 9659 lets a browser refuse zstd windows beyond 8 MB.
_ZSTD_WINDOW_LOG = 18
_BROTLI_WINDOW_LOG = 18
_BROTLI_WHOLE_WINDOW_LOG = 22
_GZIP = 16 + zlib.MAX_WBITS
# PERF: a page of 20 KB takes 562,000 instructions in a compressor that is used again, 965,000 in a new one, which makes and
# clears its tables first. So many are kept.
_KEPT = 8
# PERF: zstd's own tables for such a page are out of the processor's caches whenever a page was made meanwhile: 162 us
# to encode one between two renderings, 54 us with 48 KB, for as many bytes. Only for bodies that need no more, and for levels
# that look no further.
_SMALL, _SMALL_LEVEL = 32 * 1024, 4
_SMALL_HASH_LOG, _SMALL_CHAIN_LOG = 13, 12


class Coder(Protocol):
    """Encodes one stream."""

    def push(self, data: bytes) -> bytes:
        """Take a piece; return bytes from which all that was taken so far can be decoded."""
        ...

    def end(self) -> bytes:
        """Return what ends the stream."""
        ...


@dataclass(frozen=True, slots=True)
class Coding:
    """One way to encode.

    Attributes:
        name: as in Content-Encoding.
        encode: a body at once.
        coder: begins a stream.
    """

    name: str
    encode: Callable[[bytes], bytes]
    coder: Callable[[], Coder]


class _Gzip:
    def __init__(self, level: int) -> None:
        self.inner = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    def push(self, data: bytes) -> bytes:
        return self.inner.compress(data) + self.inner.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self.inner.flush()


class _Brotli:
    def __init__(self, level: int) -> None:
        self.inner = brotli.Compressor(quality=level, lgwin=_BROTLI_WINDOW_LOG)

    def push(self, data: bytes) -> bytes:
        return bytes(self.inner.process(data)) + bytes(self.inner.flush())

    def end(self) -> bytes:
        return bytes(self.inner.finish())


class _Zstd:
    def __init__(self, level: int) -> None:
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.window_log: _ZSTD_WINDOW_LOG,
        }
        self.inner = zstd.ZstdCompressor(options=options)

    def push(self, data: bytes) -> bytes:
        return self.inner.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        return self.inner.flush(zstd.ZstdCompressor.FLUSH_FRAME)


def gzip(level: int) -> Coding:
    """The coding every client knows (RFC 1952); levels 1 to 9."""

    def encode(body: bytes) -> bytes:
        return zlib.compress(body, level, _GZIP)

    return Coding("gzip", encode, lambda: _Gzip(level))


def br(level: int) -> Coding:
    """Brotli (RFC 7932); levels 0 to 11."""

    def encode(body: bytes) -> bytes:
        return bytes(brotli.compress(body, quality=level, lgwin=_BROTLI_WHOLE_WINDOW_LOG))

    return Coding("br", encode, lambda: _Brotli(level))


def zstandard(level: int) -> Coding:
    """Zstandard (RFC 8878); levels 1 to 19, whose windows browsers take."""

    idle: deque[zstd.ZstdCompressor] = deque(maxlen=_KEPT)
    small: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.hash_log: _SMALL_HASH_LOG,
        zstd.CompressionParameter.chain_log: _SMALL_CHAIN_LOG,
    }

    def encode(body: bytes) -> bytes:
        if len(body) > _SMALL or level > _SMALL_LEVEL:
            return zstd.compress(body, level)
        try:
            compressor = idle.pop()
        except IndexError:
            compressor = zstd.ZstdCompressor(options=small)
        # The frame tells its length, as that of a body encoded at once does.
        compressor.set_pledged_input_size(len(body))
        encoded = compressor.compress(body, zstd.ZstdCompressor.FLUSH_FRAME)
        idle.append(compressor)
        return encoded

    return Coding("zstd", encode, lambda: _Zstd(level))


_MAKERS: dict[str, tuple[Callable[[int], Coding], int, int]] = {
    "zstd": (zstandard, 1, 19),
    "br": (br, 0, 11),
    "gzip": (gzip, 1, 9),
}


def make_codings(names: Sequence[str], levels: dict[str, int]) -> dict[str, Coding]:
    """Make the codings named, in that order.

    Raises:
        ValueError: a name is unknown, or a level is none of that coding.
    """
    made = {}
    for name in names:
        if name not in _MAKERS:
            raise ValueError(f"{name!r} is no content coding known here; known are {', '.join(_MAKERS)}")
        make, lowest, highest = _MAKERS[name]
        level = levels[name]
        if not lowest <= level <= highest:
            raise ValueError(f"{name} has no level {level}; its levels are {lowest} to {highest}")
        made[name] = make(level)
    return made
