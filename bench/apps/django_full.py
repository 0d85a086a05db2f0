"""Django: hooks and a session, which stand in its middleware."""

from __future__ import annotations

from typing import Any

import django_app
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

assert django_app.app


def hooks(get_response: Any) -> Any:
    def around(request: HttpRequest) -> HttpResponse:
        request.before = "1"  # type: ignore[attr-defined]
        response = get_response(request)
        response["x-before"] = request.before  # type: ignore[attr-defined]
        return response

    return around


def full(request: HttpRequest) -> HttpResponse:
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": visits})


urlpatterns = [path("full", full)]
settings.ROOT_URLCONF = __name__
settings.MIDDLEWARE = [f"{__name__}.hooks", "django.contrib.sessions.middleware.SessionMiddleware"]
app = WSGIHandler()
