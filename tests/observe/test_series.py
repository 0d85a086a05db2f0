"""Numbers with a name: kept over deaths, summed over workers, and never too many."""

import pytest

from carboy.observe.memory import Memory, make_memory
from carboy.observe.metrics import exposition
from carboy.observe.series import FAMILIES, NAMES, OTHER, escaped

TOTAL, OPEN = "carboy_websocket_connections_total", "carboy_websocket_connections_open"


@pytest.fixture
def memory():
    """Memory of its own."""
    made = Memory(make_memory())
    yield made
    made.close()


def shown(memory: Memory) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in exposition(memory).splitlines() if not line.startswith("#"))


def test_counters_are_summed_over_slots_and_the_main_process(memory) -> None:
    """Whoever has counted it, it is one sample."""
    tables = [memory.claim().named, memory.claim().named, memory.table(None)]
    for number, table in enumerate(tables, 1):
        table.words[table.place(TOTAL, route="/a")] += number

    assert shown(memory)[f'{TOTAL}{{route="/a"}}'] == "6"


def test_who_follows_finds_the_counters_and_no_gauges(memory) -> None:
    """A slot's next owner goes on counting; what was open is not."""
    slot = memory.claim()
    for family in (TOTAL, OPEN):
        slot.named.words[slot.named.place(family, route="/a")] += 3
    slot.leave()

    after_leaving = shown(memory)
    following = memory.claim()
    following.named.words[following.named.place(TOTAL, route="/a")] += 1

    assert following.number == slot.number
    assert f'{OPEN}{{route="/a"}}' not in after_leaving
    assert shown(memory)[f'{TOTAL}{{route="/a"}}'] == "4"
    assert shown(memory)[f'{OPEN}{{route="/a"}}'] == "0"


def test_names_are_bounded_and_none_is_lost(memory) -> None:
    """What is beyond counts as one, for each metric; the sums are right."""
    table = memory.claim().named
    families = [name for name in FAMILIES if name.startswith(("carboy_websocket", "carboy_service"))]
    for number in range(2 * NAMES):
        for family in families:
            table.words[table.place(family, route=f"/{number}")] += 1

    found = shown(memory)

    assert len([name for name in found if "route=" in name]) < NAMES
    for family in families:
        unit = FAMILIES[family].unit
        samples = {name: float(value) for name, value in found.items() if name.startswith(family + "{")}
        assert samples[f'{family}{{route="{OTHER}"}}'] > 0
        assert sum(samples.values()) == pytest.approx(2 * NAMES * unit)


def test_name_that_is_too_long_counts_as_other(memory) -> None:
    """A route of a thousand characters breaks nothing."""
    table = memory.claim().named
    table.words[table.place(TOTAL, route="/" + "é" * 1000)] += 1

    assert shown(memory)[f'{TOTAL}{{route="{OTHER}"}}'] == "1"


def test_every_family_has_its_head_once_and_before_its_samples(memory) -> None:
    """As the format wants it, with or without samples."""
    table = memory.claim().named
    table.words[table.place(TOTAL, route='/we"ird\\\n')] += 1

    lines = exposition(memory).splitlines()

    for family, (kind, *_) in FAMILIES.items():
        assert lines.count(f"# TYPE {family} {kind}") == 1
    (sample,) = [each for each in lines if each.startswith(TOTAL + "{")]
    assert sample == f'{TOTAL}{{route="{escaped("/we" + chr(34) + "ird" + chr(92) + chr(10))}"}} 1'
    assert lines[lines.index(sample) - 1] == f"# TYPE {TOTAL} counter"
