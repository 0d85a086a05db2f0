"""Blueprint: a part of an application, declared on its own and registered on an app, or on another blueprint, any
number of times under different names and prefixes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from typing import IO, Any, TypeVar

from .ctx import app_var
from .errors import DuplicateBlueprint, SetupFinished
from .scaffold import Scaffold, _sentinel, endpoint_of, setupmethod

F = TypeVar("F", bound=Callable[..., Any])
Deferred = Callable[["BlueprintSetupState"], Any]


class BlueprintSetupState:
    """One registration of a blueprint: where it goes, and how its rules are to be changed on the way.

    Args:
        blueprint: what is registered.
        app: where it is registered.
        options: `url_prefix`, `subdomain`, `url_defaults`, `name`, `name_prefix`.
        first_registration: whether the blueprint has been registered on this app before.
    """

    def __init__(self, blueprint: Blueprint, app: Any, options: Any, first_registration: bool) -> None:
        self.app = app
        self.blueprint = blueprint
        self.options = options
        self.first_registration = first_registration
        subdomain = options.get("subdomain")
        self.subdomain = blueprint.subdomain if subdomain is None else subdomain
        url_prefix = options.get("url_prefix")
        self.url_prefix = blueprint.url_prefix if url_prefix is None else url_prefix
        self.name: str = options.get("name", blueprint.name)
        self.name_prefix: str = options.get("name_prefix", "")
        self.url_defaults: dict[str, Any] = dict(blueprint.url_values_defaults)
        self.url_defaults.update(options.get("url_defaults") or ())

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        """Add a rule to the app, under the blueprint's prefix and name."""
        if self.url_prefix is not None:
            rule = "/".join((self.url_prefix.rstrip("/"), rule.lstrip("/"))) if rule else self.url_prefix
        options.setdefault("subdomain", self.subdomain)
        if endpoint is None:
            endpoint = endpoint_of(view_func)  # type: ignore[arg-type]  # raises for None
        defaults = self.url_defaults
        if "defaults" in options:
            defaults = dict(defaults, **options.pop("defaults"))
        self.app.add_url_rule(
            rule,
            f"{self.name_prefix}.{self.name}.{endpoint}".lstrip("."),
            view_func,
            defaults=defaults,
            **options,
        )


class Blueprint(Scaffold):
    """A part of an application.

    Args:
        name: prefix of its endpoints; no dot in it.
        import_name: usually `__name__`.
        static_folder: its own static files, served under `url_prefix` + `static_url_path`.
        template_folder: its own templates; an app's template of the same name wins.
        url_prefix: before each of its rules.
        subdomain: its rules match on this subdomain.
        url_defaults: values that its views get beside those of the URL.
        cli_group: name of its group of commands; None: its commands stand beside the app's.

    Source: the documented behaviour of Flask 3.1.
    """

    _got_registered_once = False

    def __init__(
        self,
        name: str,
        import_name: str,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        url_prefix: str | None = None,
        subdomain: str | None = None,
        url_defaults: dict[str, Any] | None = None,
        root_path: str | None = None,
        cli_group: str | None = _sentinel,
    ) -> None:
        super().__init__(
            import_name=import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
            root_path=root_path,
        )
        if not name:
            raise ValueError("'name' may not be empty.")
        if "." in name:
            raise ValueError("'name' may not contain a dot '.' character.")
        self.name = name
        self.url_prefix = url_prefix
        self.subdomain = subdomain
        self.deferred_functions: list[Deferred] = []
        self.url_values_defaults = url_defaults or {}
        self.cli_group = cli_group
        self._blueprints: list[tuple[Blueprint, dict[str, Any]]] = []
        self.cli.name = self.name

    def _check_setup_finished(self, f_name: str) -> None:
        if self._got_registered_once:
            raise SetupFinished(
                f"The setup method '{f_name}' can no longer be called on the blueprint '{self.name}'. It has already been"
                " registered at least once, any changes will not be applied consistently.\nMake sure all imports,"
                " decorators, functions, etc. needed to set up the blueprint are done before registering it."
            )

    @setupmethod
    def record(self, func: Deferred) -> None:
        """Call a function with the setup state at each registration."""
        self.deferred_functions.append(func)

    @setupmethod
    def record_once(self, func: Deferred) -> None:
        """Call a function with the setup state at the first registration on an app only."""

        def wrapper(state: BlueprintSetupState) -> None:
            if state.first_registration:
                func(state)

        self.record(wrapper)

    def make_setup_state(self, app: Any, options: dict[str, Any], first_registration: bool = False) -> BlueprintSetupState:
        """Make the state of one registration; to be overridden for a state of one's own."""
        return BlueprintSetupState(self, app, options, first_registration)

    @setupmethod
    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        """Register a blueprint inside this one: prefixes, names and hooks nest.

        Raises:
            ValueError: a blueprint in itself.
        """
        if blueprint is self:
            raise ValueError("Cannot register a blueprint on itself")
        self._blueprints.append((blueprint, options))

    def register(self, app: Any, options: dict[str, Any]) -> None:
        """Register on an app; called by `app.register_blueprint`.

        Raises:
            DuplicateBlueprint: another, or the same one, under the same name.
        """
        name_prefix = options.get("name_prefix", "")
        own_name = options.get("name", self.name)
        name = f"{name_prefix}.{own_name}".lstrip(".")
        if name in app.blueprints:
            same = app.blueprints[name] is self
            qualifier = "this" if same else "a different"
            raise DuplicateBlueprint(
                f"The name '{own_name}' is already registered for {qualifier} blueprint{'' if own_name == name else f' {name!r}'}."
                f" ({app.blueprints[name].import_name} and {self.import_name}.) Use 'name=' to provide a unique name."
            )
        first_blueprint = all(known is not self for known in app.blueprints.values())
        app.blueprints[name] = self
        self._got_registered_once = True
        state = self.make_setup_state(app, options, first_blueprint)

        if self.has_static_folder:
            state.add_url_rule(
                f"{self.static_url_path}/<path:filename>",
                view_func=self.send_static_file,
                endpoint="static",
            )
        self._merge_blueprint_funcs(app, name)
        for deferred in self.deferred_functions:
            deferred(state)

        cli_resolved_group = options.get("cli_group", self.cli_group)
        if self.cli.commands:
            if cli_resolved_group is None:
                app.cli.commands.update(self.cli.commands)
            elif cli_resolved_group is _sentinel:
                self.cli.name = name
                app.cli.add_command(self.cli)
            else:
                self.cli.name = cli_resolved_group
                app.cli.add_command(self.cli)

        for blueprint, nested in self._blueprints:
            nested = dict(nested)
            nested_subdomain = nested.get("subdomain")
            if nested_subdomain is None:
                nested_subdomain = blueprint.subdomain
            if state.subdomain is not None and nested_subdomain is not None:
                nested["subdomain"] = nested_subdomain + "." + state.subdomain
            elif state.subdomain is not None:
                nested["subdomain"] = state.subdomain
            elif nested_subdomain is not None:
                nested["subdomain"] = nested_subdomain
            nested_prefix = nested.get("url_prefix")
            if nested_prefix is None:
                nested_prefix = blueprint.url_prefix
            if state.url_prefix is not None and nested_prefix is not None:
                nested["url_prefix"] = state.url_prefix.rstrip("/") + "/" + nested_prefix.lstrip("/")
            else:
                nested["url_prefix"] = state.url_prefix if state.url_prefix is not None else nested_prefix
            nested["name_prefix"] = name
            blueprint.register(app, nested)

    def _merge_blueprint_funcs(self, app: Any, name: str) -> None:
        """Copy what was declared here to the app, under the name it has there."""

        def extend(source: dict[str | None, list[Any]], target: dict[str | None, list[Any]]) -> None:
            for key, values in source.items():
                key = name if key is None else f"{name}.{key}"
                target[key].extend(values)

        for key, by_code in self.error_handler_spec.items():
            key = name if key is None else f"{name}.{key}"
            target: defaultdict[int | None, dict[Any, Any]] = defaultdict(dict)
            for code, handlers in by_code.items():
                target[code].update(handlers)
            for code, handlers in target.items():
                app.error_handler_spec[key][code].update(handlers)
        for endpoint, function in self.view_functions.items():
            app.view_functions[endpoint] = function
        extend(self.before_request_funcs, app.before_request_funcs)
        extend(self.after_request_funcs, app.after_request_funcs)
        extend(self.teardown_request_funcs, app.teardown_request_funcs)
        extend(self.url_default_functions, app.url_default_functions)
        extend(self.url_value_preprocessors, app.url_value_preprocessors)
        extend(self.template_context_processors, app.template_context_processors)

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Add a rule, to be added to the app when the blueprint is registered.

        Raises:
            ValueError: a dot in the endpoint or in the view's name.
        """
        if endpoint and "." in endpoint:
            raise ValueError("'endpoint' may not contain a dot '.' character.")
        if view_func and hasattr(view_func, "__name__") and "." in view_func.__name__:
            raise ValueError("'view_func' name may not contain a dot '.' character.")
        self.record(
            lambda state: state.add_url_rule(
                rule,
                endpoint,
                view_func,
                provide_automatic_options=provide_automatic_options,
                **options,
            )
        )

    # -- files ------------------------------------------------------------------------------------

    def send_static_file(self, filename: str) -> Any:
        """The view of the blueprint's own static files.

        Raises:
            RuntimeError: it has no static folder.
        """
        if not self.has_static_folder:
            raise RuntimeError("'static_folder' must be set to serve static_files.")
        app: Any = app_var.get().app
        return app.serve_static(self, filename)

    # A stat and an open of a local file: no hop to a thread, as for the app's own.
    send_static_file.never_blocks = True  # type: ignore[attr-defined]  # a mark on a function

    def open_resource(self, resource: str, mode: str = "rb", encoding: str | None = "utf-8") -> IO[Any]:
        """Open a file below the blueprint's folder for reading."""
        return super().open_resource(resource, mode, encoding)

    # -- what goes to the whole app ---------------------------------------------------------------

    @setupmethod
    def app_template_filter(self, name: str | None = None) -> Callable[[F], F]:
        """Register a template filter for the whole app; the function's name unless told."""

        def decorator(f: F) -> F:
            self.add_app_template_filter(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_app_template_filter(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.record_once(lambda state: _put(state.app.jinja_env.filters, f, name))

    @setupmethod
    def app_template_test(self, name: str | None = None) -> Callable[[F], F]:
        """Register a template test for the whole app."""

        def decorator(f: F) -> F:
            self.add_app_template_test(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_app_template_test(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.record_once(lambda state: _put(state.app.jinja_env.tests, f, name))

    @setupmethod
    def app_template_global(self, name: str | None = None) -> Callable[[F], F]:
        """Register a template global for the whole app."""

        def decorator(f: F) -> F:
            self.add_app_template_global(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_app_template_global(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.record_once(lambda state: _put(state.app.jinja_env.globals, f, name))

    @setupmethod
    def before_app_request(self, f: F) -> F:
        """Like `app.before_request`, from within a blueprint."""
        self.record_once(lambda state: state.app.before_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def after_app_request(self, f: F) -> F:
        """Like `app.after_request`, from within a blueprint."""
        self.record_once(lambda state: state.app.after_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def teardown_app_request(self, f: F) -> F:
        """Like `app.teardown_request`, from within a blueprint."""
        self.record_once(lambda state: state.app.teardown_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_context_processor(self, f: F) -> F:
        """Like `app.context_processor`, from within a blueprint."""
        self.record_once(lambda state: state.app.template_context_processors.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_errorhandler(self, code: type[Exception] | int) -> Callable[[F], F]:
        """Like `app.errorhandler`, from within a blueprint."""

        def decorator(f: F) -> F:
            def from_blueprint(state: BlueprintSetupState) -> None:
                state.app.errorhandler(code)(f)

            self.record_once(from_blueprint)
            return f

        return decorator

    @setupmethod
    def app_url_value_preprocessor(self, f: F) -> F:
        """Like `app.url_value_preprocessor`, from within a blueprint."""
        self.record_once(lambda state: state.app.url_value_preprocessors.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_url_defaults(self, f: F) -> F:
        """Like `app.url_defaults`, from within a blueprint."""
        self.record_once(lambda state: state.app.url_default_functions.setdefault(None, []).append(f))
        return f


def _put(registry: dict[str, Any], f: Callable[..., Any], name: str | None) -> None:
    registry[name or f.__name__] = f


