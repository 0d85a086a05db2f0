"""What goes over the bus: frames of four bytes of length (big-endian) and one MessagePack array. No I/O.

Member to hub: `[number, verb, ...]`; number 0 wants no answer. Hub to member: `[number, "ok", result]`, or, with
number 0, `"hello"`, `"entry"` and `"changed"`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

_LENGTH = struct.Struct(">I")
#: Longer frames are none of ours.
LONGEST = 1 << 30

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


def pack(*values: Any) -> bytes:
    """Make a frame of values."""
    frame = bytearray(4)
    _encoder.encode_into(values, frame, 4)
    _LENGTH.pack_into(frame, 0, len(frame) - 4)
    return bytes(frame)


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[list[Any]]:
        """Give the frames that are complete now.

        Raises:
            ValueError: this is not what we speak.
        """
        buffer = self.buffer
        buffer += received
        start = 0
        try:
            while len(buffer) - start >= 4:
                (length,) = _LENGTH.unpack_from(buffer, start)
                if length > LONGEST:
                    raise ValueError(f"a frame of {length} bytes")
                if len(buffer) - start - 4 < length:
                    break
                frame = bytes(memoryview(buffer)[start + 4 : start + 4 + length])
                start += 4 + length
                yield _decoder.decode(frame)
        finally:
            del buffer[:start]
