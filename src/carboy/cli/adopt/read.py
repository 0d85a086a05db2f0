"""Files → facts. Parsed, never imported: what is put together at run time (setattr, importlib) is not seen."""

from __future__ import annotations

import ast
import os
import re
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

from .facts import Fact, Place, Project

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "migrations"})
_ROUTES = frozenset({"route", "get", "post", "put", "delete", "patch"})
_HOOKS = frozenset(
    {
        "before_request", "after_request", "teardown_request", "teardown_appcontext", "context_processor",
        "url_value_preprocessor", "url_defaults", "before_app_request", "after_app_request", "teardown_app_request",
        "app_context_processor", "app_url_value_preprocessor", "app_url_defaults", "before_first_request",
        "before_app_first_request",
    }
)  # fmt: skip
_HANDLERS = frozenset({"errorhandler", "app_errorhandler"})
_METHODS = frozenset({"get", "post", "put", "delete", "patch", "head", "options", "dispatch_request"})
#: Classes whose methods answer requests, in Flask and in the extensions with resources.
_VIEW_CLASSES = ("flask.views.", "flask_restful.Resource", "flask_restx.Resource", "flask_classful.FlaskView", "flask_smorest.", "apiflask.views.")
#: Methods of the app that extensions and applications replace.
REPLACEABLE = frozenset(
    {
        "create_url_adapter", "dispatch_request", "ensure_sync", "finalize_request", "full_dispatch_request",
        "handle_exception", "handle_http_exception", "handle_user_exception", "json_encoder", "json_decoder",
        "make_default_options_response", "make_response", "open_session", "preprocess_request", "process_response",
        "request_class", "request_context", "response_class", "save_session", "send_static_file", "session_interface",
        "test_client_class", "url_rule_class", "wsgi_app",
    }
)  # fmt: skip
_SETTINGS = re.compile(r"(config|configuration|settings|conf)$")
_SERVERS = re.compile(r"\b(gunicorn|uwsgi|waitress-serve|mod_wsgi-express|hypercorn|flask\s+run)\b[^\n\"']*")


def read_project(path: Path) -> Project:
    """Read a file, or all Python files below a folder, and what stands beside them."""
    project = Project(os.fspath(path))
    root = path if path.is_dir() else path.parent
    files = sorted(_python_files(path)) if path.is_dir() else [path]
    project.modules = {file.relative_to(root).parts[0].removesuffix(".py") for file in files}
    # A folder that is a package itself is imported by its own name.
    if (root / "__init__.py").exists():
        project.modules.add(root.resolve().name)
    for file in files:
        shown = file.relative_to(root).as_posix()
        project.files.append(shown)
        facts = list(_facts_of(file, shown))
        if _is_test(file.relative_to(root)):
            project.test_facts += [fact for fact in facts if fact.kind == "flask-name"]
        else:
            project.facts += facts
    for place, file in ((root, file) for file in sorted(root.iterdir()) if file.is_file()):
        project.facts += _beside(file, file.relative_to(place).as_posix())
    return project


def _python_files(folder: Path) -> Iterator[Path]:
    for top, folders, names in os.walk(folder):
        here = Path(top)
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and not name.startswith(".") and not (here / name / "pyvenv.cfg").exists()
        )
        yield from (here / name for name in names if name.endswith(".py"))


def _is_test(path: Path) -> bool:
    return path.name.startswith("test_") or path.name in {"conftest.py", "tests.py"} or any(part in {"tests", "test"} for part in path.parts[:-1])


def _facts_of(file: Path, shown: str) -> Iterator[Fact]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the application's own text: it is not ours to complain
            tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError, RecursionError) as error:
        yield Fact("unreadable", str(error), Place(shown, getattr(error, "lineno", None) or 1))
        return
    reader = _Reader(shown)
    reader.look_ahead(tree)
    reader.visit(tree)
    yield from reader.facts


class _Reader(ast.NodeVisitor):
    """Collects the facts of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.facts: list[Fact] = []
        #: Local name → dotted name, as imports have made it.
        self.imported: dict[str, str] = {}
        #: Functions and classes that `add_url_rule` and its like are given.
        self.routed: set[str] = set()
        #: Names bound at the top of the module to a list, dict or set.
        self.shared: set[str] = set()
        #: The functions around the node that is looked at, innermost last: (name, is async, is view).
        self.around: list[tuple[str, bool, bool]] = []
        self.in_main = False
        #: Within a `try` that expects an import to fail.
        self.is_guarded = False
        #: Local names of objects that are an app.
        self.apps: set[str] = set()

    def look_ahead(self, tree: ast.Module) -> None:
        """See what the rest of the file must be known by: imports, and views that are routed after their definition."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imported[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "add_url_rule":
                    values = [keyword.value for keyword in node.keywords if keyword.arg == "view_func"] + node.args[2:3]
                    for value in values:
                        self.routed |= {inner.id for inner in ast.walk(value) if isinstance(inner, ast.Name)}
                elif node.func.attr in {"add_resource", "register_error_handler"}:
                    self.routed |= {inner.id for value in node.args[:1] for inner in ast.walk(value) if isinstance(inner, ast.Name)}
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and self.dotted(node.value.func).endswith(("flask.Flask", "carboy.Carboy")):
                self.apps |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        self.apps |= {"app", "application"}
        for node in tree.body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, (ast.List, ast.Dict, ast.Set)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.shared |= {target.id for target in targets if isinstance(target, ast.Name) and not target.id.isupper()}

    # -- small questions ----------------------------------------------------------------------------

    def dotted(self, node: ast.AST) -> str:
        """The dotted name of an expression, by way of the imports; empty for anything else."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""

    def add(self, kind: str, name: str, node: ast.AST, *, is_async: bool | None = None, is_view: bool | None = None, detail: str = "") -> None:
        name_around, colour, view = self.around[-1] if self.around else ("", False, False)
        self.facts.append(
            Fact(
                kind,
                name,
                Place(self.file, getattr(node, "lineno", 1)),
                name_around,
                colour if is_async is None else is_async,
                view if is_view is None else is_view,
                detail,
            )
        )

    def is_app(self, node: ast.AST) -> bool:
        """Whether an expression looks like the application: by what it was bound to, or by its usual names."""
        if isinstance(node, ast.Name):
            return node.id in self.apps or self.imported.get(node.id, "").endswith(".current_app")
        return isinstance(node, ast.Attribute) and node.attr in {"app", "flask_app"}

    # -- imports ------------------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add("import", alias.name, node)
            if alias.name.partition(".")[0] == "flask" and alias.name != "flask":
                self.add("flask-name", alias.name, node, detail="guarded" * self.is_guarded)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            return
        self.add("import", node.module, node)
        for alias in node.names:
            if node.module.partition(".")[0] == "flask" and alias.name != "*":
                self.add("flask-name", f"{node.module}.{alias.name}", node, detail="guarded" * self.is_guarded)
            elif node.module != "flask":
                # `from opentelemetry.instrumentation import flask`: the module is what was imported.
                self.add("import", f"{node.module}.{alias.name}", node, detail="name")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self.dotted(node)
        # `import flask` and then `flask.Markup`; what hangs on an object (`flask.request.args`) is not a name of Flask's.
        if name.startswith("flask.") and name.count(".") == 1 and isinstance(node.value, ast.Name):
            self.add("flask-name", name, node, detail="guarded" * self.is_guarded)
        self.generic_visit(node)

    # -- functions and classes ----------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.function(node, False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.function(node, True)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, is_async: bool) -> None:
        kinds = {kind: self.decorated(node, kind) for kind in ("view", "hook", "handler", "command")}
        in_class = bool(self.around) and self.around[-1][0].startswith("class ")
        is_view = bool(kinds["view"]) or (not in_class and node.name in self.routed) or (in_class and self.around[-1][2] and node.name in _METHODS)
        if is_view:
            self.add("view", node.name, node, is_async=is_async, is_view=True)
        for kind in ("hook", "handler", "command"):
            for name in kinds[kind]:
                self.add(kind, name, node, is_async=is_async)
        for decorator in node.decorator_list:
            self.visit(decorator)
        if any(isinstance(inner, ast.Return) and self.makes_app(inner.value, node) for inner in ast.walk(node)):
            self.add("factory", node.name, node)
        answers = is_view or bool(kinds["hook"]) or bool(kinds["handler"])
        self.around.append((node.name, is_async, answers))
        for statement in node.body:
            self.visit(statement)
        self.around.pop()

    def decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef, kind: str) -> list[str]:
        """What decorators make of a function, of one kind."""
        found = []
        for decorator in node.decorator_list:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if not isinstance(call, ast.Attribute):
                continue
            name = call.attr
            first = decorator.args[0] if isinstance(decorator, ast.Call) and decorator.args else None
            is_path = isinstance(first, ast.Constant) and isinstance(first.value, str) and (not first.value or first.value[0] in "/<")
            is_dynamic = first is not None and not isinstance(first, ast.Constant)
            if kind == "view" and name in _ROUTES and (is_path or (is_dynamic and name == "route")):
                found.append(str(getattr(first, "value", "")))
            elif (kind == "hook" and name in _HOOKS) or (kind == "handler" and name in _HANDLERS):
                found.append(name)
            elif kind == "command" and name == "command" and self.dotted(call).endswith("cli.command"):
                found.append(node.name)
        return found

    def makes_app(self, value: ast.AST | None, within: ast.AST) -> bool:
        """Whether a returned expression is an application that the function has made."""
        if isinstance(value, ast.Call):
            return self.dotted(value.func) in {"flask.Flask", "carboy.Carboy"}
        if not isinstance(value, ast.Name):
            return False
        return any(
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and self.dotted(node.value.func) in {"flask.Flask", "carboy.Carboy"}
            and any(isinstance(target, ast.Name) and target.id == value.id for target in node.targets)
            for node in ast.walk(within)
        )

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [self.dotted(base) for base in node.bases]
        is_view = node.name in self.routed or any(base.startswith(_VIEW_CLASSES) for base in bases)
        if any(base in {"flask.Flask", "flask.app.Flask"} for base in bases):
            names = [item.name for item in node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))]
            names += [target.id for item in node.body if isinstance(item, ast.Assign) for target in item.targets if isinstance(target, ast.Name)]
            for name in names:
                if name in REPLACEABLE:
                    self.add("overridden", name, node, detail=node.name)
        for decorator in node.decorator_list:
            self.visit(decorator)
        # Only the methods of this class are its views; functions inside them are not looked at as methods.
        self.around.append((f"class {node.name}", False, is_view))
        for statement in node.body:
            self.visit(statement)
        self.around.pop()

    # -- statements ---------------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        was = self.in_main
        self.in_main = was or ("__name__" in test and "__main__" in test)
        for statement in node.body:
            self.visit(statement)
        self.in_main = was
        for statement in node.orelse:
            self.visit(statement)

    def visit_Try(self, node: ast.Try) -> None:
        expected = {name.id for handler in node.handlers for name in ast.walk(handler.type or ast.Name("Exception")) if isinstance(name, ast.Name)}
        was = self.is_guarded
        self.is_guarded = was or bool(expected & {"ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException"})
        for part in (*node.body, *node.handlers):  # in a handler stands what older versions have
            self.visit(part)
        self.is_guarded = was
        for statement in (*node.orelse, *node.finalbody):
            self.visit(statement)

    def visit_Global(self, node: ast.Global) -> None:
        if self.around and self.around[-1][2]:
            for name in node.names:
                self.add("global", name, node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self.target(target, node)
        self.generic_visit(node)

    def target(self, target: ast.expr, node: ast.Assign) -> None:
        if isinstance(target, ast.Attribute) and self.is_app(target.value) and target.attr in REPLACEABLE:
            kind = "middleware" if target.attr == "wsgi_app" else "replaced"
            wrapper = self.dotted(node.value.func) if isinstance(node.value, ast.Call) else ""
            self.add(kind, target.attr, node, detail=wrapper)
        elif isinstance(target, ast.Subscript):
            held = target.value
            if isinstance(held, ast.Attribute) and held.attr == "config" and isinstance(target.slice, ast.Constant):
                if self.around and self.around[-1][2]:
                    self.add("global", f"config[{target.slice.value!r}]", node)
                else:
                    self.setting(target.slice.value, node)
            elif self.around and self.around[-1][2] and isinstance(held, ast.Name) and held.id in self.shared:
                self.add("global", held.id, node)
        elif isinstance(target, ast.Name) and self.holds_settings():
            self.setting(target.id, node)

    def holds_settings(self) -> bool:
        """Whether names assigned here are settings: in a file, or a class, that is called so."""
        holder = self.around[-1][0] if self.around else Path(self.file).stem
        return (not self.around or holder.startswith("class ")) and bool(_SETTINGS.search(holder.lower()))

    def setting(self, name: object, node: ast.AST) -> None:
        if isinstance(name, str) and name.isupper():
            self.add("setting", name, node)

    # -- calls --------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        name = self.dotted(node.func)
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in {"flask.Flask", "carboy.Carboy"}:
            self.add("app", "Flask", node)
        elif name in {"flask.Blueprint", "flask.blueprints.Blueprint", "carboy.Blueprint"}:
            first = node.args[0] if node.args else None
            self.add("blueprint", str(first.value) if isinstance(first, ast.Constant) else "?", node)
        elif name in {"threading.Thread", "threading.Timer", "concurrent.futures.ThreadPoolExecutor", "multiprocessing.Process"}:
            self.add("thread", name, node)
        elif attribute == "run" and isinstance(node.func, ast.Attribute) and self.is_app(node.func.value):
            self.add("run", "main" if self.in_main else "top" if not self.around else "function", node)
        elif attribute == "run" and "socketio" in name.lower():
            self.add("run", "socketio", node)
        elif name.endswith(("monkey.patch_all", "monkey_patch")):
            self.add("call", name, node)
        elif name in {"asyncio.run", "asyncio.get_event_loop"} or attribute == "run_until_complete":
            self.add("call", name or attribute, node)
        elif attribute in {"append", "add", "update", "pop", "remove", "setdefault", "extend"} and isinstance(node.func, ast.Attribute):
            held = node.func.value
            if isinstance(held, ast.Name) and held.id in self.shared and self.around and self.around[-1][2]:
                self.add("global", held.id, node)
        elif attribute in {"from_mapping", "update"} and isinstance(node.func, ast.Attribute) and self.dotted(node.func.value).endswith("config"):
            for keyword in node.keywords:
                self.setting(keyword.arg, node)
        elif attribute in {"from_object", "from_pyfile", "from_envvar", "from_file", "from_prefixed_env", "from_json"}:
            self.add("config", attribute, node)
        elif attribute == "register_error_handler" and node.args:
            self.add("handler", attribute, node)
        elif attribute in _HOOKS:
            # `app.before_request(load_user)`, without a decorator.
            if node.args:
                self.add("hook", attribute, node)
        elif name and "." in name:
            self.add("call", name, node)
        if any(isinstance(item, ast.Attribute) and item.attr == "files" and self.dotted(item.value) == "flask.request" for item in (node.func, *node.args)):
            self.add("upload", "request.files", node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "files" and self.dotted(node.value.value) == "flask.request":
            self.add("upload", "request.files", node)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if node.value == "text/event-stream":
            self.add("events", "text/event-stream", node)


# -- what stands beside the code --------------------------------------------------------------------

_NEEDED = re.compile(r"^\s*([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([<>=!~][^;#]*)?")


def _beside(file: Path, shown: str) -> Iterator[Fact]:
    """Facts of requirements, and of files that start a server."""
    name = file.name.lower()
    try:
        if name.startswith("requirements") and name.endswith(".txt"):
            for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                yield from _needed(line, Place(shown, number))
        elif name == "pyproject.toml":
            project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
            for line in project.get("dependencies", ()):
                yield from _needed(line, Place(shown, 1))
        elif name in {"procfile", "dockerfile", "gunicorn.conf.py", "uwsgi.ini"} or name.endswith(".service"):
            if name in {"gunicorn.conf.py", "uwsgi.ini"}:
                yield Fact("server", name.partition(".")[0], Place(shown, 1))
            for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if found := _SERVERS.search(line):
                    yield Fact("server", found.group(1), Place(shown, number), detail=found.group(0).strip())
    except (OSError, tomllib.TOMLDecodeError) as error:
        yield Fact("unreadable", str(error), Place(shown, 1))


def _needed(line: str, place: Place) -> Iterator[Fact]:
    if line.lstrip().startswith(("#", "-")):
        return
    if (found := _NEEDED.match(line)) and found.group(1):
        yield Fact("requirement", re.sub(r"[-_.]+", "-", found.group(1)).lower(), place, detail=(found.group(2) or "").strip())
