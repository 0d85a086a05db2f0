"""The options as Markdown, for docs/production.md: made from the one definition, compared by a test."""

from __future__ import annotations

from .options import Field, Options


def options_table() -> str:
    """A heading and a table for each group."""
    parts = []
    for group, members in Options.groups().items():
        rows = [f"| `{each.flag}` | `{each.env}` | {shown(each)} | {each.help.replace('|', '/')} |" for each in members]
        parts.append("\n".join([f"### {group}", "", "| option | variable | default | |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def shown(each: Field) -> str:
    """A default as an operator would write it."""
    value = each.default
    match each.kind:
        case "switch":
            return "yes" if value else "no"
        case "workers":
            return "auto"
        case "octal" if isinstance(value, int):
            return f"{value:o}"
        case "seconds" if isinstance(value, float):
            return f"{value:g} s" if value else "off"
        case "bytes" if isinstance(value, int):
            return (f"{value >> 10}K" if value % 1024 == 0 else str(value)) if value else "off"
        case "share" if isinstance(value, float):
            return f"{value:.0%}"
    return "" if value is None else str(value)
