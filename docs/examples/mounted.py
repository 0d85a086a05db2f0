from carboy import Carboy

from hello import app as hello

app = Carboy(__name__)


def old(environ, start_response):  # any WSGI application
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"old, at {environ['SCRIPT_NAME']}".encode()]


app.mount("/old", old)
app.mount("/hello", hello)
app.mount("", hello, host="hello.example")
