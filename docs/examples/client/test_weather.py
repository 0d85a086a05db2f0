import httpx2
import pytest

from weather import app as weather_app


@pytest.fixture
def app():
    return weather_app


def test_the_weather_is_told(client, upstream):
    now = upstream.get("/now?city=Oslo").respond(json={"sky": "clear"})

    assert client.get("/weather/Oslo", headers={"X-Request-ID": "r-7"}).json == {"sky": "clear"}
    assert now.calls[0].headers["x-request-id"] == "r-7"


def test_a_weak_moment_is_not_noticed(client, upstream):
    report = upstream.get("/report").respond(503).fail(httpx2.ReadTimeout).respond(text="fine")

    assert client.get("/report/Rome").text == "fine"
    assert len(report.calls) == 3


def test_who_fails_for_good_is_left_alone(client, upstream):
    now = upstream.get("/now").fail(httpx2.ConnectError)

    assert [client.get("/weather/Lima").status_code for _ in range(3)] == [502, 502, 503]
    assert len(now.calls) == 5
