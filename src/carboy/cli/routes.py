"""`carboy routes`: every rule, who answers it, in which colour, and where that is written."""

import click

from .listing import Branch, show, table, tree
from .source import Answerer, Route, modules_of, routes_of
from .target import loaded, with_target

_COLUMNS = ("method", "rule", "endpoint", "colour", "where")


@click.command("routes", short_help="List the routes: method, rule, endpoint, colour, file:line.")
@click.option(
    "-s",
    "--sort",
    type=click.Choice((*_COLUMNS, "domain", "match")),
    default="rule",
    show_default=True,
    help="Sort by this column; 'match' is the order in which rules are tried.",
)
@click.option("--all-methods", is_flag=True, help="Show HEAD and OPTIONS too.")
@click.option("--tree", "as_tree", is_flag=True, help="Show module, URL, handler, file:line as a tree.")
@click.pass_context
def routes_command(ctx: click.Context, sort: str, all_methods: bool, as_tree: bool) -> None:
    """List the routes of the application.

    A class view has a line for each of its methods. The colour is that of the function which is called: 'sync' runs in
    a thread and may block, 'async' runs on the event loop.
    """
    app = loaded(ctx)
    routes = routes_of(app, all_methods=all_methods)
    if not routes:
        click.echo("No routes were registered.")
        return
    show(as_branches(routes) if as_tree else as_table(routes, sort, "Host" if app.url_map.host_matching else "Subdomain"))


routes_command = with_target(routes_command)


def as_table(routes: list[Route], sort: str, domain: str) -> list[str]:
    """One line for each function that answers a rule."""
    rows = [
        (" ".join(answerer.methods), route.domain, route.rule, route.endpoint, answerer.colour, answerer.where)
        for route in routes
        for answerer in route.answerers
    ]
    titles = ("Method", domain, "Rule", "Endpoint", "Colour", "Where")
    if sort != "match":
        column = 1 if sort == "domain" else titles.index(sort.capitalize())
        rows.sort(key=lambda row: (_by_line(row[column]) if sort == "where" else row[column], row[2], row[0]))
    return table(titles, rows)


def as_branches(routes: list[Route]) -> list[str]:
    """Module, then URL, then the functions that answer it."""
    modules = modules_of(routes)
    answerers = [answerer for rules in modules.values() for found in rules.values() for answerer in found]
    widths = [max(len(cell) for cell in column) for column in zip(*map(_cells, answerers), strict=True)]
    roots = []
    for module, rules in modules.items():
        root = Branch(module)
        for (domain, rule), found in sorted(rules.items()):
            branch = root.add(f"{domain} {rule}".strip())
            for answerer in found:
                cells = zip(_cells(answerer), widths, strict=True)
                branch.add("  ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())
        roots.append(root)
    return tree(roots)


def _cells(answerer: Answerer) -> tuple[str, str, str, str]:
    return " ".join(answerer.methods), answerer.name, answerer.colour, answerer.where


def _by_line(where: str) -> str:
    """Make lines sort as numbers."""
    path, _, line = where.rpartition(":")
    return f"{path}:{line:>9}"
