"""Jinja: the environment of an app, the loader that knows its blueprints, and rendering.

Rendering is a plain call in both colours: Jinja's `enable_async` costs 70 % and stays off. No signal is sent without
receivers. A template that is missing says where it was looked for and which name comes near.
"""

from __future__ import annotations

import difflib
import os
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

import jinja2
from jinja2 import BaseLoader, Template, TemplateNotFound, TemplatesNotFound, TemplateSyntaxError
from jinja2.environment import TemplateModule
from jinja2.runtime import Context as JinjaContext
from jinja2.runtime import new_context
from jinja2.utils import internalcode, missing
from markupsafe import Markup, escape
from werkzeug.local import LocalProxy

from ..core import flash
from ..core.ctx import Context, app_var, request_var
from ..extend import Fitting
from ..pipeline.signals import before_render_template, template_rendered

try:
    from markupsafe import _escape_inner as _escaped  # type: ignore[attr-defined]  # what `escape` does to a plain text
except ImportError:
    _escaped = escape

#: Endings of the files whose values are escaped.
ESCAPED = (".html", ".htm", ".xml", ".xhtml", ".svg")

# The guests' proxies are above this floor; templates get their own, on the same variables.
_request: Any = LocalProxy(request_var, "request", unbound_message="Working outside of request context: the template asks for `request`.")
_session: Any = LocalProxy(request_var, "session", unbound_message="Working outside of request context: the template asks for `session`.")
_g: Any = LocalProxy(app_var, "g", unbound_message="Working outside of application context: the template asks for `g`.")

# What jinja calls a loaded source: the text, its file, whether it is up to date.
_Source = tuple[str, "str | None", "Callable[[], bool] | None"]


def written(value: Any) -> str:
    """What ``{{ value }}`` becomes where values are escaped: text that is only joined to the text around it.

    PERF: markupsafe's `escape` makes a Markup, by a function in Python, for a join that does not look at it: 0.1 to 0.3 µs
    for 0.6 to 1.6, and a page has dozens.
    """
    kind = type(value)
    if kind is str:
        return _escaped(value)
    if kind is Markup:
        return cast(str, value)
    return escape(value)


class PlainCalls(JinjaContext):
    """What a rendering sees.

    PERF: before a call Jinja asks six times whether the callable wants the context for its first argument. Functions and
    methods tell by one attribute: 0.7 µs for 2.1.
    """

    @internalcode
    def call(self, wanted: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call something for a template."""
        kind = type(wanted)
        if (kind is MethodType or kind is FunctionType) and not hasattr(wanted, "jinja_pass_arg"):
            if kwargs:
                # Jinja tells these to each call that stands in a loop or a block.
                kwargs.pop("_block_vars", None)
                kwargs.pop("_loop_vars", None)
            try:
                return wanted(*args, **kwargs)
            except StopIteration:
                # A template is a generator: StopIteration would end it (PEP 479).
                return self.environment.undefined(f"{wanted!r} raised StopIteration, so there is no value")
        return super().call(wanted, *args, **kwargs)


class PreparedTemplate(Template):
    """Jinja's template, whose globals become a dict at once before each rendering.

    PERF: they are a ChainMap, which Jinja copies twice a rendering, name by name in Python. A page of twelve
    rows takes 15 % fewer instructions (484,900 to 411,600).
    """

    @classmethod
    def from_code(
        cls,
        environment: jinja2.Environment,
        code: CodeType,
        globals: MutableMapping[str, Any],  # Jinja's name
        uptodate: Callable[[], bool] | None = None,
    ) -> Template:
        """Make a template of compiled code, which then writes values with `written`."""
        template = super().from_code(environment, code, globals, uptodate)
        # Of all names of Jinja's code this one stands only around what is written.
        template.root_render_func.__globals__["escape"] = written
        return template

    def new_context(
        self, vars: dict[str, Any] | None = None, shared: bool = False, locals: Mapping[str, Any] | None = None  # Jinja's names
    ) -> JinjaContext:
        """What a rendering sees."""
        names = self.globals
        if type(names) is ChainMap:
            flat: dict[str, Any] = {}
            for each in reversed(names.maps):
                flat.update(each)
            names = flat
        return new_context(self.environment, self.name, self.blocks, vars, shared, names, locals)

    def _get_default_module(self, ctx: JinjaContext | None = None) -> TemplateModule:
        """What `{% import %}` and `{% from %}` get: the template's module, made once.

        PERF: a rendering may know globals that the imported template does not, which Jinja looks for name by name: 0.4 µs for 7.5.
        """
        if ctx is not None and self._module is not None:
            names = self.globals
            known = names.maps if type(names) is ChainMap else (names,)
            if not ctx.globals_keys.difference(*known):
                return self._module
        return super()._get_default_module(ctx)


class Environment(jinja2.Environment):
    """Jinja's environment, with the app's templates behind it.

    Args:
        app: gives the loader unless the options do.
        options: Jinja's.
    """

    template_class = PreparedTemplate
    context_class = PlainCalls

    def __init__(self, app: Any, **options: Any) -> None:
        if "loader" not in options:
            options["loader"] = app.create_global_jinja_loader()
        super().__init__(**options)
        self.app = app

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What ``obj.attribute`` is in a template: the attribute, or else the item of that name.

        PERF: a row of a database, or a dict, has no such attribute; asking with a default makes no exception: 0.2 µs for 1.3.
        """
        value = getattr(obj, attribute, missing)
        if value is not missing:
            return value
        try:
            return obj[attribute]
        except (TypeError, LookupError, AttributeError):
            return self.undefined(obj=obj, name=attribute)

    def select_template(
        self,
        names: Iterable[str | Template],
        parent: str | None = None,
        globals: MutableMapping[str, Any] | None = None,  # Jinja's name
    ) -> Template:
        """The first template there is of several."""
        try:
            return super().select_template(names, parent, globals)
        except TemplatesNotFound as error:
            if isinstance(self.loader, DispatchingJinjaLoader) and error.templates:
                raise MissingTemplates(error.templates, self.loader) from None
            raise


class DispatchingJinjaLoader(BaseLoader):
    """Looks for a template in the app's own, then in those of its blueprints, in order of registration."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def get_source(self, environment: jinja2.Environment, template: str) -> _Source:
        """The source of a template, from the first loader that has it.

        Raises:
            TemplateNotFound: none has.
        """
        if self.app.config["EXPLAIN_TEMPLATE_LOADING"]:
            return self._get_source_explained(environment, template)
        for _, loader in self._iter_loaders(template):
            try:
                return loader.get_source(environment, template)
            except TemplateNotFound:
                continue
        raise MissingTemplate(template, self)

    def _get_source_explained(self, environment: jinja2.Environment, template: str) -> _Source:
        attempts: list[tuple[BaseLoader, Any, _Source | None]] = []
        found: _Source | None = None
        for owner, loader in self._iter_loaders(template):
            try:
                source = loader.get_source(environment, template)
            except TemplateNotFound:
                source = None
            found = found or source
            attempts.append((loader, owner, source))
        explain_template_loading_attempts(self.app, template, attempts)
        if found is None:
            raise MissingTemplate(template, self)
        return found

    def _iter_loaders(self, template: str | None = None) -> Iterator[tuple[Any, BaseLoader]]:
        """Pairs of an app or blueprint and its loader, in the order in which they are asked."""
        loader = self.app.jinja_loader
        if loader is not None:
            yield self.app, loader
        for blueprint in self.app.iter_blueprints():
            loader = blueprint.jinja_loader
            if loader is not None:
                yield blueprint, loader

    def list_templates(self) -> list[str]:
        """The names of all templates."""
        return sorted({name for _, loader in self._iter_loaders() for name in loader.list_templates()})

    def describe_search(self, names: Sequence[str]) -> str:
        """Where templates are looked for, and which there are under names like these."""
        lines = ["It was looked for in:" if len(names) == 1 else "They were looked for in:"]
        known: set[str] = set()
        for owner, loader in self._iter_loaders():
            lines.append(f"  {_owner_text(self.app, owner)}: {_place_text(loader)}")
            try:
                known.update(loader.list_templates())
            except TypeError:
                pass  # Jinja's way to say that a loader cannot list what it has
        if len(lines) == 1:
            lines = ["Neither the app nor a blueprint has a template folder."]
        near = [name for wanted in names for name in _nearest(wanted, known)]
        if near:
            lines.append(f"Did you mean {' or '.join(map(repr, dict.fromkeys(near)))}?")
        return "\n".join(lines)


class _Taught:
    """The text of a missing template, made when somebody reads it: it lists folders, and `ignore missing` does not."""

    _lesson: str | None = None
    _first_line: str | None
    _loader: DispatchingJinjaLoader
    templates: list[Any]

    @property
    def message(self) -> str | None:
        """The name, where it was looked for, and the nearest name there is."""
        if self._lesson is None:
            names = [name for name in self.templates if isinstance(name, str)]
            self._lesson = f"{self._first_line}\n{self._loader.describe_search(names)}"
        return self._lesson

    @message.setter
    def message(self, first_line: str | None) -> None:
        self._first_line = first_line


class MissingTemplate(_Taught, TemplateNotFound):
    """Jinja's TemplateNotFound, with a text that teaches; `name` is what was asked for."""

    def __init__(self, name: str, loader: DispatchingJinjaLoader) -> None:
        TemplateNotFound.__init__(self, name)
        self._loader = loader


class MissingTemplates(_Taught, TemplatesNotFound):
    """Jinja's TemplatesNotFound, with a text that teaches."""

    def __init__(self, names: Sequence[Any], loader: DispatchingJinjaLoader) -> None:
        TemplatesNotFound.__init__(self, names)
        self._loader = loader


def _nearest(wanted: str, known: Iterable[str]) -> list[str]:
    """The existing names most like one that does not: another folder, or a typing error."""
    same_file = [name for name in known if os.path.basename(name) == os.path.basename(wanted)]
    return sorted(same_file)[:3] or difflib.get_close_matches(wanted, list(known), 1)


def _owner_text(app: Any, owner: Any) -> str:
    # FLASK: the words are those of test_template_loader_debugging.
    if owner is app:
        return f"application {owner.import_name!r}"
    return f"blueprint {owner.name!r} ({owner.import_name})"


def _place_text(loader: BaseLoader) -> str:
    folders = getattr(loader, "searchpath", None)
    if folders is None:
        return repr(loader)
    return ", ".join(f"{folder}{'' if os.path.isdir(folder) else ' (there is no such folder)'}" for folder in folders)


def explain_template_loading_attempts(
    app: Any, template: str, attempts: Sequence[tuple[BaseLoader, Any, _Source | None]]
) -> None:
    """Log where a template was looked for; on with the config's `EXPLAIN_TEMPLATE_LOADING`.

    Args:
        app: whose logger is used.
        template: the name.
        attempts: a loader, the app or blueprint it belongs to, and the source it gave or None; in order.
    """
    lines = [f"Locating template {template!r}:"]
    found = 0
    for number, (loader, owner, source) in enumerate(attempts, 1):
        lines.append(f"{number:5}: trying loader of {_owner_text(app, owner)}")
        lines.append(f"       {type(loader).__module__}.{type(loader).__name__}: {_place_text(loader)}")
        if source is None:
            lines.append("       -> no match")
        else:
            found += 1
            lines.append(f"       -> found ({source[1] or '<string>'!r})")
    ctx = request_var.get(None)
    blueprint = getattr(ctx.request, "blueprint", None) if ctx is not None else None
    if not found:
        lines.append("Error: the template could not be found.")
    elif found > 1:
        lines.append("Warning: several loaders have a template of that name; the first one is used.")
    if found != 1 and blueprint is not None:
        # FLASK: the words and the address are those of test_template_loader_debugging.
        lines.append(f"  The template was looked up from an endpoint that belongs to the blueprint {blueprint!r}.")
        lines.append("  Maybe it was not placed in the right folder?")
        lines.append("  See https://flask.palletsprojects.com/blueprints/#templates")
    app.logger.info("\n".join(lines))


def create_environment(app: Any) -> Environment:
    """Make the environment of an app; what `app.create_jinja_environment` does."""
    options = dict(app.jinja_options)
    options.setdefault("autoescape", app.select_jinja_autoescape)
    if "auto_reload" not in options:
        auto_reload = app.config["TEMPLATES_AUTO_RELOAD"]
        options["auto_reload"] = app.debug if auto_reload is None else auto_reload
    environment = app.jinja_environment(app, **options)
    environment.globals.update(
        url_for=app.url_for,
        get_flashed_messages=_get_flashed_messages,
        config=app.config,
        # In the context of a template stand the things themselves; imported templates see only these.
        request=_request,
        session=_session,
        g=_g,
    )
    environment.policies["json.dumps_function"] = app.json.dumps
    return cast(Environment, environment)


def select_autoescape(filename: str | None) -> bool:
    """Whether values are escaped in a template of that name; in one made of a string (None) they are."""
    return filename is None or filename.endswith(ESCAPED)


def _get_flashed_messages(with_categories: bool = False, category_filter: Iterable[str] = ()) -> list[Any]:
    """The messages flashed for this page; as the guests' function of that name."""
    ctx = request_var.get(None)
    if ctx is None:
        raise RuntimeError("Working outside of request context: the template asks for flashed messages.")
    return flash.get_flashed_messages(ctx, with_categories, category_filter)


def update_context(app: Any, ctx: Context | None, context: dict[str, Any]) -> None:
    """Add to a template's values what Flask's templates have, and what context processors give.

    Args:
        app: whose processors are asked: those for all, then those of the request's blueprints, outermost first.
        ctx: the current context; None outside one.
        context: edited in place; what it has already wins.
    """
    requested = request_var.get(None)
    processors = app.template_context_processors
    given = context.copy() if processors else None
    if ctx is not None:
        context.setdefault("g", ctx.g)
    if requested is not None:
        context.setdefault("request", requested.request)
    if given is None:
        return
    names: list[str | None] = [None]
    if requested is not None:
        names += reversed(cast(Any, requested.request).blueprints)
    for name in names:
        # Not by index: the registry is a defaultdict, and a render must not add to it.
        for processor in processors.get(name, ()):
            context.update(app.ensure_sync(processor)())
    context.update(given)


def render(ctx: Context, name_or_list: str | Template | list[str | Template], context: dict[str, Any]) -> str:
    """Render a template, or the first there is of several.

    Args:
        ctx: the current context.
        name_or_list: a name, a template, or a list of either.
        context: the template's values; edited.

    Raises:
        TemplateNotFound: there is none; its text says where it was looked for.
    """
    app: Any = ctx.app
    return _render(app, app.jinja_env.get_or_select_template(name_or_list), context)


def render_string(ctx: Context, source: str, context: dict[str, Any]) -> str:
    """Render a template given as text; its values are escaped."""
    app: Any = ctx.app
    return _render(app, app.jinja_env.from_string(source), context)


def stream(ctx: Context, name_or_list: str | Template | list[str | Template], context: dict[str, Any]) -> Iterator[str]:
    """Render a template piece by piece; return it from a view.

    The request's context is current while a piece is made, and ends with the stream.
    """
    app: Any = ctx.app
    return _stream(app, ctx, app.jinja_env.get_or_select_template(name_or_list), context)


def stream_string(ctx: Context, source: str, context: dict[str, Any]) -> Iterator[str]:
    """Render a template given as text piece by piece."""
    app: Any = ctx.app
    return _stream(app, ctx, app.jinja_env.from_string(source), context)


def get_attribute(app: Any, template_name: str, attribute: str) -> Any:
    """A macro or variable that a template exports, for use in Python."""
    return getattr(app.jinja_env.get_template(template_name).module, attribute)


# FLASK: extensions import this name and call it so.
def _render(app: Any, template: Template, context: dict[str, Any]) -> str:
    app.update_template_context(context)
    if before_render_template.receivers:
        before_render_template.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)
    text = template.render(context)
    if template_rendered.receivers:
        template_rendered.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)
    return text


def _stream(app: Any, ctx: Context, template: Template, context: dict[str, Any]) -> Iterator[str]:
    app.update_template_context(context)
    if before_render_template.receivers:
        before_render_template.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)

    def pieces() -> Iterator[str]:
        yield from template.generate(context)
        if template_rendered.receivers:
            template_rendered.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)

    requested = request_var.get(None)
    if requested is None:
        return pieces()
    held = _in_context(requested, pieces())
    next(held)  # from here on the context is held, and released however the stream ends
    return cast(Iterator[str], held)


def _in_context(ctx: Context, pieces: Iterator[str]) -> Iterator[str | None]:
    """First None, then *pieces*, each made with *ctx* current: a stream is read after the view has returned."""
    ctx.hold()
    error: BaseException | None = None
    try:
        yield None
        while True:
            # Pushed anew for each piece: the next one may be asked for in another thread.
            ctx.push()
            try:
                piece = next(pieces, None)
            finally:
                ctx.pop(None)
            if piece is None:
                return
            yield piece
    except Exception as exc:
        error = exc
        raise
    finally:
        ctx.release(error)


class Templating:
    """The equipment: checks at start-up that every template compiles."""

    name = "templating"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare the check."""
        fit.check("syntax", check_syntax)


def check_syntax(app: Any) -> str | None:
    """What is wrong with the app's templates: each syntax error with its file and line; None if nothing is."""
    environment = app.jinja_env
    mistakes = []
    try:
        names = environment.list_templates()
    except TypeError:
        return None  # the guest's own loader cannot list what it has
    for name in names:
        if not name.endswith((*ESCAPED, ".txt", ".j2", ".jinja", ".jinja2")):
            continue  # a picture or an archive in the folder is nobody's template
        try:
            environment.compile(environment.loader.get_source(environment, name)[0], name)
        except TemplateSyntaxError as error:
            mistakes.append(f"{name}:{error.lineno}: {error.message}")
        except (UnicodeDecodeError, TemplateNotFound) as error:
            mistakes.append(f"{name}: cannot be read: {error}")
    return f"templates do not compile: {'; '.join(mistakes)}" if mistakes else None
