"""Prometheus' text: well-formed, summed, bounded."""

import re

from carboy.observe.memory import MEMORY, READY, STATE, Memory, make_memory
from carboy.observe.metrics import exposition
from carboy.observe.series import escaped

SAMPLE = re.compile(r'^[a-zA-Z_:][\w:]*(\{(\w+="([^"\\\n]|\\.)*",?)*\})? [0-9.e+-]+$')


def test_every_line_is_a_sample_or_a_comment_and_series_are_not_repeated() -> None:
    """The format's rules hold, with labels that try to break out."""
    memory = Memory(make_memory())
    slot = memory.claim()
    assert slot is not None
    slot.set(STATE, READY)
    slot.set(MEMORY, 50_000_000)
    slot.count("GET", '/we"ird\\\n/<id>', 200, 2_000_000, 3)
    slot.count("POST", None, 500, 2_000_000_000, 3)

    lines = exposition(memory).splitlines()
    samples = [line for line in lines if not line.startswith("#")]

    assert [line for line in samples if not SAMPLE.match(line)] == []
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)
    assert 'carboy_http_requests_total{method="POST",route="(none)",status="5xx"} 1' in samples
    assert 'carboy_worker_memory_bytes{worker="0"} 50000000' in samples
    assert "carboy_workers 1" in samples
    memory.close()


def test_buckets_are_cumulated_and_end_with_the_count() -> None:
    """A histogram as Prometheus reads it."""
    memory = Memory(make_memory())
    slot = memory.claim()
    assert slot is not None
    for milliseconds in (0.5, 3, 3, 700):
        slot.count("GET", "/", 200, int(milliseconds * 1e6), 0)

    found = dict(line.rsplit(" ", 1) for line in exposition(memory).splitlines() if line.startswith("carboy_http_request_duration"))
    bucket = 'carboy_http_request_duration_seconds_bucket{{method="GET",route="/",le="{}"}}'

    assert [found[bucket.format(each)] for each in ("0.001", "0.0025", "0.005", "0.5", "1", "+Inf")] == ["1", "1", "3", "3", "4", "4"]
    assert found['carboy_http_request_duration_seconds_count{method="GET",route="/"}'] == "4"
    assert float(found['carboy_http_request_duration_seconds_sum{method="GET",route="/"}']) == 0.7065
    memory.close()


def test_labels_are_escaped() -> None:
    """Backslash, quote and line feed."""
    assert escaped('a\\b"c\nd') == r"a\\b\"c\nd"
