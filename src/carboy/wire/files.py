"""A file as the body of an answer: a path and a stretch of it, read only if no server can be told to send it.

The rule for gateways: where `type(response.response) is FilePayload`, hand `path`, `offset` and `length` to the server
(`pathsend`, `response_file`), or iterate it, or wrap it with `wsgi.file_wrapper`; then call `close()`.
"""

from __future__ import annotations

import os
from io import FileIO
from types import TracebackType
from typing import Self

#: Bytes read at a time when the file goes through Python.
CHUNK_SIZE = 64 * 1024


class FileChanged(RuntimeError):
    """A file became shorter while it was being sent: the answer cannot be completed, and must be cut off visibly."""


class FilePayload:
    """A stretch of a file, as an iterable of bytes and as a readable file.

    It is opened at the first read. Nothing beyond `length` bytes is handed out.

    Args:
        path: the file.
        offset: where the stretch starts.
        length: its bytes.
    """

    __slots__ = ("_file", "_left", "length", "offset", "path")

    def __init__(self, path: str | os.PathLike[str], offset: int, length: int) -> None:
        self._file: FileIO | None = None  # first: close() looks at it, even where the rest fails
        self.path = os.fspath(path)
        self.offset = offset
        self.length = length
        self._left = length

    @property
    def is_whole_file(self) -> bool:
        """Whether the stretch is, by its length, what the file has on disk now."""
        return self.offset == 0 and os.stat(self.path).st_size == self.length

    def open(self) -> FileIO:
        """The file, open and, before the first read, positioned at the stretch's start.

        Raises:
            OSError: it cannot be opened; better now than after the headers have gone.
        """
        file = self._file
        if file is None:
            # Unbuffered: a server that takes fileno() looks at the descriptor's own position.
            file = self._file = FileIO(self.path)
            if self.offset:
                file.seek(self.offset)
        return file

    def fileno(self) -> int:
        """The descriptor, for a server that uses sendfile(2) within Content-Length."""
        return self.open().fileno()

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the stretch, b"" at its end.

        Raises:
            FileChanged: the file has become shorter than the stretch.
        """
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        read = self.open().read(wanted)
        if not read:
            missing = self._left
            self.close()
            raise FileChanged(f"{self.path} became shorter while it was being sent; {missing} bytes are missing")
        self._left -= len(read)
        if not self._left:
            self.close()  # nothing more is needed of it, whether or not the caller comes back
        if size < 0 and self._left:
            return read + self.read()  # a read may be short of what it was asked for, past 2 GiB for one
        return read

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        chunk = self.read(CHUNK_SIZE)
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Close the file, read to its end or not; may be called twice."""
        file, self._file = self._file, None
        self._left = 0
        if file is not None:
            file.close()

    def __del__(self) -> None:
        # A test that looks at the headers alone drops its response unread and unclosed; that is no leak to warn of.
        if self._file is not None:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FilePayload {self.path!r} {self.offset}+{self.length}>"
