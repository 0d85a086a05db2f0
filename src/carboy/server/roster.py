"""The workers as the main process sees them: states, the passages between them, and when a slot is filled again.

Pure values and arithmetic; processes and sockets belong to the supervisor.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum

from .options import Options
from .shares import Load


class State(Enum):
    """Where a worker stands."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    WEDGED = "wedged"
    GONE = "gone"


#: What may follow what; anything else is a mistake of ours.
PASSAGES: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.READY, State.LEAVING, State.GONE}),
    State.READY: frozenset({State.LEAVING, State.WEDGED, State.GONE}),
    State.WEDGED: frozenset({State.GONE}),
    State.LEAVING: frozenset({State.GONE}),
    State.GONE: frozenset(),
}


@dataclass(slots=True, eq=False)
class Worker:
    """What is known of one worker process. Times are `time.monotonic` seconds."""

    slot: int
    pid: int
    release: int
    born: float
    #: Limits of this worker, with the jitter in them; 0: none.
    max_requests: int = 0
    max_age: float = 0.0
    max_memory: int = 0
    state: State = State.STARTING
    ready_at: float | None = None
    last_beat: float = 0.0
    #: When patience ends: to be killed then.
    deadline: float | None = None
    requests: int = 0
    in_flight: int = 0
    lag: float = 0.0
    loop_age: float = 0.0
    thread_age: float = 0.0
    queue: int = 0
    threads: int = 0
    descriptors: int = 0
    memory: int = 0
    accepting: bool = True
    why_failed: str | None = None
    #: How much of the work it does, and when it is told to give some of it away.
    load: Load = field(default_factory=Load)
    #: The worker that this one replaces, once it is ready.
    replaces: Worker | None = None
    #: Somebody is on the way to replace this one.
    successor: Worker | None = None

    def pass_to(self, state: State) -> None:
        if state not in PASSAGES[self.state]:
            raise RuntimeError(f"worker {self.pid}: no passage from {self.state.value} to {state.value}")
        self.state = state

    @property
    def is_present(self) -> bool:
        """It serves, or is about to."""
        return self.state in {State.STARTING, State.READY}

    @property
    def is_serving(self) -> bool:
        return self.state is State.READY

    def must_be_recycled(self, now: float) -> str | None:
        """Why this worker has had its time; None if it has not."""
        if self.max_requests and self.requests >= self.max_requests:
            return f"{self.requests} requests"
        if self.max_age and self.ready_at is not None and now - self.ready_at >= self.max_age:
            return f"{now - self.ready_at:.0f} s of age"
        if self.max_memory and self.memory >= self.max_memory:
            return f"{self.memory >> 20} MiB of memory"
        return None


def jittered(limit: float, jitter: float, chance: random.Random) -> float:
    """A limit moved by up to the share `jitter` of it, up or down, so that workers do not leave together."""
    return limit * (1 + jitter * (2 * chance.random() - 1)) if limit else 0.0


def limits_of(options: Options, chance: random.Random) -> tuple[int, float, int]:
    """`(requests, age, memory)` for a new worker."""
    return (
        max(1, round(jittered(options.max_requests, options.jitter, chance))) if options.max_requests else 0,
        jittered(options.max_age, options.jitter, chance),
        # Memory differs between workers anyway, and a limit near what the machine has must not be exceeded.
        options.max_memory,
    )


#: A worker that lived so long after getting ready died of something new: it is replaced at once.
HEALTHY_AFTER = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0


@dataclass(slots=True)
class BackOff:
    """When a slot may be filled again. Any number of times, but slower and slower while nothing comes of it."""

    failures: int = 0
    not_before: float = 0.0

    def died(self, now: float, ready_for: float | None) -> float:
        """Note a death; return the pause before the next start.

        Args:
            now: seconds.
            ready_for: how long the worker was ready; None if it never was.
        """
        if ready_for is not None and ready_for >= HEALTHY_AFTER:
            self.failures = 0
            self.not_before = now
            return 0.0
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.not_before = now + pause
        return pause


@dataclass(slots=True)
class Renewal:
    """A rolling reload on its way: who is still of the old release."""

    release: int
    waiting: list[Worker] = field(default_factory=list)
    #: True once a worker of the new release has become ready.
    proven: bool = False
    done: int = 0
