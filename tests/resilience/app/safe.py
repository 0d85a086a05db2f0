"""Two applications for what is safe by default: `plain` as Flask would have it, `app` with the security battery of new ones."""

from datetime import timedelta

from werkzeug.security import generate_password_hash

from carboy import Carboy, render_template_string, request, session
from carboy.batteries.security import Security, safe_redirect


def make(name: str) -> Carboy:
    app = Carboy(name)
    app.secret_key = "for the tests"
    app.permanent_session_lifetime = timedelta(seconds=1)

    @app.get("/")
    def index() -> str:
        session["user"] = "ann"
        session.permanent = "permanent" in request.args
        return f"scheme {request.scheme} client {request.remote_addr}"

    @app.get("/page")
    def page() -> str:
        return render_template_string('<script nonce="{{ csp_nonce() }}">1</script>')

    @app.get("/user")
    def user() -> str:
        return f"user {session.get('user')}"

    @app.post("/write")
    def write() -> str:
        return "written"

    @app.get("/next")
    def follow() -> object:
        return safe_redirect(request.args.get("next"), "/fallback")

    @app.get("/hash")
    def hashed() -> str:
        return generate_password_hash("a password").partition("$")[0]

    @app.get("/broken")
    def broken() -> str:
        secret = "hunter2"
        raise RuntimeError(f"an internal {secret}")

    @app.get("/debug")
    def debug() -> str:
        return f"debug {app.debug}"

    return app


plain = make("plain")
app = make("safe")
app.fit(Security())
