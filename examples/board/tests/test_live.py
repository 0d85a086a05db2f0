"""What open pages are told: comments, readers, who is typing."""

import json

import pytest


def told(page) -> dict:
    """The next message of an open page that is not about its readers."""
    while True:
        message = json.loads(page.receive())
        if message["kind"] != "readers":
            return message


def test_a_comment_comes_to_an_open_page(anna, client, write):
    """As HTML, escaped, without what only its author may do; and it goes when it is deleted."""
    address = write(anna)

    with client.websocket(f"{address}/live") as page:
        assert json.loads(page.receive()) == {"kind": "readers", "count": 1}
        anna.post(f"{address}/comments", data={"body": "<b>Well</b>"})
        comment = told(page)
        anna.post(f"/comments/{comment['id']}/delete")
        gone = told(page)

    assert comment["kind"] == "comment"
    assert "&lt;b&gt;Well&lt;/b&gt;" in comment["html"]
    assert "/delete" not in comment["html"]
    assert gone == {"kind": "gone", "id": comment["id"]}


def test_typing_is_told_with_a_name(anna, client, write):
    """Who is logged in is named to the others; a guest types unseen."""
    address = write(anna)

    with client.websocket(f"{address}/live") as guest, anna.websocket(f"{address}/live") as page:
        guest.send('{"kind": "typing"}')
        page.send('{"kind": "typing"}')
        message = told(guest)

    assert message == {"kind": "typing", "who": "anna"}


def test_a_post_that_is_not_there_has_no_live_page(client):
    """The handshake is refused with 404."""
    with pytest.raises(Exception, match="404"), client.websocket("/posts/7/live"):
        pass
