"""Text that can be shown to anybody and changed by nobody: payload, time and signature, fit for a cookie or a URL.

The format is that of itsdangerous' ``URLSafeTimedSerializer`` with HMAC-SHA1 keys derived by HMAC, and what either writes
the other reads. The work is done by hand because a session is signed or checked on nearly every request, and deriving
the key and preparing the HMAC each time is most of what it costs; here both are done once per secret key.
Bytes in, text out: what the payload says is the caller's business.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Protocol, Self

from itsdangerous import BadSignature, SignatureExpired

__all__ = ["BadSignature", "SignatureExpired", "TimedSigner"]

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
# PERF: trying zlib costs 2.3 µs, more than all the rest, and of 100 sessions whose JSON is as short as this it makes 2 smaller.
_WORTH_COMPRESSING = 64


class _Hash(Protocol):
    """An object of ``hashlib``."""

    @property
    def block_size(self) -> int: ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> Self: ...


Digest = Callable[[bytes], _Hash]


class TimedSigner:
    """Sign payloads with the newest of some keys; accept what any of them signed.

    Example:
        >>> signer = TimedSigner(["a secret of last year", "the secret"], salt="newsletter")
        >>> signer.open(signer.seal(b"ann@example.com"), max_age=3600)
        b'ann@example.com'

    Source: RFC 2104; the format of itsdangerous 2.2 (and 0.24 to 2.1).
    """

    __slots__ = ("_clock", "_keys", "_stamp")

    def __init__(
        self,
        keys: Sequence[str | bytes],
        salt: str | bytes,
        *,
        digest: Digest = hashlib.sha1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Derive what each key needs.

        Args:
            keys: secret keys, oldest first; the last one signs.
            salt: keeps apart what the same secret signs for different ends.
            digest: a constructor of ``hashlib``.
            clock: seconds since 1970; replaced in tests.

        Raises:
            ValueError: there is no key.
        """
        if not keys:
            raise ValueError("a signer needs at least one secret key")
        # Newest first: that is the one most texts were signed with.
        self._keys = [_derive(_as_bytes(key), _as_bytes(salt), digest) for key in reversed(keys)]
        self._clock = clock
        self._stamp = (-1, b"")

    def seal(self, payload: bytes, body: bytes = b"") -> str:
        """Return the payload, the time and the signature as text of ``A-Z a-z 0-9 _ - .`` only.

        Args:
            body: what the payload is in such a text, where it is known; it is then not encoded again.
        """
        now = int(self._clock())
        second, stamp = self._stamp
        if second != now:
            stamp = b"." + _to_text(now.to_bytes((now.bit_length() + 7) // 8, "big"))
            self._stamp = (now, stamp)
        if not body:
            body = _to_text(payload)
            if len(payload) >= _WORTH_COMPRESSING:
                packed = zlib.compress(payload)
                if len(packed) < len(payload) - 1:
                    body = b"." + _to_text(packed)
        signed = body + stamp
        return (signed + b"." + _sign(self._keys[0], signed)).decode("ascii")

    def renew(self, text: str) -> str:
        """Return the payload of *text*, which `open` took, with the time of now; it is not looked into."""
        return self.seal(b"", text.rsplit(".", 2)[0].encode("ascii"))

    def open(self, text: str, max_age: float | None = None) -> bytes:
        """Return the payload of a text that one of the keys signed.

        Nothing of the text is looked into, decoded or unpacked before its signature is known to be good.

        Args:
            max_age: seconds after which a text counts no more; None for ever.

        Raises:
            SignatureExpired: the signature is good but too old, or of the future.
            BadSignature: the text was signed by none of the keys, or is not of this format.
        """
        try:
            signed, _, signature = text.encode("ascii").rpartition(b".")
        except UnicodeEncodeError:
            raise BadSignature("signed text is ASCII; this is not") from None
        for key in self._keys:
            if compare_digest(signature, _sign(key, signed)):
                break
        else:
            raise BadSignature("none of the keys made this signature")

        body, dot, stamp = signed.rpartition(b".")
        try:
            if not dot:
                raise BadSignature("signed, but without a time")
            if max_age is not None:
                age = int(self._clock()) - int.from_bytes(_to_bytes(stamp), "big")
                if not 0 <= age <= max_age:
                    raise SignatureExpired(f"signed {age} s ago; at most {max_age} s are allowed")
            if body.startswith(b"."):
                return zlib.decompress(_to_bytes(body[1:]))
            return _to_bytes(body)
        except (Base64Error, zlib.error) as error:
            raise BadSignature(f"signed, but not a payload and a time: {error}") from error


def _derive(secret: bytes, salt: bytes, digest: Digest) -> tuple[_Hash, _Hash]:
    """Derive the signing key of a salt; return its HMAC's two hashes as they stand before a message."""
    inner, outer = _prepare(secret, digest)
    inner.update(salt)
    outer.update(inner.digest())
    return _prepare(outer.digest(), digest)


def _prepare(key: bytes, digest: Digest) -> tuple[_Hash, _Hash]:
    block = digest(b"").block_size
    if len(key) > block:
        key_hash = digest(b"")
        key_hash.update(key)
        key = key_hash.digest()
    key = key.ljust(block, b"\0")
    return digest(key.translate(_INNER)), digest(key.translate(_OUTER))


def _sign(key: tuple[_Hash, _Hash], message: bytes) -> bytes:
    inner, outer = key[0].copy(), key[1].copy()
    inner.update(message)
    outer.update(inner.digest())
    return b2a_base64(outer.digest(), newline=False).translate(_TO_URL, b"=")


def _to_text(raw: bytes) -> bytes:
    return b2a_base64(raw, newline=False).translate(_TO_URL, b"=")


def _to_bytes(text: bytes) -> bytes:
    return a2b_base64(text.translate(_FROM_URL) + b"==="[: -len(text) % 4])


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
