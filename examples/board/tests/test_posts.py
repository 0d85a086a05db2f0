"""Posts, comments, paging, search."""

import pytest


def test_post_appears_everywhere(anna, client, write):
    """A new post is on the front page, in its topic, on its author's page, and in no other topic."""
    write(anna, topic="bread", title="The loaf")

    assert "The loaf" in client.get("/").text
    assert "The loaf" in client.get("/topics/bread").text
    assert "The loaf" in client.get("/people/anna").text
    assert "The loaf" not in client.get("/topics/beer").text


def test_text_is_escaped(anna, client, write):
    """Nothing a visitor types becomes markup; an empty line becomes a paragraph."""
    address = write(anna, title="<script>x</script>", body="One\n\n<img src=x>\nTwo")
    page = client.get(address).text

    assert "<script>x" not in page
    assert "<p>One</p>" in page
    assert "<p>&lt;img src=x&gt;<br>" in page


def test_mistakes_keep_what_was_typed(anna):
    """A form with an error comes back filled, with a message at the field."""
    answer = anna.post("/posts/new", data={"topic": "nowhere", "title": "", "body": "A long thought."})

    assert answer.status_code == 422
    assert "The title is missing." in answer.text
    assert "There is no such topic." in answer.text
    assert "A long thought.</textarea>" in answer.text


def test_writing_needs_a_login(client):
    """A visitor is sent to the login."""
    answer = client.post("/posts/new", data={"topic": "beer", "title": "A title", "body": "Text"})

    assert answer.location == "/login"


def test_own_post_can_be_changed(anna, client, write):
    """An edit changes text and topic, and says that it happened."""
    address = write(anna)
    anna.post(f"{address}/edit", data={"topic": "bread", "title": "Better", "body": "Much better."})
    page = client.get(address).text

    assert "Better" in page and "Much better." in page and "edited" in page
    assert "Better" in client.get("/topics/bread").text


@pytest.mark.parametrize("action", ["edit", "delete"])
def test_post_of_somebody_else_cannot_be_touched(anna, join, write, action):
    """Only the author may, and the answer is a page of ours."""
    address = write(anna)
    answer = join("bert").post(
        f"{address}/{action}", data={"topic": "beer", "title": "Mine now", "body": "Ha"}
    )

    assert answer.status_code == 403
    assert "Not yours to change" in answer.text
    assert "Mine now" not in anna.get(address).text


def test_deleted_post_is_gone_with_its_comments(anna, client, write):
    """The page is a 404, and the search knows nothing of it."""
    address = write(anna, title="Gooseberries")
    anna.post(f"{address}/comments", data={"body": "And more"})
    anna.post(f"{address}/delete")

    assert client.get(address).status_code == 404
    assert "Gooseberries" not in client.get("/search?q=gooseberries").text
    assert "Gooseberries" not in client.get("/").text


def test_address_of_a_deleted_post_is_not_used_again(anna, client, write):
    """An old link is a 404 for ever; it never leads to another post."""
    first = write(anna)
    anna.post(f"{first}/delete")
    second = write(anna)

    assert second != first
    assert client.get(first).status_code == 404


def test_comment_appears_below_its_post(anna, join, client, write):
    """A comment appears below its post and is counted."""
    first = write(anna, title="The first")
    answer = join("bert").post(f"{first}/comments", data={"body": "Well said"})

    assert answer.location == f"{first}#comment-1"
    assert "Well said" in client.get(first).text
    assert "One comment" in client.get(first).text


def test_talk_comes_first(app, client):
    """The list is sorted by the newest comment, not by the age of the post."""
    app.test_cli_runner().invoke(args=["board", "seed"])
    page = client.get("/").text

    assert page.index("Sixty litres pressed") < page.index("Stuck at 1.020")  # older, but talked about


def test_comment_of_somebody_else_cannot_be_deleted(anna, join, write):
    """Only its author may, who then may."""
    address = write(anna)
    bert = join("bert")
    bert.post(f"{address}/comments", data={"body": "Well said"})

    assert anna.post("/comments/1/delete").status_code == 403
    assert bert.post("/comments/1/delete").status_code == 302
    assert "Well said" not in anna.get(address).text


def test_empty_comment_is_refused(anna, write):
    """The post is shown again, with the message at the field."""
    answer = anna.post(f"{write(anna)}/comments", data={"body": " \n "})

    assert answer.status_code == 422
    assert "The comment is missing." in answer.text


def test_list_has_pages(anna, client, write):
    """Three posts a page here: the fourth is on the second page, and each page knows its neighbours."""
    for number in range(1, 5):
        write(anna, title=f"Number {number}")
    first, second = client.get("/").text, client.get("/?page=2").text

    assert "Number 4" in first and "Number 1" not in first
    assert "Number 1" in second and "Number 4" not in second
    assert 'rel="next" href="/?page=2"' in first and 'rel="prev"' not in first
    assert 'rel="prev" href="/?page=1"' in second and 'rel="next"' not in second


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30, "9" * 5000, ""])
def test_odd_page_number_is_no_error(anna, client, write, number):
    """Whatever stands in ``?page=``, there is an answer."""
    write(anna)

    assert client.get("/", query_string={"page": number}).status_code == 200


def test_search_finds_beginnings_of_words(anna, client, write):
    """All words have to be there, in title or text, accents or not; what was found is marked."""
    write(anna, title="Crème de cassis", body="Blackcurrants and patience.")
    write(anna, title="Plain ale", body="Patience only.")

    assert "<mark>Blackcurrants</mark>" in client.get("/search?q=blackc creme").text
    assert "Plain ale" not in client.get("/search?q=blackc patience").text


@pytest.mark.parametrize("words", ['"', "a AND", "NEAR(", "title:x", "*", "\x00", "🍺", "' OR 1=1 --", ""])
def test_search_takes_words_not_commands(anna, client, write, words):
    """The query language of the index is not reachable."""
    write(anna)

    assert client.get("/search", query_string={"q": words}).status_code == 200
