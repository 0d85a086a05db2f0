"""Django (WSGI) with the middleware that a workload wants and no other; files by WhiteNoise, rows by its own ORM."""

from __future__ import annotations

import json
from typing import Any

import django
import rows
from common import HELLO, MESSAGE, OTHERS, ROWS, SECRET, STATIC, TEMPLATES, sum_of
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict
from whitenoise import WhiteNoise

given = conninfo_to_dict(rows.DATABASE)
settings.configure(
    SECRET_KEY=SECRET,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="django_app",
    MIDDLEWARE=[],
    INSTALLED_APPS=[],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    TEMPLATES=[{"BACKEND": "django.template.backends.jinja2.Jinja2", "DIRS": [TEMPLATES]}],
    USE_TZ=True,
    USE_I18N=False,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": given.get("dbname", ""),
            "USER": given.get("user", ""),
            "PASSWORD": given.get("password", ""),
            "HOST": given.get("host", ""),
            "PORT": given.get("port", ""),
            "OPTIONS": {"pool": {"min_size": 1, "max_size": 6}, "options": f"-c search_path={rows.SCHEMA}"},
        }
    },
)
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402  # the settings come first
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402


def plaintext(request: HttpRequest) -> HttpResponse:
    return HttpResponse(HELLO, content_type="text/plain; charset=utf-8")


def message(request: HttpRequest, **values: str) -> HttpResponse:
    return JsonResponse(MESSAGE)


def user(request: HttpRequest, user: int) -> HttpResponse:
    return JsonResponse({"user": user, "q": request.GET["q"], "page": int(request.GET["page"])})


def orders(request: HttpRequest) -> HttpResponse:
    try:
        order = json.loads(request.body)
        return JsonResponse({"order": order, "sum": sum_of(order)}, status=201)
    except ValueError as error:
        return JsonResponse({"error": str(error)}, status=400)


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "page.html", {"title": "Rows", "rows": ROWS})


urlpatterns: list[Any] = [
    path("plaintext", plaintext),
    path("json", message),
    path("sync", message),
    *(path(f"other{number}/<name>", message) for number in range(OTHERS // 2)),
    path("users/<int:user>", user),
    *(path(f"other{number}/<name>", message) for number in range(OTHERS // 2, OTHERS)),
    path("orders", orders),
    path("page", page),
]
app = WhiteNoise(WSGIHandler(), root=str(STATIC), prefix="static/")
