import asyncio

from carboy import Carboy, current_app, request

app = Carboy(__name__)


async def send_mail(to: str) -> None:
    await asyncio.sleep(1)
    app.logger.info("sent to %s, asked for at %s", to, request.url)


@app.post("/orders")
def order(request):
    app.spawn(send_mail, request.form["email"], at_shutdown="wait", timeout=30)
    return "Thank you!", 202


@app.get("/together")
async def together():
    async with app.task_group() as group:
        first = group.spawn(asyncio.sleep, 0.1, "a")
        second = group.spawn(asyncio.sleep, 0.1, "b")
    return first.result() + second.result()


@app.background
async def refresh_rates():
    while True:
        current_app.extensions["rates"] = {"EUR": 1.0}
        await asyncio.sleep(60)
