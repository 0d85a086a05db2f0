"""Facts → findings. Each rule is a function; a finding says what, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .facts import Fact, Place, Project
from .known import known
from .names import has

Group = Literal["runs", "gains", "look"]

#: Replacements of these decide in sync code, so their app's routes are followed in it.
_IN_SYNC = frozenset({"dispatch_request", "full_dispatch_request", "finalize_request", "ensure_sync"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to expect.

    Attributes:
        group: it runs as it is, it gains, or it needs a look.
        rule: a short name for programs.
        text: what.
        places: where; perhaps several.
        remedy: what to do, or what is to be had; may be empty.
    """

    group: Group
    rule: str
    text: str
    places: tuple[Place, ...] = ()
    remedy: str = ""


def judge(project: Project) -> list[Finding]:
    """All findings, group by group."""
    found = [finding for rule in RULES for finding in rule(project)]
    order: tuple[Group, ...] = ("runs", "gains", "look")
    return sorted(found, key=lambda finding: order.index(finding.group))


def _places(facts: Iterable[Fact]) -> tuple[Place, ...]:
    return tuple(dict.fromkeys(fact.place for fact in facts))


def _by_name(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    named: dict[str, list[Fact]] = {}
    for fact in facts:
        named.setdefault(fact.name, []).append(fact)
    return named


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


# -- the application itself -------------------------------------------------------------------------


def parts(project: Project) -> Iterator[Finding]:
    """The application, its views and what stands around them."""
    factories = project.of("factory")
    apps = [fact for fact in project.of("app") if fact.within not in {factory.name for factory in factories}]
    if factories:
        yield Finding("runs", "factory", f"the factory {_listed(fact.name for fact in factories)} is found as in Flask", _places(factories))
    if apps:
        yield Finding("runs", "app", "Flask(...) makes a Carboy", _places(apps))
    if not factories and not apps:
        yield Finding("look", "no-app", "no application object and no factory was found here", (), "point at the folder that holds it")
    views = project.of("view")
    if views:
        plain = [view for view in views if not view.is_async]
        coloured = [view for view in views if view.is_async]
        yield Finding("runs", "views", f"views: {len(plain)} def, {len(coloured)} async def", _places(views))
        if coloured:
            yield Finding(
                "gains", "async-views", f"async def views ({len(coloured)}) share the worker's event loop, where Flask makes one for each request",
                _places(coloured), "connections and tasks made in one request may be used in the next",
            )  # fmt: skip
    for kind, text in (("blueprint", "blueprints"), ("hook", "hooks"), ("handler", "error handlers"), ("command", "commands")):
        facts = [fact for fact in project.of(kind) if fact.name not in known().gone]
        if facts:
            yield Finding("runs", kind, f"{text} ({len(facts)}): {_listed(fact.name for fact in facts)}", _places(facts))


def flask_names(project: Project) -> Iterator[Finding]:
    """What is imported from Flask: present, private, or missing."""
    present: list[Fact] = []
    for name, facts in _by_name([*project.of("flask-name"), *project.test_facts]).items():
        if has(name):
            present += facts
            continue
        # A name that the application itself expects to be missing is no news.
        facts = [fact for fact in facts if fact.detail != "guarded"]
        if not facts:
            continue
        gone = known().gone.get(name)
        why = f"{name} is not in Flask 3.1 either" if gone else f"{name} is not in Carboy's alias of Flask 3.1"
        yield Finding("look", "missing-name", why, _places(facts), gone or "the import fails; find what replaces it, or ask for it")
    private = [fact for fact in present if any(part.startswith("_") for part in fact.name.split("."))]
    if present:
        yield Finding("runs", "names", f"names imported from Flask and there: {len(_by_name(present))}", ())
    if private:
        yield Finding("runs", "private-names", f"private names of Flask, there as well: {_listed(fact.name for fact in private)}", _places(private))


def extensions(project: Project) -> Iterator[Finding]:
    """What is imported beside Flask and made for it."""
    table = known()
    imports = project.of("import")
    seen: dict[str, list[Fact]] = {}
    for fact in imports:
        name = next((name for name in table.extensions if fact.name == name or fact.name.startswith(f"{name}.")), None)
        top = fact.name.partition(".")[0]
        if name is None and top.startswith("flask_") and top not in project.modules and fact.detail != "name":
            name = top
        if name is not None:
            seen.setdefault(name, []).append(fact)
    for name, facts in seen.items():
        entry = table.extensions.get(name)
        if entry is None:
            yield Finding(
                "look", "unknown-extension", f"{name} has not been tried with Carboy", _places(facts),
                "run its part of your tests; what it needs of Flask is most probably there",
            )  # fmt: skip
        else:
            yield Finding("runs", "extension", f"{entry['distribution']}, which Carboy is tested with", _places(facts), entry.get("note", ""))
    for name, gain in table.gains.items():
        facts = [fact for fact in imports if fact.name == name or fact.name.startswith(f"{name}.")]
        if facts:
            yield Finding("gains", "battery", f"{name} may stay, or go", _places(facts), gain)
    sockets = seen.get("flask_socketio")
    if sockets:
        yield Finding(
            "look", "websocket", "Flask-SocketIO works by long polling; WebSocket handshakes are refused, and its clients fall back by themselves",
            _places(sockets), "`async_mode='threading'`, and `carboy run --workers 1` unless it has a message queue",
        )  # fmt: skip


# -- methods and registries -------------------------------------------------------------------------


def replaced(project: Project) -> Iterator[Finding]:
    """Methods of the app that the application makes its own."""
    facts = [fact for fact in project.of("replaced", "overridden") if fact.name not in known().gone]
    if facts:
        yield Finding("runs", "replaced", f"replaced on the app, and honoured on every door: {_listed(fact.name for fact in facts)}", _places(facts))
    sync = [fact for fact in facts if fact.name in _IN_SYNC]
    coloured = [view for view in project.of("view") if view.is_async]
    if sync and coloured:
        yield Finding(
            "look", "sync-verb", f"{_listed(fact.name for fact in sync)} is replaced, so every route runs in a thread, async def views by way of it",
            _places(sync), "do what it does in before_request or after_request, if async def views are to run on the loop",
        )  # fmt: skip
    wrapped = project.of("middleware")
    if wrapped:
        yield Finding("runs", "middleware", "WSGI middleware around wsgi_app is honoured on every door", _places(wrapped))
    proxies = [fact for fact in wrapped if fact.detail.endswith("ProxyFix")]
    if proxies:
        yield Finding(
            "gains", "proxies", "ProxyFix may go", _places(proxies),
            "`carboy run --trusted-proxies 10.0.0.0/8` does it before the application, for these addresses only; use one of the two",
        )  # fmt: skip


def gone(project: Project) -> Iterator[Finding]:
    """Hooks, attributes and settings that Flask 3.1 has no longer."""
    table = known()
    for name, facts in _by_name(project.of("hook", "replaced", "overridden")).items():
        if name in table.gone:
            yield Finding("look", "gone", f"{name} is not in Flask 3.1 either", _places(facts), table.gone[name])
    for name, facts in _by_name(project.of("setting")).items():
        if name in table.settings:
            yield Finding("look", "setting", f"the setting {name}", _places(facts), table.settings[name])


def settings(project: Project) -> Iterator[Finding]:
    """Configuration: how it is read, and the one default that differs."""
    names = {fact.name for fact in project.of("setting")}
    sources = project.of("config")
    if names or sources:
        how = _listed(f"config.{fact.name}" for fact in sources)
        yield Finding(
            "runs", "config", "; ".join(filter(None, (f"settings made in code: {len(names)}" if names else "", how))), _places(sources)
        )
    uploads = project.of("upload")
    if uploads and not names & {"MAX_CONTENT_LENGTH", "MAX_BODY_SIZE"}:
        yield Finding(
            "look", "body-limit", "uploads, and no MAX_CONTENT_LENGTH: a body of more than 16 MiB is refused with 413, where Flask takes any",
            _places(uploads), "set MAX_CONTENT_LENGTH, or MAX_BODY_SIZE (None for no limit), or max_body= on the route",
        )  # fmt: skip


# -- time and threads -------------------------------------------------------------------------------


def waiting(project: Project) -> Iterator[Finding]:
    """Calls that wait: a reason for `async def` in a def view, a mistake in an async one."""
    table = known().waits
    waits: dict[tuple[str, str], list[Fact]] = {}
    blocks: list[tuple[Fact, str]] = []
    for fact in project.of("call"):
        name = next((name for name in table if fact.name == name or fact.name.startswith(f"{name}.")), None)
        if name is None:
            continue
        if fact.is_async:
            blocks.append((fact, table[name]))
        elif fact.is_view:
            waits.setdefault((fact.place.file, fact.within), []).append(fact)
    for (_, view), facts in waits.items():
        several = len(facts) > 1
        how = _listed(table[next(name for name in table if fact.name == name or fact.name.startswith(f"{name}."))] for fact in facts)
        yield Finding(
            "gains", "async-candidate", f"{view} waits for {_listed(fact.name for fact in facts)}", _places(facts),
            f"as `async def` with {how} it holds no thread while it waits" + ("; asyncio.gather lets it wait for all at once" if several else ""),
        )  # fmt: skip
    for fact, instead in blocks:
        yield Finding(
            "look", "blocks-the-loop", f"{fact.name} in the async def {fact.within} stops every other request of its worker", (fact.place,),
            f"await {instead}, or make the function a def: Carboy gives it a thread; in Flask it had one anyway",
        )  # fmt: skip
    loops = [fact for fact in project.of("call") if fact.name == "asyncio.run" or fact.name.endswith("run_until_complete")]
    in_views = [fact for fact in loops if fact.is_view and not fact.is_async]
    if in_views:
        yield Finding(
            "gains", "own-loop", f"{_listed(fact.within for fact in in_views)} makes an event loop of its own", _places(in_views),
            "as `async def` it awaits on the worker's loop",
        )  # fmt: skip
    events = project.of("events")
    if events:
        yield Finding(
            "gains", "event-stream", "a stream of events", _places(events),
            "behind a def view each open stream takes a thread while it waits for its next event; an async generator takes none",
        )  # fmt: skip
    patched = [fact for fact in project.of("call") if fact.name.endswith(("monkey.patch_all", "monkey_patch"))]
    if patched:
        yield Finding(
            "look", "monkey-patch", f"{patched[0].name} changes threads and sockets under the server", _places(patched),
            "leave it out under `carboy run`, whose threads and event loop do the same work",
        )  # fmt: skip


def shared(project: Project) -> Iterator[Finding]:
    """What lives in the process: globals that requests change, threads that they start."""
    for name, facts in _by_name(project.of("global")).items():
        yield Finding(
            "look", "global", f"{_listed(fact.within for fact in facts)} changes {name}, of which each worker has its own", _places(facts),
            "keep it in a database or a cache, or say `carboy run --workers 1`",
        )  # fmt: skip
    threads = [fact for fact in project.of("thread") if fact.is_view]
    if threads:
        yield Finding(
            "look", "thread", f"{_listed(fact.within for fact in threads)} starts a thread or process: it is outside the request, as in Flask", _places(threads),
            "pass it what it needs, or use copy_current_request_context; a worker that is replaced takes it along",
        )  # fmt: skip
    at_import = [fact for fact in project.of("thread") if not fact.within]
    if at_import:
        yield Finding(
            "look", "thread-at-import", "a thread or process starts with the import: once in each worker", _places(at_import),
            "start it in `app.lifespan`, or in a process of its own",
        )  # fmt: skip


def serving(project: Project) -> Iterator[Finding]:
    """How it was served."""
    runs = [fact for fact in project.of("run") if fact.name != "socketio"]
    if runs:
        yield Finding("runs", "app-run", "app.run() starts the development server when the file is run; commands pass over it", _places(runs))
    started = [fact for fact in project.of("run") if fact.name == "socketio"]
    if started:
        yield Finding("look", "socketio-run", "socketio.run() brings a server of its own", _places(started), "serve the app with `carboy run`")
    servers = project.of("server")
    if servers:
        yield Finding(
            "gains", "server", f"started by {_listed(fact.name for fact in servers)}", _places(servers),
            "goes on as it is; `carboy run` adds reload without a lost request, replacement of hanging workers, limits and deadlines",
        )  # fmt: skip


def requirements(project: Project) -> Iterator[Finding]:
    """Pins that do not go together with Carboy's own."""
    for fact in project.of("requirement"):
        pinned = re.search(r"(?:==|~=|<=?)\s*(\d+)(?:\.(\d+))?", fact.detail)
        if fact.name == "werkzeug" and pinned and (int(pinned[1]), int(pinned[2] or 0)) < (3, 1):
            yield Finding("look", "pin", f"Werkzeug{fact.detail} is required here", (fact.place,), "Carboy needs 3.1.3 or later, below 3.2; drop the pin")
        if fact.name == "flask" and pinned and (int(pinned[1]), int(pinned[2] or 0)) < (3, 1) and "<" not in fact.detail:
            yield Finding(
                "look", "old-flask", f"written for Flask{fact.detail}; Carboy behaves as 3.1 does", (fact.place,),
                "read Flask's own changes from there to 3.1; what this command knows of them is in this list",
            )  # fmt: skip


def unreadable(project: Project) -> Iterator[Finding]:
    """Files that could not be read."""
    for fact in project.of("unreadable"):
        yield Finding("look", "unreadable", f"could not be read: {fact.name}", (fact.place,), "a file of Python 2, perhaps; Carboy needs 3.11")


Rule = Callable[[Project], Iterator[Finding]]
RULES: tuple[Rule, ...] = (parts, flask_names, extensions, replaced, gone, settings, waiting, shared, serving, requirements, unreadable)
