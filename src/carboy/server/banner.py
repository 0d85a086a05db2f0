"""The first lines of `carboy run`: what is served, where, through which door, what another would trade, how to stop."""

from __future__ import annotations

import os
import sys

from .channel import Message
from .machine import processors
from .options import Options


def show(served: Message, target: str | None, options: Options, size: int, url: str, has_control: bool) -> None:
    print("\n".join(lines(served, target, options, size, url, has_control)), file=sys.stdout, flush=True)


def lines(served: Message, target: str | None, options: Options, size: int, url: str, has_control: bool) -> list[str]:
    """The text, a line an item."""
    found = []
    if served.get("routes") is not None:
        found.append(f"{served['routes']} routes")
        found.append(f"{served['sync_views']} def and {served['async_views']} async def views")
    if target and target != served["app"]:
        found.insert(0, target)
    what = f"Carboy serves {served['app']}" + (f" ({', '.join(found)})" if found else "")
    auto = f", as many as the machine gives ({processors()} processors)" if options.workers == 0 else ""
    return [
        what,
        f"  at    {url}  ·  {size} worker{'s' if size != 1 else ''}{auto}  ·  main process {os.getpid()}",
        f"  door  {door(served, options)}",
        *refused(served, options),
        "  stop  Ctrl-C" + ("  ·  carboy ctl status | reload | stop | scale N" if has_control else ""),
    ]


def refused(served: Message, options: Options) -> list[str]:
    """What this door cannot carry, though the application has it."""
    sockets = served.get("sockets")
    is_carried = options.fastcgi is None and options.interface == "asgi" and options.websockets
    if not sockets or is_carried:
        return []
    why = "--no-websockets" if options.interface == "asgi" and options.fastcgi is None else "this door, only by --interface asgi"
    return [f"  note  {sockets} WebSocket route{'s are' if sockets != 1 else ' is'} not served by {why}: every handshake is refused"]


def door(served: Message, options: Options) -> str:
    """The door in a line, with what the others would trade."""
    if options.fastcgi is not None:
        return "FastCGI, for a web server in front (nginx: fastcgi_pass)"
    match options.interface:
        case "wsgi":
            return (
                "WSGI: the fastest for def views, but only behind a proxy that buffers: uploads have no time limit here. "
                "--interface asgi is safe on the open internet."
            )
        case "rsgi":
            return (
                "RSGI: 8 to 15 % faster than ASGI for whole answers; streams have no back-pressure. "
                "--interface asgi streams safely and shows a broken body."
            )
        case _:
            plain = "ASGI: bounded streams, disconnects and broken bodies seen."
            if served.get("sockets") and options.websockets:
                return plain
            all_sync = served.get("async_views") == 0 and bool(served.get("sync_views"))
            trade = "--interface wsgi answers about 1.5 times as many def views, behind a buffering proxy only" if all_sync else (
                "--interface rsgi is 8 to 15 % faster for whole answers, without back-pressure on streams"
            )
            return f"{plain} {trade}."
