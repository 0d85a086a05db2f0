"""What the templates do to text: paragraphs and links, kind times, found words. Nothing here trusts its input."""

import re
from datetime import UTC, datetime

from carboy import Carboy
from jinja2.utils import urlize
from markupsafe import Markup, escape

FOUND, END_FOUND = "\x02", "\x03"  # around a found word, as search puts them; forms let no such signs in

LINE, BREAK = "\n", "<br>\n"
MINUTE, HOUR, DAY = 60, 3600, 86400


def init_app(app: Carboy) -> None:
    """Give the templates their filters."""
    app.add_template_filter(prose)
    app.add_template_filter(ago)
    app.add_template_filter(day)
    app.add_template_filter(found)
    app.add_template_filter(hue)


def prose(text: str) -> Markup:
    """Turn what somebody typed into paragraphs with links; a single line break stays one."""
    blocks = re.split(r"\n{2,}", urlize(text.strip(), rel="nofollow ugc"))  # urlize escapes all else
    return Markup("\n").join(Markup(f"<p>{block.replace(LINE, BREAK)}</p>") for block in blocks)


def ago(time: str) -> Markup:
    """Show how long ago this was; the exact time is in the element, for machines and for a long look."""
    moment = datetime.fromisoformat(time)  # so it is a time, and needs no escaping
    shown = how_long_ago(moment, datetime.now(UTC))
    return Markup(f'<time datetime="{time}" title="{moment:%-d %B %Y, %H:%M} UTC">{shown}</time>')


def how_long_ago(then: datetime, now: datetime) -> str:
    """Say the distance of two moments as people do.

    >>> how_long_ago(datetime(2026, 3, 14, 9, tzinfo=UTC), datetime(2026, 3, 14, 11, tzinfo=UTC))
    '2 h ago'
    """
    seconds = (now - then).total_seconds()
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min ago"
    if seconds < DAY:
        return f"{seconds // HOUR:.0f} h ago"
    if seconds < 2 * DAY:
        return "yesterday"
    if seconds < 14 * DAY:
        return f"{seconds // DAY:.0f} days ago"
    return f"{then:%-d %b}" if then.year == now.year else f"{then:%-d %b %Y}"


def day(time: str) -> Markup:
    """Show a date: 14 March 2026."""
    return Markup(f'<time datetime="{time}">{datetime.fromisoformat(time):%-d %B %Y}</time>')


def found(snippet: str) -> Markup:
    """Show a search result with the words that were found in it marked."""
    return Markup(str(escape(snippet)).replace(FOUND, "<mark>").replace(END_FOUND, "</mark>"))


def hue(name: str) -> int:
    """Choose one of eight colours for a name, always the same one."""
    return sum(name.lower().encode()) % 8
