"""A page that shows a run's log and nothing else, with the addresses the log needs."""

from django.http import HttpResponse
from django.template import Context, Template
from django.urls import include, path

from runs.log_questions import ask
from runs.log_views import download_log
from runs.models import Run
from runs.streams import log_socket, streams_of
from studio.http import StudioRequest

PAGE = Template(
    """{% load static %}<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A log</title>
    <link rel="icon" href="data:,">
    <script src="{% static 'js/log/early.js' %}" data-socket="{{ log_socket }}" data-stream="{{ groups.0.streams.0 }}">
    </script><link rel="stylesheet" href="{% static 'css/studio.css' %}"></head>
    <body><main>{% include "runs/_log.html" %}</main></body></html>"""
)


def show(request: StudioRequest, run_id: str) -> HttpResponse:
    run = Run.objects.for_user(request.user).get(workspace=request.workspace, run_id=run_id)
    context = {"request": request, "run": run, "groups": streams_of(run), "log_socket": log_socket(run)}
    return HttpResponse(PAGE.render(Context(context)))


runs = [
    path("runs/<str:run_id>/", show, name="detail"),
    path("runs/<str:run_id>/logs/<path:stream>/ask", ask, name="ask_log"),
    path("runs/<str:run_id>/logs/<path:stream>", download_log, name="log"),
]
urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("w/<str:workspace>/", include((runs, "runs"))),
]
