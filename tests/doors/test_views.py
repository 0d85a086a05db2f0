"""Views that are classes."""

from __future__ import annotations

import asyncio

from carboy import MethodView, View, request


def test_view_class_answers(app, client, coloured):
    """A View's dispatch_request is called with the rule's values, on an object made with as_view's arguments."""

    class Greeting(View):
        methods = ("GET", "POST")

        def __init__(self, word):
            self.word = word

        @coloured
        def dispatch_request(self, name):
            return f"{self.word} {name} {request.method}"

    app.add_url_rule("/<name>", view_func=Greeting.as_view("greeting", "Hello"))

    assert client.get("/World").text == "Hello World GET"
    assert client.post("/World").text == "Hello World POST"
    assert client.put("/World").status_code == 405


def test_method_view_has_a_method_for_each(app, client, coloured):
    """A MethodView answers each method by its own; HEAD is answered by get; all else is not allowed."""

    class Counter(MethodView):
        @coloured
        def get(self, number):
            return f"get {number}"

        @coloured
        def delete(self, number):
            return f"delete {number}", 202

    app.add_url_rule("/<int:number>", view_func=Counter.as_view("counter"))

    assert client.get("/7").text == "get 7"
    assert client.delete("/7").status_code == 202
    assert client.head("/7").status_code == 200
    response = client.post("/7")
    assert (response.status_code, response.allow) == (405, {"GET", "HEAD", "DELETE", "OPTIONS"})


def test_method_view_may_mix_colours(app, client, door):
    """Methods of one class may be sync and async."""

    class Mixed(MethodView):
        def get(self):
            return "sync"

        async def post(self):
            await asyncio.sleep(0)
            return "async"

    app.add_url_rule("/", view_func=Mixed.as_view("mixed"))

    assert client.get("/").text == "sync"
    assert client.post("/").text == "async"


def test_decorators_of_a_class_wrap_its_view(app, client, coloured):
    """A class's decorators are applied to its view, the first one innermost."""

    def marked(mark):
        def decorate(view):
            def wrapper(**values):
                return app.ensure_sync(view)(**values) + mark

            return wrapper

        return decorate

    class Page(View):
        decorators = (marked("1"), marked("2"))

        @coloured
        def dispatch_request(self):
            return "page"

    app.add_url_rule("/", view_func=Page.as_view("page"))

    assert client.get("/").text == "page12"


def test_view_object_is_fresh_unless_told(app, client, coloured):
    """Each request has its own object, or with init_every_request off all share one."""

    class Fresh(View):
        def __init__(self):
            self.count = 0

        @coloured
        def dispatch_request(self):
            self.count += 1
            return str(self.count)

    class Shared(Fresh):
        init_every_request = False

    app.add_url_rule("/fresh", view_func=Fresh.as_view("fresh"))
    app.add_url_rule("/shared", view_func=Shared.as_view("shared"))

    assert [client.get("/fresh").text for _ in range(3)] == ["1", "1", "1"]
    assert [client.get("/shared").text for _ in range(3)] == ["1", "2", "3"]
