"""Pictures: what is kept, what is refused, what is told to nobody."""

import io

import pytest

Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")


def picture_address(page: str) -> str:
    """Find the large picture in a page."""
    return page.split('class="picture" href="')[1].split('"')[0]


def test_picture_is_kept_in_two_sizes(anna, client, write, photo):
    """The post shows the large one with its description, the list the small one."""
    address = write(anna, picture=photo(2400, 1200), picture_alt="An orange")
    page = client.get(address).text
    large = client.get(picture_address(page))
    small = client.get(picture_address(page).replace(".webp", "-small.webp"))

    assert 'alt="An orange"' in page
    assert large.mimetype == small.mimetype == "image/webp"
    assert "max-age=31536000" in large.headers["Cache-Control"]
    assert Image.open(io.BytesIO(large.data)).size == (1600, 800)
    assert Image.open(io.BytesIO(small.data)).size == (480, 360)
    assert "-small.webp" in client.get("/").text


def test_place_of_a_photo_is_not_told(anna, client, write, photo):
    """What the camera wrote beside the picture is not in what is served."""
    page = client.get(write(anna, picture=photo())).text
    served = client.get(picture_address(page)).data

    assert b"taken at" in photo()[0].getvalue()
    assert b"taken at" not in served


@pytest.mark.parametrize(
    "content",
    [b"", b"<script>alert(1)</script>", b"\xff\xd8\xff\xe0" + b"\0" * 100, b"GIF89a" + b"\xff" * 50],
    ids=["empty", "script", "broken jpeg", "broken gif"],
)
def test_what_is_no_picture_is_refused(anna, content):
    """A name and a type prove nothing: the content has to be a picture."""
    answer = anna.post(
        "/posts/new",
        data={
            "topic": "beer",
            "title": "A title",
            "body": "Text",
            "picture": (io.BytesIO(content), "photo.jpg", "image/jpeg"),
        },
    )

    assert answer.status_code == 422
    assert "not a picture we can read" in answer.text


@pytest.mark.parametrize("side", [7_000, 30_000])
def test_picture_with_too_many_pixels_is_refused(anna, side):
    """A small file that unpacks to gigabytes is refused before it is unpacked."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    file.seek(0)
    answer = anna.post(
        "/posts/new",
        data={"topic": "beer", "title": "A title", "body": "Text", "picture": (file, "bomb.png")},
    )

    assert answer.status_code == 422
    assert "million pixels" in answer.text


def test_replaced_picture_is_deleted(anna, app, write, photo):
    """A new picture takes the place of the old one, a removed one leaves, on disk too."""
    folder = app.config["DATA"] / "pictures"
    fields = {"topic": "beer", "title": "A title", "body": "Text"}
    address = write(anna, picture=photo())
    first = set(folder.iterdir())
    anna.post(f"{address}/edit", data={**fields, "picture": photo()})
    second = set(folder.iterdir())
    anna.post(f"{address}/edit", data=fields)
    third = set(folder.iterdir())
    anna.post(f"{address}/edit", data={**fields, "remove_picture": "yes"})

    assert len(first) == len(second) == 2 and not first & second
    assert third == second
    assert not list(folder.iterdir())


def test_picture_leaves_with_its_post(anna, app, write, photo):
    """Deleting a post deletes its files."""
    address = write(anna, picture=photo())
    anna.post(f"{address}/delete")

    assert not list((app.config["DATA"] / "pictures").iterdir())


def test_no_other_file_is_served(anna, client, write, photo):
    """The address of pictures leads to no other folder."""
    write(anna, picture=photo())

    assert client.get("/pictures/../board.sqlite.webp").status_code == 404
    assert client.get("/pictures/..%2fsecret_key.webp").status_code == 404


def test_without_pillow_the_form_says_so(anna, monkeypatch, photo):
    """The board runs without Pillow; only a picture is refused, with the remedy."""
    sent = {"topic": "beer", "title": "A title", "body": "Text", "picture": photo()}
    monkeypatch.setattr("board.posts.pictures.Image", None)
    answer = anna.post("/posts/new", data=sent)

    assert answer.status_code == 422
    assert "pip install pillow" in answer.text
