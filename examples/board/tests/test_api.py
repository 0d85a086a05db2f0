"""The API: JSON in, JSON out, errors too."""

import pytest


@pytest.fixture
def bearer(anna):
    """Headers with a token of Anna's."""
    made = anna.post("/settings/tokens", data={"label": "test"}).text
    token = made.split('<code class="token">')[1].split("<")[0]
    return {"Authorization": f"Bearer {token}"}


def test_list_has_what_a_client_needs(anna, client, write):
    """Posts come with ids, counts and addresses, and the list with its neighbours."""
    for number in range(4):
        write(anna, title=f"Number {number}")
    first = client.get("/api/posts").json
    second = client.get(first["next"]).json

    assert [post["title"] for post in first["posts"]] == ["Number 3", "Number 2", "Number 1"]
    assert first["posts"][0]["author"] == "anna"
    assert first["posts"][0]["comment_count"] == 0
    assert first["previous"] is None
    assert [post["title"] for post in second["posts"]] == ["Number 0"]
    assert second["next"] is None


def test_list_can_be_narrowed(anna, client, write):
    """By topic, and by words; the address of the next page keeps the choice."""
    for number in range(4):
        write(anna, topic="bread", title=f"Loaf {number}")
    write(anna, topic="beer", title="Ale")

    assert [post["title"] for post in client.get("/api/posts?topic=beer").json["posts"]] == ["Ale"]
    assert [post["title"] for post in client.get("/api/posts?q=ale").json["posts"]] == ["Ale"]
    assert "topic=bread" in client.get("/api/posts?topic=bread").json["next"]
    assert client.get("/api/posts?topic=nowhere").status_code == 404
    assert client.get("/api/posts?endpoint=x&_external=y").status_code == 200


def test_token_writes_a_post(client, bearer):
    """A token is enough to write; the answer is the post, at its address."""
    sent = {"topic": "bread", "title": "From a script", "body": "Hello"}
    made = client.post("/api/posts", json=sent, headers=bearer)
    got = client.get(made.location)

    assert made.status_code == 201
    assert got.json == made.json
    assert got.json["author"] == "anna"
    assert got.json["body"] == "Hello"
    assert got.json["comments"] == []


def test_session_is_enough_too(anna):
    """A page of the board may use the API as the one who is logged in."""
    assert (
        anna.post("/api/posts", json={"topic": "beer", "title": "A title", "body": "Text"}).status_code == 201
    )


def test_comment_and_delete(client, bearer):
    """Comments and deletions go the same way."""
    post = client.post(
        "/api/posts", json={"topic": "beer", "title": "A title", "body": "Text"}, headers=bearer
    )
    comment = client.post(f"{post.location}/comments", json={"body": "Indeed"}, headers=bearer)

    assert comment.status_code == 201
    assert client.get(post.location).json["comments"] == [comment.json]
    assert client.delete(post.location, headers=bearer).status_code == 204
    assert client.get(post.location).status_code == 404


def test_post_of_somebody_else_stays(anna, join, write):
    """Only the author may delete."""
    answer = join("bert").delete(f"/api{write(anna)}")

    assert answer.status_code == 403
    assert answer.json["error"]["status"] == 403


def test_errors_are_json(client):
    """Whatever goes wrong below /api/ is answered in JSON, wrong addresses and methods too."""
    for answer, status in [
        (client.get("/api/posts/99"), 404),
        (client.get("/api/nowhere"), 404),
        (client.put("/api/posts"), 405),
        (client.post("/api/posts", json={}), 401),
        (client.get(f"/api/posts/{10**30}"), 404),
        (client.get("/api/posts", headers={"Authorization": "Bearer wrong"}), 401),
    ]:
        assert answer.status_code == status
        assert answer.json["error"]["status"] == status
        assert answer.json["error"]["message"]


def test_bad_json_is_a_400(client, bearer):
    """Broken JSON, JSON that is no object, and no JSON at all are said to be so."""
    as_json = {**bearer, "Content-Type": "application/json"}

    assert client.post("/api/posts", data="{", headers=as_json).status_code == 400
    assert client.post("/api/posts", data="[1]", headers=as_json).status_code == 400
    assert client.post("/api/posts", data="x", headers=bearer).status_code == 415


def test_fields_have_messages(client, bearer):
    """A refused post says what is wrong, field by field; wrong types and half characters too."""
    answer = client.post("/api/posts", json={"title": 7, "body": "\ud800", "topic": ["beer"]}, headers=bearer)

    assert answer.status_code == 422
    assert answer.json["error"]["fields"] == {
        "title": "The title has to be a text.",
        "body": "The text is missing.",
        "topic": "The topic has to be a text.",
    }
