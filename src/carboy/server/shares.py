"""Which worker has more than its share of the work, and how many connections it is to give to the others.

A connection stays with the worker that accepted it. Those that a load balancer opens at once, and keeps, may all have
found the same worker awake; it then has all the work while the others have none. Values and arithmetic only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

#: Requests above the mean, and their share of it, from which a worker has too many; and for how many beats.
SURPLUS_LEAST, SURPLUS_SHARE, SURPLUS_BEATS = 3, 0.5, 2
#: Share of a processor from which a worker has much to do, and share of that below which another has little; for how many looks.
BUSY, IDLE, LOOKS = 0.5, 0.5, 3
#: Seconds between two orders to give connections away, while they do not help.
FIRST_GIVE, LONGEST_GIVE = 1.0, 60.0


@dataclass(slots=True)
class Patience:
    """When a worker may be told again to give connections away: less and less often while that does not help."""

    until: float = 0.0
    pause: float = FIRST_GIVE

    def is_over(self, now: float) -> bool:
        """Whether it may be told; if so, it is told."""
        if now < self.until:
            return False
        self.until = now + self.pause
        self.pause = min(LONGEST_GIVE, self.pause * 2)
        return True


@dataclass(slots=True)
class Load:
    """What a worker has to do."""

    #: Seconds of processors that it had used when last looked at, and its use since the time before: 1.0 is one processor.
    used: float = 0.0
    share: float = 0.0
    #: Descriptors it had open before its first connection.
    own: int = 0
    #: Beats in a row with far more requests under way than the others have; looks in a row at which it computed for them.
    over: int = 0
    computes: int = 0
    of_requests: Patience = field(default_factory=Patience)
    of_work: Patience = field(default_factory=Patience)
    #: When it was last told, for whichever reason: the other one has not seen yet what came of it.
    told_at: float = -FIRST_GIVE

    def may_be_told(self, patience: Patience, now: float) -> bool:
        """Whether it may be told to give connections away; if so, it is told."""
        if now - self.told_at < FIRST_GIVE or not patience.is_over(now):
            return False
        self.told_at = now
        return True


class Loaded(Protocol):
    """A worker, as far as its share is concerned."""

    load: Load
    in_flight: int


AnyLoaded = TypeVar("AnyLoaded", bound=Loaded)


def requests_above(worker: Loaded, serving: Sequence[Loaded], now: float) -> int:
    """How many connections a worker is to give away for the requests it has under way; 0 for none. Asked with each of its beats.

    Requests that stay for long (streams) are not moved by this, so that a worker which still has too many is asked less
    and less often.
    """
    load = worker.load
    mean = sum(each.in_flight for each in serving) / len(serving)
    extra = int(worker.in_flight - mean)
    if extra < max(SURPLUS_LEAST, mean * SURPLUS_SHARE):
        load.over, load.of_requests.pause = 0, FIRST_GIVE
        return 0
    load.over += 1
    return extra if load.over >= SURPLUS_BEATS and load.may_be_told(load.of_requests, now) else 0


def connections_above(
    serving: Sequence[AnyLoaded], now: float, open_files: Callable[[AnyLoaded], int]
) -> tuple[AnyLoaded, int] | None:
    """Who computes while another has little to do, and how many of its connections that one should have; None if nobody.

    Requests to `async def` views that compute are not under way before their turn, so only the processors tell.

    Args:
        open_files: how many descriptors a worker has open now; 0 where it is not known.
    """
    busiest = max(serving, key=lambda each: each.load.share)
    if busiest.load.share < BUSY or min(each.load.share for each in serving) >= IDLE * busiest.load.share:
        for each in serving:
            each.load.computes, each.load.of_work.pause = 0, FIRST_GIVE
        return None
    busiest.load.computes += 1
    if busiest.load.computes < LOOKS:
        return None  # a page and what belongs to it may be served with the next look
    held = {id(each): open_files(each) - each.load.own for each in serving}
    extra = int(held[id(busiest)] - sum(held.values()) / len(held))
    return (busiest, extra) if extra >= 1 and busiest.load.may_be_told(busiest.load.of_work, now) else None
