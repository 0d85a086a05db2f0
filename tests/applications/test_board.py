"""The board, seen in two real browsers at once, served by two workers: what one does, the other sees without asking."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environment import PROJECT, environment
from serving import served

HERE = Path(__file__).resolve().parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]

VISIT = """
import os, re, sys
from playwright.sync_api import expect, sync_playwright

url, chromium = sys.argv[1:3]
shots = os.environ.get("BOARD_SCREENSHOTS")
with sync_playwright() as playwright:
    browsers = [playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) for _ in range(2)]
    anna, bert = (browser.new_context(viewport={"width": 1100, "height": 900}).new_page() for browser in browsers)
    trouble = []
    for page, name in ((anna, "anna"), (bert, "bert")):
        page.set_default_timeout(20_000)
        page.on("response", lambda answer: trouble.append(answer.url) if answer.status >= 500 else None)
        page.on("console", lambda said: trouble.append(said.text) if said.type == "error" else None)
        page.goto(url + "/register")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").first.fill("correct horse battery")
        page.get_by_role("main").get_by_role("button").click()
        expect(page.locator("header .person")).to_contain_text(name)

    # The front page is open at bert's while anna writes.
    bert.goto(url)
    anna.goto(url + "/posts/new?topic=beer")
    anna.get_by_label("Title").fill("A stuck bubbler")
    anna.get_by_label("Text").fill("It has stopped after two days.")
    anna.locator("main form button").last.click()
    expect(anna.locator("article.post h1")).to_have_text("A stuck bubbler")
    expect(bert.locator("#news")).to_contain_text("anna wrote A stuck bubbler")
    if shots: bert.screenshot(path=shots + "/news.png")

    # Both read the post: each sees that there are two.
    bert.locator("#news a").click()
    expect(bert.locator("#readers")).to_have_text("2 reading")
    expect(anna.locator("#readers")).to_have_text("2 reading")

    # One types, the other is told; one comments, the other sees it.
    bert.get_by_label("Your comment").press_sequentially("Have you tried", delay=20)
    expect(anna.locator("#typing")).to_have_text("bert is typing …")
    expect(bert.locator("#typing")).to_have_text("")
    if shots: anna.screenshot(path=shots + "/typing.png")
    bert.get_by_label("Your comment").fill("Have you tried <b>warmth</b>?")
    bert.get_by_role("button", name="Comment").click()
    expect(bert.locator("#live .comment")).to_have_count(1)
    expect(anna.locator("#live .comment .prose")).to_have_text("Have you tried <b>warmth</b>?")
    expect(anna.locator("#comments-title")).to_have_text("One comment")
    expect(anna.locator("#live .confirm")).to_have_count(0)
    expect(bert.locator("#live .confirm")).to_have_count(1)
    if shots: anna.screenshot(path=shots + "/comment.png")

    # It goes from both pages when it is deleted, and who closes the page is not counted any more.
    bert.locator("#live summary").click()
    bert.locator("#live .confirm button").click()
    expect(anna.locator("#live .comment")).to_have_count(0)
    expect(anna.locator("#comments-title")).to_have_text("No comments yet")
    bert.close()
    expect(anna.locator("#readers")).to_have_text("1 reading")
    assert not trouble, trouble
    for browser in browsers:
        browser.close()
print("well")
"""


def test_two_browsers_see_each_other(tmp_path):
    """New posts, readers, typing, comments and their end reach the other browser, whichever worker it speaks to."""
    log = tmp_path / "server.log"
    browser = environment(HERE / "browser.txt")
    environ = {"BOARD_DATA": str(tmp_path / "data"), "PYTHONPATH": os.pathsep.join(sys.path)}

    with served("wsgi:app", cwd=PROJECT / "examples" / "board", log=log, options=["--workers", "2", "--control", "off"], environ=environ) as port:
        url = f"http://127.0.0.1:{port}"
        done = subprocess.run([browser, "-c", VISIT, url, CHROMIUM], capture_output=True, text=True, timeout=180, check=False)

    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr + log.read_text()[-3000:]
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
