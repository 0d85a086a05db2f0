"""Flaskr, the application of Flask's tutorial, unmodified, in a real browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from environment import CACHE, environment

HERE = Path(__file__).resolve().parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
VERSION = "3.1.3"

VISIT = """
import sys
from playwright.sync_api import expect, sync_playwright

url, chromium = sys.argv[1:]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_page()
    page.set_default_timeout(20_000)
    failed = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 500 else None)

    page.goto(url)
    page.get_by_role("link", name="Register").click()
    page.get_by_label("Username").fill("anna")
    page.get_by_label("Password").fill("a password")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="Log In")).to_be_visible()

    page.get_by_label("Username").fill("anna")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log In").click()
    expect(page.locator(".flash")).to_have_text("Incorrect password.")
    page.get_by_label("Username").fill("anna")
    page.get_by_label("Password").fill("a password")
    page.get_by_role("button", name="Log In").click()
    expect(page.locator("nav")).to_contain_text("anna")

    page.get_by_role("link", name="New").click()
    page.get_by_role("button", name="Save").click()  # the browser itself asks for the title
    expect(page).to_have_url(url + "/create")
    page.get_by_label("Title").fill("First <b>post</b>")
    page.get_by_label("Body").fill("With an umlaut: \\u00fc\\nand a second line.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("article.post h1")).to_have_text("First <b>post</b>")
    expect(page.locator("article.post .body")).to_contain_text("\\u00fc")

    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Title").fill("Second thoughts")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("article.post h1")).to_have_text("Second thoughts")

    stranger = browser.new_context().new_page()
    stranger.goto(url)
    expect(stranger.locator("article.post h1")).to_have_text("Second thoughts")
    expect(stranger.get_by_role("link", name="Edit")).to_have_count(0)
    stranger.goto(url + "/1/update")
    expect(stranger.get_by_role("heading", name="Log In")).to_be_visible()
    assert stranger.evaluate("getComputedStyle(document.querySelector('nav')).display") == "flex", "the style sheet"

    page.get_by_role("link", name="Edit").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("article.post")).to_have_count(0)
    page.get_by_role("link", name="Log Out").click()
    expect(page.get_by_role("link", name="Log In")).to_be_visible()
    assert not failed, failed
    browser.close()
print("well")
"""


@pytest.fixture
def flaskr(tmp_path: Path) -> Path:
    """A directory with the tutorial's package, fresh from the sdist."""
    sdists = CACHE / "sdists"
    archive = sdists / f"flask-{VERSION}.tar.gz"
    if not archive.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "flask", "-d", sdists, f"flask=={VERSION}"],
            check=True,
        )
    with tarfile.open(archive) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (found,) = tmp_path.glob("flask-*/examples/tutorial")
    return found


def test_flaskr_in_a_browser(serve, flaskr, tmp_path):
    """Register, log in, post, edit, delete, log out; a stranger may read and no more."""
    python = environment(HERE / "flaskr.txt")
    instance = flaskr / "instance"
    made = subprocess.run([python, "-m", "carboy", "--app", "flaskr", "init-db"], cwd=flaskr, capture_output=True, text=True, check=False)
    assert "Initialized the database." in made.stdout, made.stderr
    assert (instance / "flaskr.sqlite").exists()
    app = serve("flaskr", "flaskr", cwd=flaskr)
    browser = environment(HERE / "browser.txt")
    done = subprocess.run([browser, "-c", VISIT, app.url, CHROMIUM], capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr + app.log.read_text()[-3000:]
