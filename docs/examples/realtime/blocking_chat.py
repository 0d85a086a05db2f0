from carboy import Carboy

app = Carboy(__name__)


@app.websocket("/upper", subprotocols=["upper.v2", "upper.v1"], origins=["https://app.example"])
def upper(ws):
    for text in ws:
        ws.send(text.upper())
