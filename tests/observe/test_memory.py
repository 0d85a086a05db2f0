"""The shared counters: claimed by lock, kept over deaths, counted once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from carboy.observe.memory import (
    BOUNDS,
    CLAIMS,
    ENTRIES,
    GONE,
    MISS,
    OTHER,
    PID,
    READY,
    STATE,
    THREADS,
    Memory,
    make_memory,
    open_memory,
)


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Memory of its own."""
    made = Memory(make_memory())
    yield made
    made.close()


def counted(memory: Memory) -> dict[tuple[str, str], int]:
    """Requests by method and route, over all slots."""
    total: dict[tuple[str, str], int] = {}
    for reading in memory.readings():
        for name, entry in memory.entries(reading.number):
            total[name] = total.get(name, 0) + sum(entry.classes)
    return {name: count for name, count in total.items() if count}


def in_process(memory: Memory, program: str) -> subprocess.Popen[str]:
    """Run a program in a process that has claimed a slot of the memory; it prints 'done' and waits."""
    text = f"""
import sys, time
from carboy.observe.memory import *
from carboy.observe import memory as room
slot = Memory({memory.fd}).claim()
{program}
print('done', flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", text],
        pass_fds=(memory.fd,),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=10)


def test_answers_are_counted_by_method_route_class_and_time(memory: Memory) -> None:
    """One call counts the class, the bucket, the time and the bytes."""
    slot = memory.claim()
    assert slot is not None

    slot.count("GET", "/users/<int:id>", 200, 3_000_000, 10)
    slot.count("GET", "/users/<int:id>", 204, 3_000_000, 0)
    slot.count("GET", "/users/<int:id>", 404, 70_000_000_000, 5)
    entries = dict(memory.entries(slot.number))
    entry = entries["GET", "/users/<int:id>"]

    assert entry.classes == [0, 2, 0, 1, 0]
    assert entry.buckets[BOUNDS.index(0.005)] == 2
    assert entry.buckets[-1] == 1
    assert (entry.nanoseconds, entry.bytes) == (70_006_000_000, 15)


def test_odd_statuses_fill_no_foreign_counter(memory: Memory) -> None:
    """A status of no class counts as 5xx."""
    slot = memory.claim()
    assert slot is not None

    for status in (0, 99, 600, 999, -1):
        slot.count("GET", None, status, 1, 0)

    assert dict(memory.entries(slot.number))["GET", MISS].classes == [0, 0, 0, 0, 5]


def test_strange_methods_share_a_label_and_are_not_remembered(memory: Memory) -> None:
    """Clients choose methods; they fill neither the table nor the memory."""
    slot = memory.claim()
    assert slot is not None
    before = len(slot.known)

    for number in range(50):
        slot.count(f"M{number}", None, 405, 1, 0)

    assert counted(memory) == {("other", MISS): 50}
    assert len(slot.known) == before


def test_routes_beyond_the_table_count_as_other(memory: Memory) -> None:
    """No request is lost where there are more routes than places."""
    slot = memory.claim()
    assert slot is not None

    for number in range(ENTRIES + 100):
        slot.count("GET", f"/route/{number}", 200, 1, 0)

    assert sum(counted(memory).values()) == ENTRIES + 100
    assert counted(memory)[OTHER] == 101


def test_long_and_foreign_names_are_kept_readable(memory: Memory) -> None:
    """A rule of any length has a place; what does not fit is cut."""
    slot = memory.claim()
    assert slot is not None

    slot.count("GET", "/é" * 500, 200, 1, 0)
    ((method, route),) = counted(memory)

    assert method == "GET"
    assert route.startswith("/é/é/é")


def test_two_processes_have_two_slots_and_one_sum(memory: Memory) -> None:
    """Any process reads what all have counted."""
    first = in_process(memory, "slot.count('GET', '/', 200, 1, 0)")
    second = in_process(memory, "slot.count('GET', '/', 200, 1, 0)")

    assert counted(memory) == {("GET", "/"): 2}
    assert {reading.words[PID] for reading in memory.readings()} == {first.pid, second.pid}
    end(first)
    end(second)


def test_killed_worker_loses_no_count_and_none_is_counted_twice(memory: Memory) -> None:
    """The next one claims the dead one's slot and goes on where it stopped; what was in flight is named."""
    victim = in_process(memory, "for _ in range(7): slot.begin(); slot.count('GET', '/', 200, 1, 0)\nslot.begin(); slot.begin(); slot.set(THREADS, 9); slot.set(STATE, READY)")
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)

    (dead,) = memory.readings()
    assert (dead.is_alive, dead.deaths, dead.cut_off, dead.in_flight) == (False, 1, 2, 0)
    heir = in_process(memory, "slot.begin(); slot.count('GET', '/', 200, 1, 0); slot.begin(); slot.set(STATE, READY)")
    (alive,) = memory.readings()

    assert counted(memory) == {("GET", "/"): 8}
    assert (alive.is_alive, alive.deaths, alive.cut_off, alive.in_flight) == (True, 1, 2, 1)
    assert alive.words[CLAIMS] == 2
    assert alive.words[THREADS] == 0
    end(heir)
    victim.communicate()


def test_orderly_leaving_is_no_death(memory: Memory) -> None:
    """Who signs off is not counted among the dead, by readers or by the heir."""
    leaver = in_process(memory, "slot.begin(); slot.count('GET', '/', 200, 1, 0); slot.set(STATE, READY); slot.leave()")
    end(leaver)

    (gone,) = memory.readings()
    assert (gone.words[STATE], gone.is_alive, gone.deaths, gone.cut_off) == (GONE, False, 0, 0)
    heir = memory.claim()
    assert heir is not None
    heir.set(STATE, READY)
    (reading,) = memory.readings()

    assert heir.number == 0
    assert (reading.deaths, reading.is_serving) == (0, True)


def test_named_memory_is_shared_by_whoever_opens_it(tmp_path) -> None:
    """For servers that cannot hand descriptors on."""
    first, second = Memory(open_memory(str(tmp_path / "m"))), Memory(open_memory(str(tmp_path / "m")))
    slot = first.claim()
    assert slot is not None

    slot.count("GET", "/", 200, 1, 0)

    assert counted(second) == {("GET", "/"): 1}
    first.close()
    second.close()


def test_two_observers_of_one_process_have_two_slots(memory: Memory) -> None:
    """The kernel's locks do not tell them apart; leaving frees the place."""
    first, second = memory.claim(), memory.claim()
    assert first is not None and second is not None

    assert first.number != second.number
    first.leave()
    third = memory.claim()
    assert third is not None
    assert third.number == first.number


def test_memory_of_another_version_is_refused(tmp_path) -> None:
    """A new release after a reload must not count into places that mean something else."""
    fd = open_memory(str(tmp_path / "m"))
    os.pwrite(fd, b"\x01" * 16, 0)

    with pytest.raises(ValueError, match="another version"):
        Memory(fd)
    os.close(fd)
