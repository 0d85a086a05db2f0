from carboy import Carboy, stream_with_context

app = Carboy(__name__)
ROWS = [("Airlock", 3), ("Carboy, 20 litres", 30)]


@app.get("/goods.csv")
def goods(request):
    @stream_with_context
    def lines():
        yield f"name{request.args.get('separator', ';')}price\n"
        for name, price in ROWS:
            yield f"{name}{request.args.get('separator', ';')}{price}\n"

    return lines(), {"Content-Type": "text/csv"}
