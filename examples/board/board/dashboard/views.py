"""The dashboard."""

from asyncio import gather

from carboy import Blueprint, render_template
from carboy.typing import ResponseReturnValue

from ..database import ask
from . import queries

bp = Blueprint("dashboard", __name__, template_folder="templates")


@bp.get("/dashboard")
async def show() -> ResponseReturnValue:
    """Ask five questions at once, and show the answers when all are there."""
    totals, days, topics, discussed, newcomers = await gather(
        ask(queries.totals),
        ask(queries.by_day, days=21),
        ask(queries.by_topic),
        ask(queries.most_discussed, many=5),
        ask(queries.newcomers, many=6),
    )
    return render_template(
        "dashboard/show.html",
        totals=totals,
        days=days,
        topics=topics,
        discussed=discussed,
        newcomers=newcomers,
    )
