"""The defaults of a new application by one line, and what an application may want to say beside it."""

from carboy import Carboy, redirect, render_template_string, request, url_for
from carboy.batteries.security import Nonce, Security, cross_origin_exempt, safe_redirect

app = Carboy(__name__)
app.config["CROSS_ORIGIN_ALLOWED"] = ["https://partner.example"]
app.config["COOKIES_READABLE"] = ["theme"]
app.fit(Security())


@app.get("/")
def index():
    return render_template_string("""<script nonce="{{ csp_nonce() }}">document.title = "mine"</script>""")


@app.get("/in-a-view")
async def in_a_view(nonce: Nonce):
    return f"<style nonce='{nonce}'>p {{ color: green }}</style>"


@app.post("/login")
def log_in():
    response = safe_redirect(request.args.get("next"), url_for("index"), code=303)
    response.set_cookie("id", "1")
    response.set_cookie("theme", "dark")
    return response


@app.post("/newsletter")
@cross_origin_exempt
def newsletter():
    return redirect(url_for("index"), 303)
