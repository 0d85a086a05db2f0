"""Static files under names that change with their content."""

from carboy import Carboy, render_template_string
from carboy.batteries.assets import Assets, StaticUrls

app = Carboy(__name__)
app.fit(Assets())


@app.get("/")
def page():
    return render_template_string("""<link rel="stylesheet" href="{{ static_url('app.css') }}">""")


@app.get("/links")
async def links(static_url: StaticUrls):
    return {"stylesheet": static_url("app.css")}
