"""How long an answer is fresh, and 304 for who has it."""

from datetime import timedelta

from carboy import Carboy
from carboy.batteries.caching import Caching, cache_control, etag

app = Carboy(__name__)
app.fit(Caching())


@app.get("/news")
@cache_control(public=True, max_age=60, stale_while_revalidate=timedelta(minutes=10))
@etag
async def news():
    return {"news": ["The sauerkraut is ready."]}


@app.get("/posts/<int:id>")
def post(id):
    return f"Post {id}", {"ETag": f'"post-{id}-version-7"'}  # known without rendering: Caching answers 304 by it
