"""Django: the questions to a database, by its ORM, for that is what its users take."""

from __future__ import annotations

from random import randint, sample

import django_app
import rows
from common import number_of
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import models
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path

assert django_app.app


class World(models.Model):
    id = models.IntegerField(primary_key=True)
    randomnumber = models.IntegerField()

    class Meta:
        app_label = "rows"
        db_table = "world"

    def shown(self) -> dict[str, int]:
        return {"id": self.id, "randomNumber": self.randomnumber}


class Fortune(models.Model):
    id = models.IntegerField(primary_key=True)
    message = models.TextField()

    class Meta:
        app_label = "rows"
        db_table = "fortune"


def chosen(request: HttpRequest) -> list[World]:
    count = number_of(request.GET["queries"])
    return [World.objects.get(id=number) for number in sorted(sample(range(1, rows.COUNT + 1), count))]


def one(request: HttpRequest) -> HttpResponse:
    return JsonResponse(World.objects.get(id=randint(1, rows.COUNT)).shown())


def many(request: HttpRequest) -> HttpResponse:
    return JsonResponse([row.shown() for row in chosen(request)], safe=False)


def fortunes(request: HttpRequest) -> HttpResponse:
    found = [*Fortune.objects.all(), Fortune(id=0, message=rows.ADDED)]
    found.sort(key=lambda fortune: fortune.message)
    return render(request, "fortunes.html", {"fortunes": found})


def updates(request: HttpRequest) -> HttpResponse:
    found = chosen(request)
    for row in found:
        row.randomnumber = randint(1, rows.COUNT)
    World.objects.bulk_update(found, ["randomnumber"])
    return JsonResponse([row.shown() for row in found], safe=False)


urlpatterns = [path("db", one), path("queries", many), path("fortunes", fortunes), path("updates", updates)]
settings.ROOT_URLCONF = __name__
app = WSGIHandler()
