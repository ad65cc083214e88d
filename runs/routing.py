"""The websockets of runs."""

from typing import Any

from django.urls import path

from runs.consumers import LogConsumer

sockets: list[Any] = [path("ws/w/<str:workspace>/runs/<str:run_id>/log/", LogConsumer.as_asgi())]  # type: ignore[arg-type]
