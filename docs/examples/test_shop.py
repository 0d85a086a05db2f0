import asyncio
import urllib.request


def test_a_thing_has_a_page(client):
    response = client.get("/goods/1")

    assert response.status_code == 200
    assert response.json["name"] == "Airlock"


def test_the_basket_is_in_the_session(client):
    response = client.post("/basket", data={"number": "2"}, follow_redirects=True)

    assert "Carboy, 20 litres is in your basket." in response.text
    with client.session_transaction() as session:
        assert session["basket"] == [2]


def test_through_another_door(app):
    assert app.test_client(door="asgi").get("/goods/1").status_code == 200


def test_many_at_once(app):
    async def ask():
        async with app.async_test_client() as client:
            return await asyncio.gather(*(client.get("/goods/2") for _ in range(10)))

    assert [response.json["price"] for response in asyncio.run(ask())] == [29] * 10


def test_over_the_network(live_server):
    with urllib.request.urlopen(live_server.url + "/") as answer:
        assert b"Airlock" in answer.read()
