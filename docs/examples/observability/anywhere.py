"""The same under any other server: `uvicorn anywhere:application`, `gunicorn anywhere:wsgi_application`.

With several workers, give them one file for their counters (`memory=`); it may be on a tmpfs such as /run or /dev/shm.
"""

from carboy import Carboy
from carboy.observe import Observe

app = Carboy(__name__)
observe = app.fit(Observe(log="line", metrics_path="/metrics", health_prefix="/-/"))
application = observe.asgi(app)
wsgi_application = observe.wsgi(app)


@app.get("/")
async def index():
    return "hello"
