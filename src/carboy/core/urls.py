"""Building URLs, and the adapter that both matching and building go through."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

from werkzeug.routing import BuildError, MapAdapter
from werkzeug.wsgi import get_host

from .ctx import Context, app_var, request_var
from .request import blueprint_names


def create_url_adapter(app: Any, request: Any) -> MapAdapter | None:
    """Bind the app's map to a request, or to the configured server name.

    Returns:
        None without a request where `SERVER_NAME` is not set: no URL can be built.

    Raises:
        SecurityError: the host is not among the config's `TRUSTED_HOSTS`.
    """
    url_map = app.url_map
    server_name = app.config["SERVER_NAME"]
    if request is not None:
        trusted = app.config["TRUSTED_HOSTS"]
        if trusted is not None:
            request.trusted_hosts = trusted
        environ = request.environ
        # Read here, so that an untrusted host is refused before it is matched against anything.
        request.host = get_host(environ, request.trusted_hosts)
        subdomain = None
        if url_map.host_matching:
            server_name = None
        elif not app.subdomain_matching:
            subdomain = url_map.default_subdomain or ""
        return url_map.bind_to_environ(environ, server_name=server_name, subdomain=subdomain)  # type: ignore[no-any-return]
    if server_name is None:
        return None
    return url_map.bind(  # type: ignore[no-any-return]  # werkzeug's map
        server_name,
        script_name=app.config["APPLICATION_ROOT"],
        url_scheme=app.config["PREFERRED_URL_SCHEME"],
    )


def url_for(
    app: Any,
    endpoint: str,
    *,
    anchor: str | None,
    method: str | None,
    scheme: str | None,
    external: bool | None,
    values: dict[str, Any],
) -> str:
    """Build the URL of an endpoint.

    Raises:
        RuntimeError: outside a request, without `SERVER_NAME`.
        ValueError: a scheme for a URL that is not external.
        BuildError: no rule fits, and no build error handler answers.
    """
    ctx = request_var.get(None)
    adapter: Any
    if ctx is not None:
        if endpoint[:1] == ".":
            blueprint = ctx.request.blueprint  # type: ignore[attr-defined]  # the core's request
            endpoint = f"{blueprint}{endpoint}" if blueprint is not None else endpoint[1:]
        if external is None:
            external = scheme is not None
        if not external and scheme is None and method is None:
            app.inject_url_defaults(endpoint, values)
            path = within_site(ctx, endpoint, values)
            if path is None:
                return built(app, ctx.url_adapter, endpoint, values, anchor, method, scheme, external)
            return with_fragment(path, anchor) if anchor else path
        adapter = ctx.url_adapter
    else:
        outer = app_var.get(None)
        adapter = outer.url_adapter if outer is not None else app.create_url_adapter(None)
        if adapter is None:
            raise RuntimeError(
                "Unable to build URLs outside an active request without 'SERVER_NAME' configured. Also configure"
                " 'APPLICATION_ROOT' and 'PREFERRED_URL_SCHEME' as needed."
            )
        if external is None:
            external = True
    if scheme is not None and not external:
        raise ValueError("When specifying '_scheme', '_external' must be True.")
    app.inject_url_defaults(endpoint, values)
    return built(app, adapter, endpoint, values, anchor, method, scheme, external)


#: Longer texts are not worth keeping.
_LONG = 200


def within_site(ctx: Context, endpoint: str, values: dict[str, Any]) -> str | None:
    """Build a path the short way; None where the adapter has to be asked.

    PERF: 1.1 µs for 3.5, and a page has a hundred of them; the request's adapter need not be made at all.
    """
    if ctx.has_own_adapter:
        return None
    items = []
    for pair in values.items():
        value = pair[1]
        kind = type(value)
        if kind is int or (kind is str and len(value) <= _LONG):
            items.append(pair)
        elif value is not None:
            return None
    app: Any = ctx.app
    path = app.plans.path_of(endpoint, tuple(items))
    return None if path is None else ctx.request.root_path + path


def built(
    app: Any,
    adapter: Any,
    endpoint: str,
    values: dict[str, Any],
    anchor: str | None,
    method: str | None,
    scheme: str | None,
    external: bool,
) -> str:
    """Build by the adapter, or ask the app's build error handlers."""
    try:
        url = str(adapter.build(endpoint, values, method=method, url_scheme=scheme, force_external=external))
    except BuildError as error:
        values.update(_anchor=anchor, _method=method, _scheme=scheme, _external=external)
        return app.handle_url_build_error(error, endpoint, values)  # type: ignore[no-any-return]  # overridable
    return with_fragment(url, anchor) if anchor else url


def with_fragment(url: str, anchor: str) -> str:
    # RFC 3986 §3.5: what a fragment may hold stays as it is.
    fragment = quote(anchor, safe="%!#$&'()*+,/:;=?@")
    return f"{url}#{fragment}"


def inject_url_defaults(app: Any, endpoint: str, values: dict[str, Any]) -> None:
    """Let the `url_defaults` functions of the app and of the endpoint's blueprints add values."""
    registry = app.url_default_functions
    if not registry:
        return
    names: list[str | None] = [None]
    if "." in endpoint:
        names += reversed(blueprint_names(endpoint.rpartition(".")[0]))
    for name in names:
        for function in registry.get(name, ()):
            function(endpoint, values)


def handle_url_build_error(app: Any, error: BuildError, endpoint: str, values: dict[str, Any]) -> str:
    """Ask the app's build error handlers for the URL, or raise the error."""
    for handler in app.url_build_error_handlers:
        try:
            url = handler(error, endpoint, values)
        except BuildError as newer:
            error = newer
        else:
            if url is not None:
                return str(url)
    if error is sys.exc_info()[1]:
        raise
    raise error
