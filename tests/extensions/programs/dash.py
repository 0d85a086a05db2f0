"""A page of components, its layout as JSON, and a callback that answers the browser's update."""

import asyncio

from dash import Dash, Input, Output, State, dcc, html
from flask import Flask, request

DISTRIBUTION = "dash"

app = Flask(__name__)


def board(at):
    made = Dash(__name__, server=app, url_base_pathname=f"{at}/", title=f"Board {at}", use_async=at == "/async")
    made.layout = html.Div([dcc.Input(id="name", value=""), dcc.Store(id="times", data=2), html.P(id="greeting")])
    return made


sync_board, async_board = board("/sync"), board("/async")
CALLBACK = (Output("greeting", "children"), Input("name", "value"), State("times", "data"))


@sync_board.callback(*CALLBACK)
def sync_greet(name, times):
    return f"Hello {name} " * times + request.path


@async_board.callback(*CALLBACK)
async def async_greet(name, times):
    await asyncio.sleep(0)
    return f"Hello {name} " * times + request.path


def check(client, at):
    page = client.get(f"{at}/")
    assert f"<title>Board {at}</title>" in page.text
    script = page.text.partition('src="')[2].partition('"')[0]
    assert script.startswith(f"{at}/_dash-component-suites/")
    assert len(client.get(script).data) > 1000
    layout = client.get(f"{at}/_dash-layout").json
    assert [child["props"]["id"] for child in layout["props"]["children"]] == ["name", "times", "greeting"]
    [known] = client.get(f"{at}/_dash-dependencies").json
    assert known["output"] == "greeting.children"
    answer = client.post(
        f"{at}/_dash-update-component",
        json={
            "output": "greeting.children",
            "outputs": {"id": "greeting", "property": "children"},
            "inputs": [{"id": "name", "property": "value", "value": "Anna"}],
            "state": [{"id": "times", "property": "data", "value": 2}],
            "changedPropIds": ["name.value"],
        },
    )
    assert answer.json["response"] == {"greeting": {"children": f"Hello Anna Hello Anna {at}/_dash-update-component"}}
