"""Facts of the commands of an application: the context they run in, and both colours."""

import asyncio

import click
import pytest
from click.testing import CliRunner

from carboy import Carboy, current_app
from carboy.core.commands import (
    AppGroup,
    ScriptInfo,
    get_debug_flag,
    get_load_dotenv,
    pass_script_info,
    with_appcontext,
)
from carboy.core.locate import NoAppException


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBUG", "SKIP_DOTENV", "APP"):
        monkeypatch.delenv(f"FLASK_{name}", raising=False)
        monkeypatch.delenv(f"CARBOY_{name}", raising=False)


def info(name: str = "shop") -> ScriptInfo:
    return ScriptInfo(create_app=lambda: Carboy(name))


def test_a_command_with_appcontext_sees_the_application() -> None:
    """A plain click command is given the context of the application it was started for."""

    @click.command()
    @click.option("--word", default="hello")
    @with_appcontext
    def greet(word: str) -> None:
        click.echo(f"{word} {current_app.name}")

    result = CliRunner().invoke(greet, ["--word", "hi"], obj=info())

    assert result.output == "hi shop\n"


def test_the_context_is_gone_after_the_command() -> None:
    """Nothing stays pushed for whoever comes next."""

    @click.command()
    @with_appcontext
    def greet() -> None:
        click.echo(current_app.name)

    CliRunner().invoke(greet, obj=info())

    assert not current_app


def test_an_active_context_is_used_as_it_is() -> None:
    """A command invoked inside a context loads nothing."""

    @click.command()
    @with_appcontext
    def greet() -> None:
        click.echo(current_app.name)

    with Carboy("outer").app_context():
        result = CliRunner().invoke(greet, obj=info("never"))

    assert result.output == "outer\n"


@pytest.mark.parametrize("bare", [True, False])
def test_commands_of_a_group_and_of_its_groups_have_the_context(bare: bool) -> None:
    """`group.command` wraps by itself, at every depth, with and without parentheses."""
    root = AppGroup("root")

    def show() -> None:
        click.echo(current_app.name)

    if bare:
        root.command(show)
        inner = root.group("inner")(lambda: None)
        inner.command(show)
    else:
        root.command("show")(show)
        inner = root.group("inner")(lambda: None)
        inner.command("show")(show)

    assert isinstance(inner, AppGroup)
    assert CliRunner().invoke(root, ["show"], obj=info()).output == "shop\n"
    assert CliRunner().invoke(root, ["inner", "show"], obj=info()).output == "shop\n"


def test_a_command_may_refuse_the_context() -> None:
    """`with_appcontext=False` loads no application."""
    root = AppGroup("root")

    @root.command(with_appcontext=False)
    def show() -> None:
        click.echo(bool(current_app))

    result = CliRunner().invoke(root, ["show"], obj=info())

    assert result.output == "False\n"


@pytest.mark.parametrize("with_context", [True, False])
def test_an_async_command_runs_to_its_end(with_context: bool) -> None:
    """An `async def` command awaits, sees the same context, and its value comes back."""
    root = AppGroup("root")

    @root.command(with_appcontext=with_context)
    @click.argument("word")
    async def show(word: str) -> str:
        await asyncio.sleep(0)
        return f"{word} {current_app.name if current_app else 'none'}"

    result = CliRunner().invoke(root, ["show", "x"], obj=info(), standalone_mode=False)

    assert result.return_value == ("x shop" if with_context else "x none")


def test_an_async_command_may_be_invoked_where_a_loop_runs() -> None:
    """From an async test the command takes a thread of its own, with both contexts."""
    root = AppGroup("root")

    @root.command()
    async def show() -> None:
        await asyncio.sleep(0)
        click.echo(f"{current_app.name} {click.get_current_context().info_name}")

    @root.command()
    async def fail() -> None:
        raise LookupError("from the thread")

    async def test() -> None:
        result = CliRunner().invoke(root, ["show"], obj=info())
        assert result.output == "shop show\n"
        result = CliRunner().invoke(root, ["fail"], obj=info())
        assert isinstance(result.exception, LookupError)

    asyncio.run(test())


def test_script_info_loads_its_application_once() -> None:
    """Every call gives the same object."""
    obj = info()

    assert obj.load_app() is obj.load_app()


def test_script_info_without_anything_to_load_says_so(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory leads to the teaching error, not to None."""
    monkeypatch.chdir(str(tmp_path))

    with pytest.raises(NoAppException, match="FLASK_APP"):
        ScriptInfo().load_app()


def test_a_factory_that_returns_nothing_is_told_so() -> None:
    """A forgotten return is the usual cause."""
    with pytest.raises(NoAppException, match="returned None"):
        ScriptInfo(create_app=lambda: None).load_app()


@pytest.mark.parametrize("set_flag", [True, False])
def test_the_debug_flag_follows_the_environment_unless_told_not_to(set_flag: bool) -> None:
    """A script of one's own may keep what its factory decided."""

    def create_app() -> Carboy:
        app = Carboy("shop")
        app.debug = True
        return app

    assert ScriptInfo(create_app=create_app, set_debug_flag=set_flag).load_app().debug is not set_flag


@pytest.mark.parametrize(
    ("value", "flag"), [("", False), ("0", False), ("False", False), ("No", False), ("1", True), ("True", True)]
)
def test_the_debug_flag_is_read_from_either_name(monkeypatch: pytest.MonkeyPatch, value: str, flag: bool) -> None:
    """CARBOY_DEBUG outranks FLASK_DEBUG; both read 0, false and no as off."""
    monkeypatch.setenv("FLASK_DEBUG", value)
    assert get_debug_flag() is flag

    monkeypatch.setenv("FLASK_DEBUG", "0" if flag else "1")
    monkeypatch.setenv("CARBOY_DEBUG", value)
    assert get_debug_flag() is flag


@pytest.mark.parametrize(("value", "loads"), [(None, True), ("", True), ("1", False), ("true", False), ("0", True), ("no", True)])
def test_dotenv_files_can_be_skipped_by_the_environment(monkeypatch: pytest.MonkeyPatch, value: str | None, loads: bool) -> None:
    """FLASK_SKIP_DOTENV=1 turns the loading off; a false value leaves it on."""
    if value is not None:
        monkeypatch.setenv("FLASK_SKIP_DOTENV", value)

    assert get_load_dotenv() is loads


def test_pass_script_info_gives_the_info_first() -> None:
    """A command may ask for what the command line knows instead of the application."""

    @click.command()
    @pass_script_info
    def show(script: ScriptInfo) -> None:
        click.echo(script.data["word"])

    obj = info()
    obj.data["word"] = "kept"

    assert CliRunner().invoke(show, obj=obj).output == "kept\n"
