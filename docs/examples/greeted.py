from carboy import Carboy

from greeting import Greeter, Greeting

app = Carboy(__name__)
app.fit(Greeter())


@app.get("/<name>")
def greet(name: str, greeting: Greeting):
    return greeting.to(name)
