from carboy import Carboy

app = Carboy(__name__)

@app.get("/")
def index():
    return "Hello!"
