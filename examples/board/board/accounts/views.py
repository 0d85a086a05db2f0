"""The pages of accounts."""

import re

from carboy import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from carboy.typing import ResponseReturnValue

from ..database import get_db
from ..forms import Form
from . import identity, queries
from .identity import login_required

bp = Blueprint("accounts", __name__, template_folder="templates")
bp.before_app_request(identity.find_user)


@bp.route("/register", methods=["GET", "POST"])
def register() -> ResponseReturnValue:
    """Make an account, and be logged in with it."""
    form = Form(request.form)
    if request.method == "POST":
        name = form.text("name", "Your name", least=2, most=24)
        password = read_new_password(form)
        if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            form.errors["name"] = "A name is made of letters, digits, - and _."
        if form.ok:
            try:
                user = queries.add_user(get_db(), name, password)
            except queries.NameTaken:
                form.errors["name"] = f"Somebody is called {name} already."
            else:
                identity.log_in(user)
                flash(f"Welcome, {name}! Say hello at the long table.", "good")
                return redirect(onward())
    return render_template("accounts/register.html", form=form), form.status


@bp.route("/login", methods=["GET", "POST"])
def log_in() -> ResponseReturnValue:
    """Log in, and go where one wanted to go."""
    form = Form(request.form)
    if request.method == "POST":
        name = form.text("name", "Your name", least=1, most=100)
        password = form.secret("password", "Your password")
        user = queries.user_by_password(get_db(), name, password) if form.ok else None
        if user:
            identity.log_in(user)
            flash(f"Good to see you, {user['name']}.", "good")
            return redirect(onward())
        if form.ok:
            form.errors["password"] = "This name and this password do not belong together."
    return render_template("accounts/login.html", form=form), form.status


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """Log out."""
    identity.log_out()
    flash("You are logged out. See you soon.", "good")
    return redirect(url_for("posts.feed"))


@bp.route("/settings", methods=["GET", "POST"])
@login_required
def settings() -> ResponseReturnValue:
    """Change what one's profile says."""
    form = Form(request.form if request.method == "POST" else {"about": g.user["about"]})
    if request.method == "POST":
        about = form.text("about", "Your introduction", most=500)
        if form.ok:
            queries.set_about(get_db(), g.user["id"], about)
            flash("Your profile is saved.", "good")
            return redirect(url_for("posts.by_author", name=g.user["name"]))
    return show_settings(profile=form)


@bp.post("/settings/password")
@login_required
def change_password() -> ResponseReturnValue:
    """Change one's password; other browsers are logged out by it."""
    form = Form(request.form)
    old = form.secret("old_password", "Your present password")
    new = read_new_password(form)
    if old and not queries.user_by_password(get_db(), g.user["name"], old):
        form.errors["old_password"] = "This is not your present password."
    if form.ok:
        identity.log_in(queries.set_password(get_db(), g.user["id"], new))
        flash("Your password is changed. Other browsers have been logged out.", "good")
        return redirect(url_for(".settings"))
    return show_settings(password=form)


@bp.post("/settings/tokens")
@login_required
def add_token() -> ResponseReturnValue:
    """Make an API token and show it, this one time."""
    form = Form(request.form)
    label = form.text("label", "The purpose", least=1, most=60)
    if form.ok:
        return show_settings(new_token=queries.add_token(get_db(), g.user["id"], label))
    return show_settings(token=form)


@bp.post("/settings/tokens/<id:token_id>/delete")
@login_required
def delete_token(token_id: int) -> ResponseReturnValue:
    """Make an API token useless."""
    if not queries.delete_token(get_db(), g.user["id"], token_id):
        abort(404)
    flash("The token is deleted; nothing can use it any more.", "good")
    return redirect(url_for(".settings"))


def show_settings(
    *,
    profile: Form | None = None,
    password: Form | None = None,
    token: Form | None = None,
    new_token: str | None = None,
) -> ResponseReturnValue:
    """Render the settings: three forms on one page, one of which may just have been sent."""
    sent = profile or password or token or Form()
    page = render_template(
        "accounts/settings.html",
        profile=profile or Form({"about": g.user["about"]}),
        password=password or Form(),
        token=token or Form(),
        tokens=queries.tokens_of(get_db(), g.user["id"]),
        new_token=new_token,
    )
    return page, sent.status


def read_new_password(form: Form) -> str:
    """Read a password to be set. Length is what makes one good; nobody is asked for a $ in it."""
    password = form.secret("password", "The password")
    if password and len(password) < 8:
        form.errors["password"] = "The password needs at least 8 characters."
    return password


def onward() -> str:
    """Where to go after logging in: ``?next=`` if it is a path of ours, else the front page."""
    target = request.args.get("next", "")
    # "//elsewhere" and "/\elsewhere" are other sites to a browser.
    is_ours = re.fullmatch(r"/(?![/\\])[^\x00-\x20\\]*", target)
    return target if is_ours else url_for("posts.feed")
