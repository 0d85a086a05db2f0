import asyncio

from carboy import Carboy, EventStream
from carboy.realtime.sse import Event

app = Carboy(__name__)
PRICES = [3, 4, 4, 5, 7]


@app.get("/prices")
async def prices(request):
    async def events():
        # A browser that reconnects says which event it saw last.
        seen = int(request.last_event_id or -1)
        for number in range(seen + 1, len(PRICES)):
            yield Event({"amount": PRICES[number]}, event="price", id=str(number))
            await asyncio.sleep(0.01)

    return EventStream(events(), retry=2000)


@app.get("/")
def page():
    return """<!doctype html>
<p id="amount">?</p>
<script>
new EventSource("/prices").addEventListener("price", event => {
  document.getElementById("amount").textContent = JSON.parse(event.data).amount
})
</script>"""
