"""Facts of who answers a rule, and where that is written."""

import functools
import os
import sys
from pathlib import Path

import click
import pytest

from carboy import Carboy
from carboy.cli.source import answerers_of, near, routes_of
from carboy.standard.views import Handler, MethodView, View


async def coroutine() -> str:
    return ""


class Both(MethodView):
    def get(self) -> str:
        return ""

    async def post(self) -> str:
        return ""


class Plain(View):
    async def dispatch_request(self) -> str:
        return ""


class Guarded(Handler):
    decorators = [lambda view: functools.wraps(view)(lambda **values: view(**values))]  # noqa: RUF012 - as users write it

    async def get(self) -> str:
        return ""


def told(view: object, *methods: str) -> list[tuple[str, str, str]]:
    return [(" ".join(each.methods), each.name, each.colour) for each in answerers_of(view, methods)]  # type: ignore[arg-type]


def test_a_function_answers_all_its_methods() -> None:
    """One answerer, in its colour."""
    assert told(coroutine, "POST", "GET") == [("GET POST", "coroutine", "async")]


def test_a_method_view_has_an_answerer_for_each_method() -> None:
    """HEAD goes with GET; OPTIONS, which nobody wrote, with the first."""
    assert told(Both.as_view("both"), "GET", "POST", "HEAD", "OPTIONS") == [
        ("GET HEAD OPTIONS", "Both.get", "sync"),
        ("POST", "Both.post", "async"),
    ]


def test_a_plain_class_view_answers_by_its_one_method() -> None:
    """`dispatch_request` has the colour of the plan."""
    assert told(Plain.as_view("plain"), "GET", "POST") == [("GET POST", "Plain.dispatch_request", "async")]


def test_a_decorated_class_view_has_the_decorators_colour() -> None:
    """What the engine calls is the decorator."""
    assert told(Guarded.as_view("guarded"), "GET") == [("GET", "Guarded.get", "sync")]


def test_a_rule_without_a_view_is_told_so() -> None:
    """A rule may be there for building URLs, or its view may come later."""
    app = Carboy("shop", static_folder=None)
    app.add_url_rule("/a", endpoint="a")

    ((answerer,),) = [route.answerers for route in routes_of(app)]

    assert answerer.name == "(no view)"


def test_places_are_relative_to_where_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the project from the working directory, one of a library from where it is imported."""
    monkeypatch.chdir(Path(__file__).parent)
    library = os.path.realpath(click.__file__)
    monkeypatch.setattr(sys, "path", [str(Path(library).parent.parent)])

    assert near(f"{__file__}:7") == "test_source.py:7"
    assert near(f"{library}:3") == os.path.join("click", "__init__.py") + ":3"
    assert near("(built in)") == "(built in)"
