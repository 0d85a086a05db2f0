"""WebSocket frames by hand, right and wrong: a client that mends nothing."""

import base64
import os
import socket
import struct
import zlib

TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=True, length=None):
    """The bytes of a frame; *length* says another length than the payload has."""
    size = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = mask << 7
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    whole = key * (len(payload) // 4 + 1)
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(whole[: len(payload)], "big")).to_bytes(len(payload), "big")
    return head + key + masked


def deflated(payload):
    """A payload as permessage-deflate has it."""
    packer = zlib.compressobj(wbits=-12)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def handshake(path="/", *more, host="localhost", key=None, version="13", connection="Upgrade", upgrade="websocket", method="GET"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    key = base64.b64encode(os.urandom(16)).decode() if key is None else key
    for name, value in (
        ("Connection", connection), ("Upgrade", upgrade), ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", version),
    ):  # fmt: skip
        if value:
            lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, *more, "", ""]).encode()


class Client:
    """A connection; `head` is what the handshake was answered with."""

    def __init__(self, port, path="/", *more, address="127.0.0.1", timeout=10, buffer=None, begin=True, over=None, **kwargs):
        if over is None:
            over = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            if buffer is not None:
                over.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            over.settimeout(timeout)
            over.connect((address, port))
        #: Or a connection that exists.
        self.socket = over
        self.received = b""
        self.head = ""
        if begin:
            try:
                self.begin(path, *more, **kwargs)
            except BaseException:
                self.socket.close()
                raise

    def begin(self, path="/", *more, **kwargs):
        self.socket.sendall(handshake(path, *more, **kwargs))
        while b"\r\n\r\n" not in self.received:
            self.fill()
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        self.head = head.decode("latin1").lower()

    @property
    def status(self):
        return int(self.head.split()[1])

    def fill(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise EOFError(self.received)
        self.received += piece

    def take(self, count):
        while len(self.received) < count:
            self.fill()
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def send(self, opcode, payload=b"", **kwargs):
        self.socket.sendall(frame(opcode, payload, **kwargs))

    def read(self):
        """The next frame: its opcode, its payload."""
        first, second = self.take(2)
        assert not second & 128, "a server does not mask"
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", self.take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.take(8))
        payload = self.take(size)
        if first & 0x40:
            unpacker = zlib.decompressobj(wbits=-15)
            payload = unpacker.decompress(payload + b"\x00\x00\xff\xff")
        return first & 15, payload

    def read_close(self):
        """Read to the goodbye; its code and reason, "end" and nothing if there is none."""
        try:
            while True:
                opcode, payload = self.read()
                if opcode == CLOSE:
                    return (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (1005, "")
        except (EOFError, ConnectionError):
            return "end", ""

    def is_at_end(self):
        """Whether the server has closed the connection, within the client's time-out."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
