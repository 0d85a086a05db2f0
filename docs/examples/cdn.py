"""The CDN keeps a page for a day and is told when it changes; browsers ask each time."""

from datetime import timedelta

from carboy import Carboy, make_response
from carboy.batteries.caching import add_surrogate_keys, cache_control, cdn_cache_control, surrogate_key

app = Carboy(__name__)


@app.get("/posts/<int:id>")
@cdn_cache_control(max_age=timedelta(days=1), stale_if_error=timedelta(hours=1))
@cache_control(no_cache=True)
@surrogate_key("posts", "post-{id}")
def post(id):
    return f"Post {id}"


@app.get("/")
@cdn_cache_control(max_age=60)
def feed():
    response = make_response("Posts 1 and 2")
    add_surrogate_keys(response, "feed", "post-1", "post-2")
    return response
