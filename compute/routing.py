"""The websockets of compute targets."""

from typing import Any

from django.urls import path

from compute.consumers import NodesConsumer

sockets: list[Any] = [path("ws/w/<str:workspace>/compute/<str:name>/nodes/", NodesConsumer.as_asgi())]  # type: ignore[arg-type]
