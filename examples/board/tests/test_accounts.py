"""Registration, logging in and out, settings, tokens."""

import sqlite3


def test_joining_logs_in(client, password):
    """Whoever joins is logged in, and greeted."""
    answer = client.post("/register", data={"name": "anna", "password": password}, follow_redirects=True)

    assert "Welcome, anna!" in answer.text
    assert "Log out" in answer.text


def test_password_is_not_kept(anna, app, password):
    """The database holds a scrypt hash, never the password."""
    with sqlite3.connect(app.config["DATA"] / "board.sqlite") as db:
        (kept,) = db.execute("SELECT password_hash FROM users").fetchone()

    assert kept.startswith("scrypt:")
    assert password not in kept


def test_name_is_taken_in_any_case(anna, client, password):
    """Anna and anna are one name; the form comes back with what was typed."""
    answer = client.post("/register", data={"name": "ANNA", "password": password})

    assert answer.status_code == 422
    assert "Somebody is called ANNA already." in answer.text
    assert 'value="ANNA"' in answer.text


def test_form_says_what_is_wrong(client):
    """Every field has its own message, and no password is sent back."""
    answer = client.post("/register", data={"name": "<b>", "password": "short"})

    assert answer.status_code == 422
    assert "A name is made of letters" in answer.text
    assert "at least 8 characters" in answer.text
    assert 'value="&lt;b&gt;"' in answer.text
    assert "short" not in answer.text.replace("A short sentence", "")


def test_wrong_password_and_unknown_name_look_alike(anna, client):
    """A stranger cannot find out who has an account."""
    wrong = client.post("/login", data={"name": "anna", "password": "wrong"})
    unknown = client.post("/login", data={"name": "nobody", "password": "wrong"})

    assert wrong.status_code == unknown.status_code == 422
    assert wrong.text.replace("anna", "nobody") == unknown.text


def test_login_leads_where_one_wanted_to_go(anna, client, password):
    """The way is kept from the closed page to the login and back."""
    to_login = client.get("/posts/new?topic=bread")
    answer = client.post(to_login.location, data={"name": "anna", "password": password})

    assert answer.location == "/posts/new?topic=bread"


def test_login_leads_to_no_other_site(anna, client, password):
    """``next`` may only be a path of ours, however it is disguised."""
    for target in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:0",
    ):
        answer = client.post(
            "/login", query_string={"next": target}, data={"name": "anna", "password": password}
        )

        assert answer.location == "/"


def test_logging_out_ends_the_session(anna):
    """After logging out, pages for users ask for a login again."""
    anna.post("/logout")

    assert anna.get("/settings").location.startswith("/login?next=")


def test_new_password_ends_other_sessions(anna, client, password):
    """A changed password logs out every other browser, and not this one."""
    client.post("/login", data={"name": "anna", "password": password})
    anna.post("/settings/password", data={"old_password": password, "password": "battery staple"})

    assert client.get("/settings").status_code == 302
    assert anna.get("/settings").status_code == 200
    assert client.post("/login", data={"name": "anna", "password": "battery staple"}).status_code == 302


def test_password_changes_only_with_the_old_one(anna):
    """An unlocked browser is not enough."""
    answer = anna.post("/settings/password", data={"old_password": "guess", "password": "battery staple"})

    assert answer.status_code == 422
    assert "This is not your present password." in answer.text


def test_profile_shows_who_one_is(anna, client):
    """What one says about oneself is on the profile, escaped, with links."""
    anna.post("/settings", data={"about": "I <3 yeast, see https://example.org"})
    page = client.get("/people/Anna").text

    assert "I &lt;3 yeast" in page
    assert '<a href="https://example.org" rel="nofollow ugc">https' in page


def test_token_is_shown_once(anna):
    """The page that makes a token shows it; no page after that does, and only its digest is kept."""
    made = anna.post("/settings/tokens", data={"label": "my script"}).text
    token = made.split('<code class="token">')[1].split("<")[0]

    assert len(token) > 40
    assert token not in anna.get("/settings").text
    assert "my script" in anna.get("/settings").text


def test_token_of_somebody_else_cannot_be_deleted(anna, join):
    """Deleting asks whose token it is."""
    anna.post("/settings/tokens", data={"label": "my script"})

    assert join("bert").post("/settings/tokens/1/delete").status_code == 404
    assert anna.post("/settings/tokens/1/delete").status_code == 302
