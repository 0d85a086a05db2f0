"""Who holds a thread: from the frames of a thread to the line of the application, and to the request it works for.

Frames in, values out; the thread that looks is `blocking.py`. A frame is read while its thread goes on, so nothing of
it is kept.
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ..pipeline.drive import run

_OURS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
#: Most frames of a stack that are told.
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A line that was being executed."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"

    @property
    def text(self) -> str:
        """The line itself; "" where its file cannot be read."""
        return linecache.getline(self.file, self.line).strip()


@dataclass(frozen=True, slots=True)
class Culprit:
    """What a thread was at.

    Attributes:
        place: the innermost line of the application; the innermost of all where none of it is there.
        is_own: the place is the application's.
        stack: from the application's outermost line to the innermost of all, shortened in its middle.
        request: method, route and id of the request it was for; None where there is none.
    """

    place: Place
    is_own: bool
    stack: tuple[Place, ...]
    request: str | None


class Territory:
    """Tells the application's files from the libraries', the standard library's and our own.

    Args:
        roots: folders of the application; they may lie in `site-packages`, where an installed application is.
    """

    def __init__(self, roots: Iterable[str] = ()) -> None:
        paths = sysconfig.get_paths()
        foreign = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {_OURS}
        self.borders = dict.fromkeys(foreign, False)
        for root in roots:
            real = os.path.realpath(root)
            if real not in foreign:
                self.borders[real] = True
        self.known: dict[str, bool] = {}

    def is_own(self, file: str) -> bool:
        """Whether a file is the application's: the nearest border above it decides."""
        found = self.known.get(file)
        if found is None:
            found = self.known[file] = self._judge(file)
        return found

    def _judge(self, file: str) -> bool:
        if file.startswith("<"):  # made by a program, or a frozen module
            return False
        real = os.path.realpath(file)
        above = [border for border in self.borders if real.startswith(border + os.sep)]
        if above:
            return self.borders[max(above, key=len)]
        return f"{os.sep}site-packages{os.sep}" not in real and f"{os.sep}dist-packages{os.sep}" not in real


def frames_above(frame: FrameType | None, base: FrameType) -> list[FrameType]:
    """What a thread is at above a frame, innermost first; empty if it is not above it at all."""
    frames: list[FrameType] = []
    while frame is not None and frame is not base:
        frames.append(frame)
        frame = frame.f_back
    return frames if frame is base else []


def culprit_of(frames: list[FrameType], territory: Territory) -> Culprit:
    """Whose doing it is.

    Args:
        frames: innermost first, at least one.
    """
    places = [Place(each.f_code.co_filename, each.f_lineno, each.f_code.co_name) for each in frames]
    own = [index for index, each in enumerate(places) if territory.is_own(each.file)]
    stack = places[: own[-1] + 1] if own else places
    if len(stack) > _DEPTH:
        stack = [*stack[: _DEPTH // 2], *stack[-_DEPTH // 2 :]]
    return Culprit(places[own[0]] if own else places[0], bool(own), tuple(reversed(stack)), request_of(frames))


def request_of(frames: Iterable[FrameType]) -> str | None:
    """The request that a thread works for: what the driver among its frames was given."""
    for frame in frames:
        if frame.f_code is run.__code__:
            # A stranger's context: whatever is odd about it must not hide what blocks.
            ctx: Any = frame.f_locals.get("ctx")
            request: Any = getattr(ctx, "_request", None)
            if request is None:
                return None
            rule = getattr(request, "url_rule", None)
            said = f"{request.method} {rule.rule if rule is not None else request.path}"
            number = request.header("x-request-id") if hasattr(request, "header") else None
            return f"{said}, request {number}" if number else said
    return None


def frame_of(thread: int) -> FrameType | None:
    """A thread's innermost frame; None if it has ended."""
    return sys._current_frames().get(thread)  # the documented way to another thread's frame
