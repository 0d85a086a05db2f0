"""What belongs to the whole: first start, errors, foreign forms, dashboard, commands."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from board import create_app


def test_empty_folder_is_enough(tmp_path, monkeypatch):
    """The first start makes tables and a secret; the next one keeps both."""
    monkeypatch.setenv("BOARD_DATA", str(tmp_path / "new"))
    first, second = create_app(), create_app()

    assert first.test_client().get("/").status_code == 200
    assert first.config["SECRET_KEY"] == second.config["SECRET_KEY"]
    assert (tmp_path / "new" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_workers_may_start_together(tmp_path):
    """Four processes that start on an empty folder at once agree on one secret and one database."""
    start = "from board import create_app; print(create_app().config['SECRET_KEY'])"
    environment = {**os.environ, "BOARD_DATA": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen([sys.executable, "-c", start], env=environment, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    secrets = {worker.communicate()[0] for worker in workers}

    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    assert len(secrets) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["board.sqlite", "secret_key"]


def test_environment_sets_the_board(tmp_path, monkeypatch):
    """``BOARD_*`` wins over the defaults; what the caller passes wins over both."""
    monkeypatch.setenv("BOARD_NAME", "Kveik & Co")
    monkeypatch.setenv("BOARD_POSTS_PER_PAGE", "7")
    app = create_app({"DATA": tmp_path, "POSTS_PER_PAGE": 8})

    assert "Kveik &amp; Co" in app.test_client().get("/").text
    assert app.config["POSTS_PER_PAGE"] == 8


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 302),
        ({"Sec-Fetch-Site": "same-origin"}, 302),
        ({"Sec-Fetch-Site": "none"}, 302),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost"}, 302),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
def test_forms_of_other_sites_are_refused(anna, headers, status):
    """A write has to come from our own page, or from no browser at all."""
    sent = {"topic": "beer", "title": "A title", "body": "Text"}

    assert anna.post("/posts/new", data=sent, headers=headers).status_code == status


def test_missing_page_is_ours(client):
    """A 404 is a page of the board; an id that no database can hold is one as well."""
    for address in ("/nowhere", "/posts/1", f"/posts/{10**30}", "/people/nobody", "/topics/none"):
        answer = client.get(address)

        assert answer.status_code == 404
        assert "Nothing here" in answer.text


def test_too_much_is_a_413(anna):
    """A request over the limit gets a page that says the limit."""
    answer = anna.post("/posts/new", data={"body": "x" * (9 * 2**20)})

    assert answer.status_code == 413
    assert "8 MB" in answer.text


def test_crash_is_a_500_without_its_cause(app, client, monkeypatch):
    """A visitor is told that something broke, and nothing else."""
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    monkeypatch.setattr("board.posts.queries.topics", lambda db: 1 / 0)
    answer = client.get("/")

    assert answer.status_code == 500
    assert "Something broke on our side" in answer.text
    assert "ZeroDivision" not in answer.text


def test_dashboard_adds_up(anna, client, write):
    """Five answers that were asked for at once are on one page."""
    address = write(anna, title="Much discussed")
    anna.post(f"{address}/comments", data={"body": "Indeed"})
    page = client.get("/dashboard").text

    assert "<dt>People</dt><dd>1</dd>" in page
    assert "<dt>Comments</dt><dd>1</dd>" in page
    assert "1 posts, 1 comments" in page
    assert "Much discussed" in page


def test_empty_dashboard_is_a_page(client):
    """Nothing has been written yet; no bar is divided by zero."""
    assert client.get("/dashboard").status_code == 200


def test_pages_need_no_inline_code(anna, client, write):
    """No style and no script stands in a page, so a strict Content-Security-Policy will fit."""
    address = write(anna)

    for page in ("/", address, f"{address}/edit", "/settings", "/dashboard", "/login", "/nowhere"):
        text = anna.get(page).text

        assert " style=" not in text and "<style" not in text
        assert " onclick=" not in text and "<script>" not in text


def test_seed_fills_an_empty_board(app, client):
    """The demo appears, once; its password works."""
    run = app.test_cli_runner().invoke
    first = run(args=["board", "seed"])
    again = run(args=["board", "seed"])

    assert first.exit_code == 0, first.output
    assert "Sixty litres pressed" in client.get("/").text
    assert client.post("/login", data={"name": "Marit", "password": "fermentation"}).status_code == 302
    assert again.exit_code == 1 and "in use" in again.output


def test_backup_is_a_whole_board(anna, app, tmp_path, write):
    """The copy holds what the board holds."""
    write(anna, title="Keep this")
    answer = app.test_cli_runner().invoke(args=["board", "backup", str(tmp_path / "copy.sqlite")])

    assert answer.exit_code == 0, answer.output
    with sqlite3.connect(tmp_path / "copy.sqlite") as copy:
        assert copy.execute("SELECT title FROM posts").fetchall() == [("Keep this",)]


def test_token_command_opens_the_api(anna, app, client):
    """Whoever runs the board can make a token without a browser."""
    made = app.test_cli_runner().invoke(args=["board", "token", "anna"])
    sent = {"topic": "beer", "title": "A title", "body": "Text"}
    answer = client.post(
        "/api/posts",
        data=json.dumps(sent),
        content_type="application/json",
        headers={"Authorization": f"Bearer {made.output.strip()}"},
    )

    assert answer.status_code == 201
    assert app.test_cli_runner().invoke(args=["board", "token", "nobody"]).exit_code == 1
