import asyncio

from carboy import Carboy
from carboy.batteries.client import CircuitOpen, httpx2

app = Carboy(__name__)
app.config.update(HTTP_CLIENT_BASE_URL="https://weather.example/v1", HTTP_CLIENT_DEADLINE=5)


@app.get("/weather/<city>")
async def weather(city):
    answer = await app.http.get("/now", params={"city": city})
    answer.raise_for_status()
    return answer.json()


@app.get("/report/<city>")
def report(city):
    # A def view waits in its thread, by the same rules.
    return app.http.sync.get("/report", params={"city": city}).text


@app.get("/everywhere")
async def everywhere():
    cities = ["Oslo", "Rome", "Lima"]
    answers = await asyncio.gather(*(app.http.get("/now", params={"city": city}) for city in cities))
    return {city: answer.json() for city, answer in zip(cities, answers)}


@app.errorhandler(CircuitOpen)
def left_alone(error):
    return {"error": "the weather service does not answer"}, 503, {"Retry-After": str(int(error.remaining) + 1)}


@app.errorhandler(httpx2.HTTPError)
def failed(error):
    return {"error": "the weather service failed"}, 502
