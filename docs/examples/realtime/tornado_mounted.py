import tornado.web

from carboy import Carboy


class Greeting(tornado.web.RequestHandler):
    async def get(self, name):
        self.write(f"Hello from Tornado, {name}!")


app = Carboy(__name__)
app.mount("/legacy", tornado.web.Application([(r"/greet/(\w+)", Greeting)]))


@app.get("/")
def index():
    return "Hello from Carboy!"
