"""Facts of finding the application: by a target, by what lies in the directory, and how each failure teaches."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from carboy import Blueprint, Carboy
from carboy.core.cycle import find_cycle
from carboy.core.locate import (
    NoAppException,
    find_app,
    find_app_by_string,
    find_best_app,
    is_application,
    locate_app,
    prepare_import,
    split_target,
)

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that writes a file of a project; the project is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def module(**names: object) -> ModuleType:
    made = ModuleType("shop")
    vars(made).update(names)
    return made


def refused(target: str | None) -> str:
    with pytest.raises(NoAppException) as caught:
        find_app(target)
    return caught.value.message


# What is an application


def test_an_app_object_is_an_application_and_a_blueprint_or_the_class_is_none() -> None:
    """Only an instance that can be called as WSGI counts."""
    assert is_application(Carboy("shop"))
    assert not is_application(Blueprint("b", "shop"))
    assert not is_application(Carboy)


def test_the_proxy_of_the_current_application_does_not_count() -> None:
    """A module that imports current_app has not two applications while a context is active."""
    from carboy import current_app

    app = Carboy("shop")

    with app.app_context():
        assert find_best_app(module(proxy=current_app, mine=app)) is app


# The best application of a module


@pytest.mark.parametrize("name", ["app", "application", "anything"])
def test_an_app_is_found_by_its_usual_names_or_because_it_is_the_only_one(name: str) -> None:
    """`app` and `application` come first; any other name does if it is alone."""
    app = Carboy("shop")

    assert find_best_app(module(**{name: app})) is app


def test_app_outranks_other_applications() -> None:
    """A module with several applications means the one called `app`."""
    app = Carboy("shop")

    assert find_best_app(module(admin=Carboy("admin"), app=app)) is app


def test_one_app_under_two_names_is_one_app() -> None:
    """The same object bound twice is no choice to make."""
    app = Carboy("shop")

    assert find_best_app(module(site=app, wsgi=app)) is app


@pytest.mark.parametrize("name", ["create_app", "make_app"])
def test_a_factory_is_called_when_there_is_no_app(name: str) -> None:
    """The usual names of factories are tried without arguments."""

    def factory(debug: bool = False) -> Carboy:
        return Carboy("made")

    assert find_best_app(module(**{name: factory})).name == "made"


def test_several_apps_are_named_in_the_refusal() -> None:
    """The user reads the targets to choose from."""
    with pytest.raises(NoAppException, match=r"'shop:one' or 'shop:two'"):
        find_best_app(module(one=Carboy("one"), two=Carboy("two")))


def test_a_factory_that_needs_arguments_is_told_how_to_get_them() -> None:
    """What is missing and how to give it stand in one message."""

    def create_app(config: str) -> Carboy:
        return Carboy(config)

    with pytest.raises(NoAppException, match=r"'config'[\s\S]*shop:create_app\(…\)"):
        find_best_app(module(create_app=create_app))


def test_a_type_error_inside_a_factory_is_the_factorys_own() -> None:
    """Only a wrong call is explained; an error inside passes as it is."""

    def create_app() -> Carboy:
        raise TypeError("bad bad factory!")

    with pytest.raises(TypeError, match="bad bad factory"):
        find_best_app(module(create_app=create_app))


def test_an_async_factory_is_refused_with_the_remedy() -> None:
    """No loop runs while the application is made, so the message points to the lifespan."""

    async def create_app() -> Carboy:
        return Carboy("never")

    with pytest.raises(NoAppException, match="lifespan"):
        find_best_app(module(create_app=create_app))


# By a string


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app", "shop"),
        ("create", "made"),
        ("create()", "made"),
        (" create ( ) ", "made"),
        ("create('x')", "x"),
        ("create('x', )", "x"),
        ("create(name='y')", "y"),
        ("Subclass('z')", "z"),
    ],
)
def test_a_string_names_a_variable_a_factory_or_a_call(text: str, name: str) -> None:
    """Arguments are Python literals; white space does not matter."""

    class Subclass(Carboy):
        pass

    def create(name: str = "made") -> Carboy:
        return Carboy(name)

    shop = module(app=Carboy("shop"), create=create, Subclass=Subclass)

    assert find_app_by_string(shop, text).name == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("create_app(", "neither a name nor a call"),
        ("a.b", "neither a plain name nor a call"),
        ("create(x)", "not Python literals"),
        ("create(**{'a': 1})", "not Python literals"),
        ("create(1, 2)", r"too many positional arguments[\s\S]*create\(name: str = 'made'\)"),
        ("nothing", r"no 'nothing' in module 'shop'"),
        ("creat", "Did you mean 'create'"),
        ("number", "gives no application but a builtins.int"),
        ("number()", "leave out the parentheses"),
        ("empty", "None .does the factory return"),
        ("Cls", "the class"),
    ],
)
def test_a_string_that_leads_to_no_app_is_explained(text: str, says: str) -> None:
    """Each way to go wrong has its own words."""

    def create(name: str = "made") -> Carboy:
        return Carboy(name)

    def empty() -> None:
        return None

    shop = module(create=create, number=3, empty=empty, Cls=Carboy)

    with pytest.raises(NoAppException, match=says):
        find_app_by_string(shop, text)


# Paths


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("shop", ("shop", None)),
        ("shop.web:app", ("shop.web", "app")),
        ('shop:create_app("a:b")', ("shop", 'create_app("a:b")')),
        ("/srv/shop/app.py:app", ("/srv/shop/app.py", "app")),
    ],
)
def test_a_target_is_split_at_its_first_colon(target: str, parts: tuple[str, str | None]) -> None:
    """The name may have colons of its own."""
    assert split_target(target) == parts


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("test", "", "test"),
        ("test.py", "", "test"),
        ("a/test", "a", "test"),
        ("pkg/__init__.py", "", "pkg"),
        ("pkg/inner/__init__", "", "pkg.inner"),
        ("pkg/inner/web.py", "", "pkg.inner.web"),
        ("test.a.b", "", "test.a.b"),
    ],
)
def test_a_path_becomes_a_module_name_and_a_directory_to_import_from(
    write: Write, tmp_path: Path, path: str, folder: str, name: str
) -> None:
    """Packages are climbed out of; the directory above the outermost goes first in sys.path."""
    write("pkg/__init__.py", "")
    write("pkg/inner/__init__.py", "")

    assert prepare_import(path) == name
    assert Path(sys.path[0]) == (tmp_path / folder).resolve()


def test_wsgi_py_then_app_py_are_found_in_the_working_directory(write: Write) -> None:
    """Without a target the two usual files are tried, wsgi.py first."""
    write("app.py", "from carboy import Carboy\napp = Carboy('from-app')")
    assert find_app().name == "from-app"

    write("wsgi.py", "from carboy import Carboy\napplication = Carboy('from-wsgi')")
    assert find_app().name == "from-wsgi"


@pytest.mark.parametrize(
    "target", ["shop", "shop/", "shop/__init__.py", "shop.web", "shop/web.py", "shop.web:create_app", 'shop.web:create_app("x")']
)
def test_a_package_is_found_by_name_by_folder_and_by_file(write: Write, target: str) -> None:
    """Every spelling of the same application leads to it."""
    write("shop/__init__.py", "from carboy import Carboy\n\ndef create_app(name='made'):\n    return Carboy(name)")
    write("shop/web.py", "from . import create_app")

    assert find_app(target).name in {"made", "x"}


def test_a_project_folder_means_the_usual_file_in_it(write: Write) -> None:
    """A folder that is no package is looked into for wsgi.py and app.py."""
    write("examples/board/app.py", "from carboy import Carboy\napp = Carboy('board')")

    assert find_app("examples/board").name == "board"
    assert find_app("examples/board:app").name == "board"


def test_no_target_and_no_usual_file_names_the_folder_and_the_ways_to_say_it(write: Write, tmp_path: Path) -> None:
    """The refusal names both environment variables and the option."""
    text = refused(None)

    assert str(tmp_path) in text
    assert "FLASK_APP" in text and "CARBOY_APP" in text and "--app" in text


def test_a_missing_module_is_told_with_the_nearest_name(write: Write) -> None:
    """A misspelt file is guessed from the files that are there."""
    write("shoplift.py", "")

    text = refused("shoplit")

    assert text.startswith("Could not import 'shoplit'")
    assert "Did you mean 'shoplift'?" in text


def test_a_missing_module_may_be_left_to_the_caller(write: Write) -> None:
    """Only the module's own absence is passed over, not an error inside it."""
    write("broken.py", "import does_not_exist")

    assert locate_app("nothing_here", None, raise_if_not_found=False) is None
    assert locate_app("nothing.here", None, raise_if_not_found=False) is None
    with pytest.raises(NoAppException):
        locate_app("broken", None, raise_if_not_found=False)


def test_a_package_without_app_points_to_the_file_that_has_one(write: Write) -> None:
    """The usual file inside a package is offered, not taken."""
    write("shop/__init__.py", "")
    write("shop/app.py", "")

    assert "did you mean 'shop.app'?" in refused("shop")


def test_an_import_error_inside_the_module_shows_its_own_lines_and_keeps_the_cause(write: Write) -> None:
    """The user's file and line are shown, ours and importlib's are not."""
    write("shop.py", "import helper_of_shop")
    write("helper_of_shop.py", "\nimport not_installed_at_all")

    with pytest.raises(NoAppException) as caught:
        find_app("shop")

    text = caught.value.message
    assert "helper_of_shop.py:2" in text
    assert "locate.py" not in text and "importlib" not in text
    assert "install what provides 'not_installed_at_all'" in text
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_missing_part_of_an_installed_package_is_no_matter_of_installing(write: Write) -> None:
    """The package is there; its version or the name is wrong."""
    write("shop.py", "import click.not_there")

    text = refused("shop")

    assert "has no 'click.not_there'" in text
    assert "install" not in text


def test_a_syntax_error_names_file_and_line(write: Write) -> None:
    """A typing mistake needs no traceback through the command line."""
    write("shop.py", "x = 1\ndef y(:\n")

    with pytest.raises(NoAppException, match=r"SyntaxError in shop\.py:2") as caught:
        find_app("shop")

    assert isinstance(caught.value.__cause__, SyntaxError)


def test_another_error_inside_the_module_passes_as_it_is(write: Write) -> None:
    """The project's own exceptions are not ours to dress."""
    write("shop.py", "1 / 0")
    write("other.py", "None.attribute")

    with pytest.raises(ZeroDivisionError):
        find_app("shop")
    with pytest.raises(AttributeError):
        find_app("other")


def test_a_file_whose_name_is_taken_is_refused(write: Write) -> None:
    """A file called like an imported module would silently load the other one."""
    write("json.py", "from carboy import Carboy\napp = Carboy('mine')")

    assert "Rename your file" in refused("json.py")


# Circular imports


def test_a_circular_import_names_both_lines_and_the_line_to_move(write: Write) -> None:
    """The classic: the application imports its views, the views import the application."""
    write("shop/__init__.py", "from carboy import Carboy\nfrom .views import page\n\napp = Carboy(__name__)\n")
    write("shop/views.py", "\nfrom shop import app\n\npage = app\n")

    text = refused("shop")

    assert "shop/__init__.py:2" in text and "from .views import page" in text
    assert "shop/views.py:2" in text and "from shop import app" in text
    assert "shop/__init__.py:4" in text and "'app' is made only here" in text
    assert "move the import of shop/__init__.py:2 below line 4" in text


def test_a_circular_import_by_attribute_is_seen_too(write: Write) -> None:
    """`import a` and `a.x` inside a ring raise AttributeError, which is the same mistake."""
    write("ring_a.py", "import ring_b\nx = 1\n")
    write("ring_b.py", "import ring_a\ny = ring_a.x\n")

    text = refused("ring_a")

    assert "ring_a.py:1" in text
    assert "ring_b.py:2" in text


def test_a_ring_of_three_is_told_whole(write: Write) -> None:
    """Every import of the chain stands in its order."""
    write("one.py", "from two import b\na = 1\n")
    write("two.py", "from three import c\nb = 1\n")
    write("three.py", "from one import a\nc = 1\n")

    with pytest.raises(NoAppException) as caught:
        find_app("one")

    cycle = find_cycle(caught.value.__cause__ or caught.value)
    assert cycle is not None
    assert [place.where for place in cycle.chain] == ["one.py:1", "two.py:1", "three.py:1"]
    assert cycle.made is not None
    assert cycle.made.where == "one.py:2"


def test_a_ring_entered_from_outside_begins_where_it_closes(write: Write) -> None:
    """The file that only leads into the ring is not blamed."""
    write("start.py", "import one\n")
    write("one.py", "from two import b\na = 1\n")
    write("two.py", "from one import a\nb = 1\n")

    text = refused("start")

    assert "start.py" not in text.partition("Circular import")[2]


def test_a_name_that_is_made_nowhere_is_told_so(write: Write) -> None:
    """Moving lines would not help; the name is wrong."""
    write("one.py", "from two import b\n")
    write("two.py", "from one import never_made\nb = 1\n")

    assert "makes no 'never_made' at its top level" in refused("one")


def test_other_errors_are_no_cycle() -> None:
    """Only Python's own words for it count, on the errors that carry them."""
    assert find_cycle(ImportError("cannot import name 'x' from 'y'")) is None
    assert find_cycle(RuntimeError("partially initialized module 'x'")) is None
    assert find_cycle(ImportError("partially initialized module 'x'")) is None  # never raised: no place


def test_a_value_that_only_has_a_wsgi_app_is_no_application() -> None:
    """Having one attribute of an application is not being one."""
    assert not is_application(SimpleNamespace(wsgi_app=print))
