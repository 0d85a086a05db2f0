"""One page of a long list. Nobody counts the whole list: asking for one more row says if there is a next page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from carboy import current_app, request

LAST = 10_000  # nobody reads further; a greater offset only makes SQLite work


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a list that a request asks for."""

    number: int  # from 1
    size: int

    @property
    def limits(self) -> tuple[int, int]:
        """LIMIT and OFFSET: one row more than shown."""
        return self.size + 1, (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one span, and the numbers of its neighbours."""

    rows: Sequence[Any]  # sqlite3.Row
    previous: int | None
    next: int | None

    @classmethod
    def cut(cls, rows: Sequence[Any], span: Span) -> "Page":
        """Make a page of the rows found within ``span.limits``."""
        return cls(
            rows=rows[: span.size],
            previous=span.number - 1 if span.number > 1 else None,
            next=span.number + 1 if len(rows) > span.size else None,
        )


def asked_span() -> Span:
    """Read ``?page=`` of this request; anything odd is the first page."""
    number = request.args.get("page", default=1, type=int)
    return Span(min(max(number, 1), LAST), current_app.config["POSTS_PER_PAGE"])
