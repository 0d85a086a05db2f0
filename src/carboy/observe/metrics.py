"""The shared counters in Prometheus' text format (version 0.0.4), summed over all workers, dead ones included.

Source: prometheus.io, "Exposition formats". Labels are bounded: routes as declared, the methods of RFC 9110, status
classes, and workers by the number of their slot; what is counted by name (`series`) is shown as it is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from .memory import (
    ACCEPTING_QUEUE,
    BLOCKED,
    BLOCKED_NANOSECONDS,
    BOUNDS,
    CLAIMS,
    LAG,
    LINES_LOST,
    MEMORY,
    SHED,
    STARTED,
    THREADS,
    THREADS_BUSY,
    THREADS_WAITING,
    Entry,
    Memory,
    Reading,
)
from .series import FAMILIES, escaped

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CLASS_NAMES = ("1xx", "2xx", "3xx", "4xx", "5xx")


def exposition(memory: Memory) -> str:
    """Everything the workers have counted, as a scrape expects it."""
    readings = list(memory.readings())
    total: dict[tuple[str, str], Entry] = {}
    for reading in readings:
        for name, entry in memory.entries(reading.number):
            _add(total, name, entry)
    named = Counter(dict(memory.table(None).readings(True)))
    for reading in readings:
        named.update(dict(memory.table(reading.number).readings(reading.is_alive)))
    alive = [each for each in readings if each.is_alive]
    lines = [*_of_requests(total), *_of_server(readings), *_of_workers(alive), *_of_names(named)]
    return "\n".join(lines) + "\n"


def _add(total: dict[tuple[str, str], Entry], name: tuple[str, str], entry: Entry) -> None:
    known = total.get(name)
    if known is None:
        if any(entry.classes):
            total[name] = entry
        return
    known.classes = [a + b for a, b in zip(known.classes, entry.classes, strict=True)]
    known.buckets = [a + b for a, b in zip(known.buckets, entry.buckets, strict=True)]
    known.nanoseconds += entry.nanoseconds
    known.bytes += entry.bytes


def _of_requests(total: dict[tuple[str, str], Entry]) -> Iterator[str]:
    labelled = [(f'method="{escaped(method)}",route="{escaped(route)}"', entry) for (method, route), entry in sorted(total.items())]
    yield from _head("carboy_http_requests_total", "counter", "Requests answered, by route, method and status class.")
    for labels, entry in labelled:
        for name, count in zip(_CLASS_NAMES, entry.classes, strict=True):
            if count:
                yield f'carboy_http_requests_total{{{labels},status="{name}"}} {count}'
    yield from _head("carboy_http_response_body_bytes_total", "counter", "Bytes of the answers' bodies.")
    for labels, entry in labelled:
        yield f"carboy_http_response_body_bytes_total{{{labels}}} {entry.bytes}"
    yield from _head("carboy_http_request_duration_seconds", "histogram", "From the head of a request to the end of its answer.")
    for labels, entry in labelled:
        count = 0
        for bound, more in zip((*BOUNDS, None), entry.buckets, strict=True):
            count += more
            limit = "+Inf" if bound is None else f"{bound:g}"
            yield f'carboy_http_request_duration_seconds_bucket{{{labels},le="{limit}"}} {count}'
        yield f"carboy_http_request_duration_seconds_sum{{{labels}}} {entry.nanoseconds / 1e9:.9g}"
        yield f"carboy_http_request_duration_seconds_count{{{labels}}} {count}"


def _of_server(readings: list[Reading]) -> Iterator[str]:
    alive = [each for each in readings if each.is_alive]
    yield from _one("carboy_http_requests_begun_total", "counter", "Requests begun.", sum(each.words[STARTED] for each in readings))
    yield from _one("carboy_http_requests_in_flight", "gauge", "Requests begun and not ended.", sum(each.in_flight for each in alive))
    yield from _one(
        "carboy_http_requests_cut_off_total", "counter", "Requests that ended with their worker.", sum(each.cut_off for each in readings)
    )
    yield from _one("carboy_http_requests_shed_total", "counter", "Requests refused for too much load.", _sum(readings, SHED))
    yield from _one(
        "carboy_http_accept_queue", "gauge", "Connections that wait for a worker.", max((each.words[ACCEPTING_QUEUE] for each in alive), default=0)
    )
    yield from _one("carboy_workers", "gauge", "Workers that serve.", sum(each.is_serving for each in readings))
    yield from _one("carboy_worker_starts_total", "counter", "Workers started.", _sum(readings, CLAIMS))
    yield from _one("carboy_worker_deaths_total", "counter", "Workers that ended without leaving in order.", sum(each.deaths for each in readings))
    yield from _one("carboy_loop_blocked_total", "counter", "Calls seen to block an event loop.", _sum(readings, BLOCKED))
    yield from _one("carboy_loop_blocked_seconds_total", "counter", "Seconds for which they did.", _sum(readings, BLOCKED_NANOSECONDS) / 1e9)
    yield from _one("carboy_log_lines_lost_total", "counter", "Lines of the access log that could not be written.", _sum(readings, LINES_LOST))


def _of_workers(alive: list[Reading]) -> Iterator[str]:
    gauges = (
        ("carboy_worker_in_flight", "Requests begun and not ended.", None, 1),
        ("carboy_worker_memory_bytes", "Resident memory.", MEMORY, 1),
        ("carboy_worker_loop_lag_seconds", "How late the event loop was at the last look.", LAG, 1e-9),
        ("carboy_worker_threads", "Threads for def views.", THREADS, 1),
        ("carboy_worker_threads_busy", "Threads at work.", THREADS_BUSY, 1),
        ("carboy_worker_threads_waiting", "Requests that wait for a thread.", THREADS_WAITING, 1),
    )
    for name, meaning, word, unit in gauges:
        yield from _head(name, "gauge", meaning)
        for each in alive:
            value = each.in_flight if word is None else each.words[word] * unit
            yield f'{name}{{worker="{each.number}"}} {value:.9g}' if isinstance(value, float) else f'{name}{{worker="{each.number}"}} {value}'


def _of_names(named: Mapping[str, int]) -> Iterator[str]:
    """What was counted by name, each metric's samples together."""
    found: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for name in sorted(named):
        family = name.partition("{")[0]
        if family in found:
            value = named[name] * FAMILIES[family].unit
            found[family].append(f"{name} {value:.9g}" if isinstance(value, float) else f"{name} {value}")
    for family, samples in found.items():
        yield from _head(family, FAMILIES[family].kind, FAMILIES[family].meaning)
        yield from samples


def _sum(readings: Iterable[Reading], word: int) -> int:
    return sum(each.words[word] for each in readings)


def _one(name: str, kind: str, meaning: str, value: float) -> Iterator[str]:
    yield from _head(name, kind, meaning)
    yield f"{name} {value:.9g}" if isinstance(value, float) else f"{name} {value}"


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
