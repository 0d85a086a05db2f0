"""What an application counts of itself beside requests: services, channels, tasks. Looked at now and then, from outside.

Their rooms keep plain numbers for one process; here they become counters that outlive it. What was counted since the
last look goes with a process that is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from .series import Table

#: Attributes of a service, and the metrics made of them.
_OF_SERVICE = {
    "accepted": "carboy_service_connections_total",
    "refused": "carboy_service_connections_refused_total",
    "failed": "carboy_service_failures_total",
    "received": "carboy_service_received_bytes_total",
}
#: Of the counts of an app's channels: what grows, and what is the case now.
_OF_CHANNELS = ("published", "retried", "received", "delivered", "dropped", "closed", "reconnected")
_NOW_IN_CHANNELS = ("subscribers", "topics")
_CHANNELS = "carboy.channels"


class Beside:
    """What one process has beside requests.

    Args:
        app: a Carboy application, with what is mounted in it; anything else has nothing.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        #: What was counted at the last look, by the object that counts and the metric.
        self.seen: dict[tuple[int, str], int] = {}
        self.lock = threading.Lock()

    def look(self, table: Table) -> None:
        """Write what has changed since the last look. May be called by several threads."""
        with self.lock:
            words = table.words
            present: dict[int, int] = {}
            for app in apps_of(self.app):
                for key, family, labels, value in counted_by(app):
                    seen = self.seen.get((key, family), 0)
                    if value != seen or (key, family) not in self.seen:
                        words[table.place(family, **labels)] += max(0, value - seen)
                        self.seen[key, family] = value
                for family, labels, value in present_in(app):
                    place = table.place(family, **labels)
                    present[place] = present.get(place, 0) + value
            for place, value in present.items():
                words[place] = value

    def forget(self) -> None:
        """In a forked child: what was counted until now is the parent's, and counted there."""
        self.lock = threading.Lock()
        self.seen = {(key, family): value for app in apps_of(self.app) for key, family, _, value in counted_by(app)}


def apps_of(app: Any) -> Iterator[Any]:
    """An application, and those mounted in it."""
    if not hasattr(app, "__dict__"):
        return
    yield app
    for mount in vars(app).get("mounts", ()):
        yield from apps_of(getattr(mount, "target", None))


# `vars`: an application that has no services, and no tasks, has not made their lists.
def counted_by(app: Any) -> Iterator[tuple[int, str, dict[str, str], int]]:
    """What has been counted: `(id of who counts, metric, labels, number)`."""
    for service in vars(app).get("listeners", ()):
        for attribute, family in _OF_SERVICE.items():
            yield id(service), family, {"service": service.name}, getattr(service, attribute)
    counts = counts_of(app)
    if counts is not None:
        for name in _OF_CHANNELS:
            yield id(counts), f"carboy_channels_{name}_total", {}, getattr(counts, name)


def present_in(app: Any) -> Iterator[tuple[str, dict[str, str], int]]:
    """What is the case now: `(metric, labels, number)`."""
    for service in vars(app).get("listeners", ()):
        yield "carboy_service_connections_open", {"service": service.name}, service.connections
    counts = counts_of(app)
    if counts is not None:
        for name in _NOW_IN_CHANNELS:
            yield f"carboy_channels_{name}", {}, getattr(counts, name)
    tasks = vars(app).get("tasks")
    if tasks is not None:
        yield "carboy_tasks_running", {}, len(tasks.running)


def counts_of(app: Any) -> Any:
    """The counts of an app's channels; None where nobody has used them."""
    channels = (vars(app).get("extensions") or {}).get(_CHANNELS)
    return getattr(channels, "counts", None)
